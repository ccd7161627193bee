// Servers on other nodes, reached over loopback: what is asked of them is what the engines answer
// here.
#include <atomic>
#include <thread>

#include "client/c_api_views.h"
#include "client/remote_names.h"
#include "client/remote_store.h"
#include "engines.h"
#include "net/caller.h"
#include "net/module.h"
#include "server/data_requests.h"
#include "server/name_requests.h"
#include "server/network_service.h"

namespace imss::client {
namespace {

using engines::kMiB;
using engines::pattern;
using engines::stamped;

constexpr std::uint64_t kDataset = 40;
constexpr std::uint64_t kBlockBytes = 256 << 10;

template <typename Handler>
std::unique_ptr<server::NetworkService> serve(const std::shared_ptr<segment::Segment>& segment) {
  server::NetworkOptions options;
  options.enabled = true;
  auto started = server::NetworkService::start(
      options, 0, segment, [segment] { return std::make_unique<Handler>(segment); });
  INFO(started.status().message());
  REQUIRE(started.ok());
  return std::move(*started);
}

std::shared_ptr<net::Peers> make_peers() {
  auto peers = net::Peers::make({});
  REQUIRE(peers.ok());
  return *peers;
}

struct RemoteData {
  explicit RemoteData(std::uint64_t other_nonce = 0)
      : service(serve<server::DataRequests>(here.hosted.segment())),
        there(make_peers(), "localhost", service->port(),
              other_nonce != 0 ? other_nonce : (*here.hosted).super().nonce) {}
  engines::DataEngine here;
  std::unique_ptr<server::NetworkService> service;
  RemoteStore there;
};

struct RemoteMetadata {
  RemoteMetadata()
      : service(serve<server::NameRequests>(here.hosted.segment())),
        there(make_peers(), "localhost", service->port(), (*here.hosted).super().nonce) {}
  engines::NameEngine here;
  std::unique_ptr<server::NetworkService> service;
  RemoteNames there;
};

}  // namespace

TEST_CASE("blocks that are stored over the network are those that are stored here") {
  RemoteData data;
  const auto content = pattern(kBlockBytes, 1);
  REQUIRE(*data.there.put({kDataset, 1}, content) == 1);
  std::vector<std::byte> read(kBlockBytes);
  bool present = false;
  REQUIRE(data.here.store.get({kDataset, 1}, 0, read, &present).ok());
  CHECK(present);
  CHECK((read == content));
  std::vector<std::byte> part(1000);
  REQUIRE(data.there.get({kDataset, 1}, 777, part, &present).ok());
  CHECK(std::equal(part.begin(), part.end(), content.begin() + 777));
  // In pieces, absent, and with a version that is not there.
  REQUIRE(
      data.there.write({kDataset, 2}, 100'000, std::span(content).first(5000), kBlockBytes).ok());
  REQUIRE(data.there.get({kDataset, 2}, 99'990, part, &present).ok());
  CHECK(part[9] == std::byte{0});
  CHECK(part[10] == content[0]);
  REQUIRE(data.there.get({kDataset, 3}, 0, part, &present).ok());
  CHECK(!present);
  store::PutOptions options;
  options.expected_version = 7;
  CHECK(data.there.put({kDataset, 1}, content, options).code() == Code::kBusy);
  CHECK(*data.there.version({kDataset, 1}) == 1);
  REQUIRE(data.there.cut({kDataset, 1}, 10, 1).ok());
  REQUIRE(data.here.store.get({kDataset, 1}, 5, part).ok());
  CHECK(part[4] == content[9]);
  CHECK(part[5] == std::byte{0});
  REQUIRE(data.there.erase({kDataset, 1}).ok());
  REQUIRE(data.there.erase_range(kDataset, 1, 100).ok());
  CHECK(*data.here.store.version({kDataset, 2}) == 0);
}

TEST_CASE(
    "whole blocks travel between the user's memory and where they are stored, without a copy") {
  RemoteData data;
  // One that fills its extent and one that is stored in pieces.
  for (const std::size_t bytes : {std::size_t{1} << 20, std::size_t{300'001}}) {
    const store::BlockId id{kDataset, bytes};
    const auto received = data.service->received();
    const auto replied = data.service->replied();
    for (const std::uint8_t seed :
         {std::uint8_t{3}, std::uint8_t{4}}) {  // a new block and one that replaces it
      const auto content = pattern(bytes, seed);
      REQUIRE(data.there.put(id, content).ok());
      std::vector<std::byte> out(bytes);
      REQUIRE(data.there.get(id, 0, out).ok());
      CHECK(out == content);
      // What follows the content is zeros, whatever was in the memory before.
      std::vector<std::byte> tail(64);
      if (bytes < kMiB) REQUIRE(data.here.store.get(id, bytes, tail).ok());
      CHECK(tail == std::vector<std::byte>(64));
    }
    CHECK(data.service->received().stored == received.stored + 2);
    CHECK(data.service->received().buffered == received.buffered);
    CHECK(data.service->replied().stored == replied.stored + 2);
    CHECK(data.service->replied().buffered == replied.buffered);
  }
}

TEST_CASE("inodes are changed over the network as they are here") {
  RemoteData data;
  store::Attributes attributes;
  attributes.block_bytes = 4096;
  attributes.mode = 0640;
  attributes.first_link = 7;
  REQUIRE(data.there.create_inode(kDataset, attributes).ok());
  CHECK(data.there.create_inode(kDataset, attributes).code() == Code::kExists);
  REQUIRE(data.there.extend_size(kDataset, 5000).ok());
  CHECK(*data.there.reserve_append(kDataset, 100) == 5000);
  REQUIRE(data.there.announce_block(kDataset, 9).ok());
  const auto truncation = data.there.begin_truncation(kDataset, 10);
  REQUIRE(truncation.ok());
  CHECK(truncation->pending);
  CHECK(data.there.pending_truncation(kDataset)->pending);
  REQUIRE(data.there.finish_truncation(kDataset, *truncation).ok());
  using Change = store::AttributeChange;
  REQUIRE(data.there.change_attributes(kDataset, {.fields = Change::kUid | Change::kAccessed, .uid = 5, .accessed_ns = 6}).ok());
  CHECK(data.here.store.attributes(kDataset)->uid == 5);
  CHECK(data.here.store.attributes(kDataset)->accessed_ns == 6);
  CHECK(data.here.store.attributes(kDataset)->mode == 0640);
  CHECK(data.there.change_attributes(kDataset + 1, {}).code() == Code::kNotFound);
  const auto seen = data.there.attributes(kDataset);
  REQUIRE(seen.ok());
  CHECK(net::encode(*seen) == net::encode(*data.here.store.attributes(kDataset)));
  CHECK(seen->size == 10);
  CHECK(seen->highest_block == 9);
  // Opened by this process here and as a client over the network: two openers.
  REQUIRE(data.here.store.open(kDataset).ok());
  REQUIRE(data.there.open(kDataset).ok());
  CHECK(data.there.attributes(kDataset)->opens == 2);
  REQUIRE(data.there.add_link(kDataset, 8).ok());
  CHECK(data.there.attributes(kDataset)->links == 2);
  CHECK(*data.there.remove_link(kDataset, 7) == false);
  CHECK(*data.there.remove_link(kDataset, 8) == false);
  CHECK(*data.here.store.close(kDataset) == false);
  CHECK(*data.there.close(kDataset) == true);
  REQUIRE(data.there.erase_inode(kDataset).ok());
  CHECK(data.there.attributes(kDataset).code() == Code::kNotFound);
}

TEST_CASE("a view of a block on another node is a copy that stays until it is released") {
  RemoteData data;
  REQUIRE(data.there.put({kDataset, 1}, stamped(4096, 5)).ok());
  auto view = data.there.view({kDataset, 1}, 4096);
  REQUIRE(view.ok());
  c_api::Views views;
  const std::uint64_t number = views.add(*view, nullptr);
  const auto bytes = view->bytes;
  *view = {};
  REQUIRE(data.there.put({kDataset, 1}, stamped(4096, 6)).ok());
  CHECK(engines::is_stamped(bytes, 5));
  CHECK(views.release(number).ok());
  CHECK(views.release(number).code() == Code::kInvalidArgument);
}

TEST_CASE("a block that is overwritten in place all the time can be read over the network") {
  RemoteData data;
  REQUIRE(data.there.put({kDataset, 1}, stamped(kBlockBytes, 0)).ok());
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (std::uint64_t stamp = 1; !done.load(); ++stamp) {
      if (!data.here.store.write({kDataset, 1}, 0, stamped(kBlockBytes, stamp), kBlockBytes).ok())
        return;
    }
    (*data.here.hosted).leave();
  });
  std::vector<std::byte> out(kBlockBytes);
  for (int i = 0; i < 100; ++i) {
    const Status status = data.there.get({kDataset, 1}, 0, out);
    INFO(status.message());
    CHECK(status.ok());
  }
  done.store(true);
  writer.join();
}

namespace {

// What a call costs: messages from and to the client, and payloads that are copied once more than
// from the sender's memory into the receiver's: by the client out of its port's buffer, by the
// server's worker out of one of its own.
struct Cost {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t copied_by_client = 0;
  std::uint64_t copied_by_server = 0;
  bool operator==(const Cost&) const = default;
};

template <typename Call>
Cost cost_of(const server::NetworkService& service, Call&& call) {
  auto module = net::load_module();
  REQUIRE(module.ok());
  auto caller = net::Caller::of_this_thread(**module);
  REQUIRE(caller.ok());
  const net::PortCounters before = (*caller)->counters();
  const std::uint64_t buffered = service.received().buffered;
  call();
  const net::PortCounters after = (*caller)->counters();
  return {after.messages_sent - before.messages_sent,
          after.messages_received - before.messages_received,
          after.payloads_copied - before.payloads_copied, service.received().buffered - buffered};
}

}  // namespace

TEST_CASE("a call is one message and its answer, and payloads are copied as rarely as is known") {
  RemoteData data;
  REQUIRE(data.there.version({kDataset, 1}).ok());  // they know each other
  const auto large = pattern(kBlockBytes, 1);
  const auto small = pattern(4096, 1);
  std::vector<std::byte> read(kBlockBytes);
  bool present = false;
  const auto cost = [&](auto&& call) { return cost_of(*data.service, call); };
  //                                                                sent, received, copies
  CHECK(cost([&] { (void)data.there.put({kDataset, 1}, large); }) == Cost{1, 1, 0, 0});
  CHECK(cost([&] { (void)data.there.put({kDataset, 2}, small); }) == Cost{1, 1, 0, 0});
  CHECK(cost([&] { (void)data.there.get({kDataset, 1}, 0, read, &present); }) == Cost{1, 1, 0, 0});
  CHECK(cost([&] {
          (void)data.there.get({kDataset, 2}, 0, std::span(read).first(4096), &present);
        }) == Cost{1, 1, 1, 0});
  CHECK(cost([&] {
          (void)data.there.write({kDataset, 3}, 0, large, kBlockBytes);
        }) == Cost{1, 1, 0, 1});
  CHECK(cost([&] { (void)data.there.attributes(kDataset); }) == Cost{1, 1, 0, 0});
}

TEST_CASE("a server that was started in the place of another one is not asked") {
  RemoteData data(12345);
  CHECK(data.there.serving());
  CHECK(data.there.version({kDataset, 1}).code() == Code::kFenced);
  CHECK(!data.there.serving());
}

TEST_CASE("names are made, found, moved and removed over the network") {
  RemoteMetadata metadata;
  metadata::InstanceInfo instance;
  instance.name = "r";
  instance.servers = {1};
  REQUIRE(metadata.there.create_instance(instance, {0750, 3, 4}).ok());
  const std::uint64_t root = metadata.there.instance("r")->root;
  CHECK(root == metadata.here.names.instance("r")->root);
  std::uint64_t directory = 0;
  CHECK(metadata.there.directory(root)->uid == 3);
  REQUIRE(metadata.there.make_directory(root, "d", {0755, 5, 6}, &directory).ok());
  CHECK(net::encode(metadata.there.directory(directory)->permissions()) == net::encode(metadata::Permissions{0755, 5, 6}));
  metadata::EntryInfo info;
  info.parent = directory;
  info.name = "file";
  info.id = *metadata.there.new_id();
  info.type = metadata::NodeType::kDataset;
  auto pending = metadata.there.prepare(info);
  REQUIRE(pending.ok());
  CHECK(!pending->group);
  CHECK(metadata.here.names.lookup(directory, "file").code() == Code::kNotFound);
  REQUIRE(metadata.there.publish(*pending).ok());
  CHECK(metadata.here.names.lookup(directory, "file")->id == info.id);
  CHECK(metadata.there.remove_directory(root, "d").code() == Code::kNotEmpty);
  REQUIRE(metadata.there.rename(directory, "file", root, "moved").ok());
  REQUIRE(metadata.there.change_directory(directory, {.fields = store::AttributeChange::kMode, .mode = 02755}).ok());
  CHECK(metadata.here.names.directory(directory)->mode == 02755);
  CHECK(metadata.there.change_directory(info.id, {}).code() == Code::kNotFound);
  auto second = metadata.there.prepare(info);
  REQUIRE(second.ok());
  CHECK(second->group == 6);
  metadata.there.abandon(*second);
  std::vector<metadata::EntryInfo> entries;
  REQUIRE(metadata.there.list(root, 0, 100, &entries).ok());
  CHECK(entries.size() == 2);
  auto removed = metadata.there.remove(root, "moved");
  REQUIRE(removed.ok());
  CHECK(removed->info.id == info.id);
  metadata.there.forget(*removed);
  REQUIRE(metadata.there.remove_directory(root, "d").ok());
  CHECK(metadata.there.directory(root)->entries == 0);
  metadata.here.hosted.require_sound();
}

TEST_CASE("ten thousand names are listed over the network in parts, each once") {
  RemoteMetadata metadata;
  constexpr std::size_t kNames = 10'000;
  for (std::size_t i = 0; i < kNames; ++i) {
    REQUIRE(
        metadata.here.names.make_directory(metadata::kInstancesDirectory, std::to_string(i), {0755})
            .ok());
  }
  std::vector<metadata::EntryInfo> entries;
  for (bool more = true; more;) {
    const auto listed =
        metadata.there.list(metadata::kInstancesDirectory,
                            entries.empty() ? 0 : entries.back().cookie, kNames, &entries);
    REQUIRE(listed.ok());
    more = *listed;
  }
  CHECK(entries.size() == kNames);
}

}  // namespace imss::client
