#include "model_servers.h"

#include <thread>

#include "base/clock.h"
#include "metadata/reach.h"
#include "model_client.h"
#include "segment/check.h"
#include "segment/segment_files.h"
#include "store/reach.h"

namespace model {

using imss::Result;
using imss::Status;
using imss::segment::Segment;

namespace {

constexpr std::uint32_t kDataServers = 2;
constexpr std::uint64_t kCapacityBytes = 192 << 20;

std::string check_one(Segment& segment, imss::segment::ReachVisitor reach) {
  imss::segment::CheckOptions options;
  options.reach = std::move(reach);
  const auto report = imss::segment::check_segment(segment, options);
  if (!report.ok()) return report.status().message();
  std::string wrong;
  for (const auto& error : report->errors) wrong += segment.name() + ": " + error + "\n";
  if (report->leaked_extents != 0) {
    wrong += segment.name() + ": " + std::to_string(report->leaked_extents) +
             " extents of together " + std::to_string(report->leaked_bytes) +
             " bytes have leaked\n";
  }
  return wrong;
}

}  // namespace

Result<std::unique_ptr<Servers>> Servers::start() {
  auto servers = std::make_unique<Servers>();
  imss::server::MetadataServerOptions metadata;
  metadata.port = kMetadataPort;
  metadata.capacity_bytes = kCapacityBytes;
  IMSS_ASSIGN_OR_RETURN(servers->metadata_, imss::server::MetadataServer::start(metadata));
  for (std::uint32_t rank = 0; rank < kDataServers; ++rank) {
    imss::server::DataServerOptions data;
    data.instance = kInstance;
    data.rank = rank;
    data.server_count = kDataServers;
    data.capacity_bytes = kCapacityBytes;
    data.metadata_port = kMetadataPort;
    data.host_name = "localhost";
    IMSS_ASSIGN_OR_RETURN(auto server, imss::server::DataServer::start(data));
    servers->data_.push_back(std::move(server));
  }
  return servers;
}

void Servers::retire() {
  for (auto& server : data_) server->stop(true);
  metadata_->stop(true);
}

Result<std::unique_ptr<imss::client::Session>> connect() {
  imss::client::ConnectOptions options;
  options.port = kMetadataPort;
  // The servers' process may have been killed a moment ago, and its successor not serve yet.
  const imss::Deadline patience = imss::Deadline::from_now(20'000);
  for (;;) {
    auto session = imss::client::Session::connect(options);
    if (session.code() != imss::Code::kNotInitialized || patience.expired()) return session;
    std::this_thread::yield();
  }
}

Status Servers::settle(imss::client::Session& session) {
  session.metadata_segment()->clean_up();
  IMSS_RETURN_IF_ERROR(session.reap());
  for (const auto& server : data_) {
    server->segment()->clean_up();
    imss::store::Store store(server->segment());
    IMSS_RETURN_IF_ERROR(session.sweep(store, server->server_id()));
  }
  return {};
}

std::string Servers::check() {
  std::string wrong;
  auto metadata = Segment::open(metadata_->segment_name());
  if (!metadata.ok()) return metadata.status().message();
  wrong += check_one(**metadata, imss::metadata::visit);
  (*metadata)->leave();
  for (const auto& server : data_) wrong += check_one(*server->segment(), imss::store::visit);
  return wrong;
}

std::uint64_t Servers::blocks() {
  std::uint64_t count = 0;
  for (const auto& server : data_) {
    imss::store::Store store(server->segment());
    const Status status =
        store.for_each_block([&](imss::store::BlockId, const imss::segment::Values&) {
          ++count;
          return true;
        });
    if (!status.ok()) return ~0ULL;
  }
  return count;
}

}  // namespace model
