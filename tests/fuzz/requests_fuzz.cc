// Sequences of requests, as they come to a data server and to a metadata server once their head has
// been read: each is answered or refused with a sentence, and the segments are sound at the end.
//
// An input is a list of: number of the operation (2 bytes), connection (1), fields, length of the
// payload in 64 bytes (1). The fields are as long as the operation needs; what does not decode is
// sent as it is.
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fuzz/require.h"
#include "metadata/namespace.h"
#include "metadata/reach.h"
#include "segment/check.h"
#include "segment/host.h"
#include "server/data_requests.h"
#include "server/name_requests.h"
#include "store/reach.h"

namespace imss {
namespace {

constexpr std::size_t kMostRequests = 64;
// A segment is used by so many inputs, or most of the time would go into making them.
constexpr int kInputsOfSegment = 256;
constexpr std::size_t kPayloadUnit = 64;
constexpr std::uint64_t kCapacity = std::uint64_t{32} << 20;

// One server's segment and what executes requests on it.
template <typename Engine, segment::Role kRole>
class Server {
 public:
  ~Server() { retire(); }
  server::Requests& requests() {
    if (inputs_++ % kInputsOfSegment == 0) renew();
    return *requests_;
  }

 private:
  void renew() {
    retire();
    segment::HostOptions options;
    options.create.role = kRole;
    options.create.capacity_bytes = kCapacity;
    options.name = (kRole == segment::Role::kData ? "imss-data-fuzz" : "imss-metadata-fuzz") +
                   std::to_string(::getpid());
    auto host = segment::Host::start(options);
    require(host.ok(), "a segment is made");
    host_ = std::move(*host);
    if constexpr (kRole == segment::Role::kMetadata) {
      require(metadata::Namespace(host_->segment()).format().ok(), "a namespace is made");
    }
    require(host_->publish().ok(), "a segment is published");
    requests_ = std::make_unique<Engine>(host_->segment());
  }
  void retire() {
    if (!host_) return;
    requests_.reset();
    segment::Segment& segment = *host_->segment();
    segment.clean_up();
    segment::CheckOptions options;
    options.reach = kRole == segment::Role::kData ? segment::ReachVisitor(store::visit)
                                                  : segment::ReachVisitor(metadata::visit);
    const auto report = segment::check_segment(segment, options);
    require(report.ok() && report->errors.empty(), "the segment is sound");
    require(report->leaked_extents == 0, "nothing has leaked");
    host_->stop(true);
    host_->segment()->leave();
    host_.reset();
  }

  int inputs_ = 0;
  std::unique_ptr<segment::Host> host_;
  std::unique_ptr<server::Requests> requests_;
};

// The bytes that a request of this kind takes off the input; all of it when it is no such request.
template <typename Request>
std::size_t field_bytes(std::span<const std::byte> bytes) {
  Request request;
  net::Decoder decoder(bytes);
  return decoder.get(request) ? bytes.size() - decoder.left() : bytes.size();
}

std::size_t field_bytes_of(std::uint16_t operation, std::span<const std::byte> bytes) {
  switch (operation) {
#define IMSS_FIELD_BYTES(name, number, Request, Reply, effect, text) \
  case number:                                                       \
    return field_bytes<net::Request>(bytes);
    IMSS_DATA_OPERATIONS(IMSS_FIELD_BYTES)
    IMSS_METADATA_OPERATIONS(IMSS_FIELD_BYTES)
#undef IMSS_FIELD_BYTES
    default:
      return 0;
  }
}

void execute(server::Requests& requests, server::Exchange& exchange) {
  requests.execute(exchange);
  require(exchange.status.ok() || exchange.later || !exchange.status.message().empty(),
          "a refusal has a sentence");
  require(exchange.status.code() != Code::kCorrupt, "no request damages a segment");
}

}  // namespace
}  // namespace imss

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace imss;
  static Server<server::DataRequests, segment::Role::kData> data_server;
  static Server<server::NameRequests, segment::Role::kMetadata> metadata_server;
  server::Requests& blocks = data_server.requests();
  server::Requests& names = metadata_server.requests();
  std::span<const std::byte> rest(reinterpret_cast<const std::byte*>(data), size);
  for (std::size_t i = 0; i < kMostRequests && rest.size() > 3; ++i) {
    std::uint16_t operation = 0;
    std::memcpy(&operation, rest.data(), sizeof operation);
    server::Exchange exchange;
    exchange.operation = static_cast<net::Operation>(operation);
    exchange.client = 1 + (std::to_integer<unsigned>(rest[2]) & 3);
    exchange.connection = exchange.client;
    rest = rest.subspan(3);
    const std::size_t bytes = field_bytes_of(operation, rest);
    exchange.fields.assign(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(bytes));
    rest = rest.subspan(bytes);
    std::vector<std::byte> payload;
    if (!rest.empty()) {
      payload.resize(std::to_integer<std::size_t>(rest[0]) * kPayloadUnit, std::byte{3});
      rest = rest.subspan(1);
    }
    exchange.payload = payload;
    // The operations of metadata servers have the higher numbers.
    const bool is_name = operation >= static_cast<std::uint16_t>(net::Operation::kNewIds);
    execute(is_name ? names : blocks, exchange);
  }
  for (std::uint64_t connection = 1; connection <= 4; ++connection) {
    blocks.connection_closed(connection);
    names.connection_closed(connection);
  }
  names.tick();
  return 0;
}
