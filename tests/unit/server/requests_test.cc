// Requests of every kind with fields that nobody honest would send: answered or refused, never a
// crash, and the segment is sound afterwards.
#include <catch2/catch.hpp>
#include <random>

#include "engines.h"
#include "server/data_requests.h"
#include "server/name_requests.h"

namespace imss::server {
namespace {

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
  // Small numbers, which meet what is stored, and those at the ends of their range.
  std::uint64_t number() {
    switch (below(8)) {
      case 0:
        return engine_();
      case 1:
        return ~std::uint64_t{0} - below(3);
      case 2:
        return std::uint64_t{1} << below(64);
      case 3:
        return (std::uint64_t{1} << below(64)) - 1;
      default:
        return below(6);
    }
  }
  template <typename T>
  void fill(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = below(2) == 1;
    } else if constexpr (net::Scalar<T>) {
      value = static_cast<T>(number());
    } else if constexpr (std::is_same_v<T, std::string>) {
      static constexpr const char* kNames[] = {"a", "b", "", ".", "..", "a/b", "/"};
      const std::uint64_t which = below(9);
      if (which < 7) {
        value = kNames[which];
      } else {
        value.assign(which == 7 ? below(70'000) : below(300), static_cast<char>(number()));
      }
    } else if constexpr (requires { typename T::value_type; }) {
      // Many small elements, or as many larger ones as make a message of that size.
      constexpr std::uint64_t kMany = net::Scalar<typename T::value_type> ? 100'000 : 1'000;
      value.resize(below(10) == 0 ? below(kMany) : below(5));
      for (auto& element : value) fill(element);
    } else {
      value.visit([this](const char*, auto&... fields) { (this->fill(fields), ...); });
    }
  }
  std::vector<std::byte> payload() {
    return std::vector<std::byte>(below(10) == 0 ? below(1 << 20) : below(5000), std::byte{3});
  }

 private:
  std::mt19937_64 engine_;
};

template <typename Request>
Exchange exchange_of(Random& random, std::uint16_t number, std::vector<std::byte>& payload) {
  Request request;
  random.fill(request);
  Exchange exchange;
  exchange.operation = static_cast<net::Operation>(number);
  exchange.client = 1 + random.below(3);
  exchange.connection = 1 + random.below(3);
  exchange.fields = net::encode(request);
  if (random.below(20) == 0 && !exchange.fields.empty()) exchange.fields.pop_back();
  payload = random.payload();
  exchange.payload = payload;
  return exchange;
}

using Make = Exchange (*)(Random&, std::uint16_t, std::vector<std::byte>&);
struct Kind {
  const char* name;
  std::uint16_t number;
  Make make;
};
#define KIND(name, number, Request, Reply, effect, text) {#name, number, exchange_of<net::Request>},
const Kind kData[] = {IMSS_DATA_OPERATIONS(KIND){"Unknown", 4711, exchange_of<net::Nothing>}};
const Kind kMetadata[] = {
    IMSS_METADATA_OPERATIONS(KIND){"Unknown", 4711, exchange_of<net::Nothing>}};
#undef KIND

template <std::size_t kCount>
void send_many(Requests& requests, const Kind (&kinds)[kCount], unsigned seed) {
  Random random(seed);
  std::size_t succeeded = 0;
  for (int i = 0; i < 4000; ++i) {
    const Kind& kind = kinds[random.below(kCount)];
    std::vector<std::byte> payload;
    Exchange exchange = kind.make(random, kind.number, payload);
    requests.execute(exchange);
    INFO(kind.name << " " << exchange.status.message());
    succeeded += exchange.status.ok();
    if (kind.number == 4711) {
      REQUIRE(exchange.status.code() == Code::kNotSupported);
    }
    REQUIRE(exchange.status.code() != Code::kCorrupt);
    if (random.below(50) == 0) requests.connection_closed(1 + random.below(3));
    if (random.below(50) == 0) requests.tick();
  }
  CHECK(succeeded > 200);
}

TEST_CASE("a data server survives requests of every kind with any fields") {
  for (const unsigned seed : {1U, 2U}) {
    engines::DataEngine engine(32 * engines::kMiB);
    {
      DataRequests requests(engine.hosted.segment());
      send_many(requests, kData, seed);
    }
    engine.hosted.require_sound();
  }
}

TEST_CASE("a metadata server survives requests of every kind with any fields") {
  // With others a change commits the name of a directory that nobody made: the server believes who drives a change.
  for (const unsigned seed : {1U, 3U}) {
    engines::NameEngine engine(32 * engines::kMiB);
    {
      NameRequests requests(engine.hosted.segment());
      send_many(requests, kMetadata, seed);
    }
    engine.hosted.require_sound();
  }
}

TEST_CASE("what was made without a name goes with a client that ends before it opens it") {
  for (const bool opens : {false, true}) {
    engines::DataEngine engine(32 * engines::kMiB);
    DataRequests requests(engine.hosted.segment());
    std::vector<std::uint64_t> dropped;
    const auto sweep = [&] {
      store::Store::SweepActions actions;
      actions.settle = [] { return Status(); };
      actions.remote_lives = [](std::uint64_t) { return true; };
      actions.drop = [&](std::uint64_t dataset) {
        dropped.push_back(dataset);
        return engine.store.erase_inode(dataset);
      };
      REQUIRE(engine.store.sweep(actions).ok());
    };
    sweep();  // from here on only what is expected is looked for
    const auto ask = [&](net::Operation operation, const auto& fields) {
      Exchange exchange;
      exchange.operation = operation;
      exchange.client = 9;
      exchange.connection = 5;
      exchange.fields = net::encode(fields);
      requests.execute(exchange);
      REQUIRE(exchange.status.ok());
    };
    net::InodeRequest inode;
    inode.dataset = 40;
    inode.attributes.links = 0;
    ask(net::Operation::kCreateInode, inode);
    if (opens) ask(net::Operation::kOpen, net::DatasetRequest{40});
    requests.connection_closed(5);
    sweep();
    CHECK(dropped == (opens ? std::vector<std::uint64_t>() : std::vector<std::uint64_t>{40}));
    CHECK(engine.store.attributes(40).ok() == opens);
  }
}

TEST_CASE("names in the making wait for room, and one connection cannot take it all") {
  engines::NameEngine engine(32 * engines::kMiB);
  {
    NameRequests requests(engine.hosted.segment());
    const auto ask = [&](net::Operation operation, std::uint64_t connection, const auto& fields) {
      Exchange exchange;
      exchange.operation = operation;
      exchange.connection = connection;
      exchange.fields = net::encode(fields);
      requests.execute(exchange);
      return exchange;
    };
    const auto prepare = [&](std::uint64_t connection, int number) {
      metadata::EntryInfo entry;
      entry.parent = metadata::kInstancesDirectory;
      entry.name = "n" + std::to_string(number);
      entry.type = metadata::NodeType::kDataset;
      return ask(net::Operation::kPrepare, connection, net::EntryRequest{entry});
    };
    std::vector<std::uint64_t> records;
    Exchange last;
    for (int i = 0; i < 1000 && !last.later; ++i) {
      last = prepare(static_cast<std::uint64_t>(i / 2 + 1), i);
      REQUIRE(last.status.ok());
      if (!last.later) records.push_back(net::decode<net::PrepareReply>(last.reply_fields)->record);
    }
    REQUIRE(last.later);
    CHECK(records.size() > 8);
    CHECK(prepare(last.connection, 0).later);
    REQUIRE(ask(net::Operation::kAbandon, 1, net::RecordRequest{records[0]}).status.ok());
    CHECK(!prepare(2000, 0).later);
  }
  {
    NameRequests requests(engine.hosted.segment());
    Exchange exchange;
    int made = 0;
    for (; made < 100 && exchange.status.ok(); ++made) {
      metadata::EntryInfo entry;
      entry.parent = metadata::kInstancesDirectory;
      entry.name = std::to_string(made);
      entry.type = metadata::NodeType::kDataset;
      exchange = {};
      exchange.operation = net::Operation::kPrepare;
      exchange.connection = 1;
      exchange.fields = net::encode(net::EntryRequest{entry});
      requests.execute(exchange);
    }
    CHECK(exchange.status.code() == Code::kBusy);
    CHECK(made < 10);
  }
}

}  // namespace
}  // namespace imss::server
