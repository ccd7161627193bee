// Changes whose answer is lost and that come again: executed once, with the first result, also when
// the server dies at any point between effect and answer, or two workers have the same request.
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "engines.h"
#include "segment/fault.h"
#include "server/data_requests.h"
#include "server/name_requests.h"
#include "support/scratch.h"

namespace imss::server {
namespace {

using net::Operation;

constexpr std::uint64_t kDataset = 7;
constexpr std::uint64_t kClient = 99;
constexpr std::uint64_t kConnection = 5;

// A server's segment; any number of workers can be made for it.
template <typename Engine, typename Worker>
struct Server {
  Server() : record(*segment::Outcomes(*engine.hosted).record_of(kClient)) {}
  std::unique_ptr<Requests> worker() { return std::make_unique<Worker>(engine.hosted.segment()); }
  template <typename Fields>
  Exchange ask(Requests& worker, Operation operation, const Fields& fields,
               std::uint64_t number = 0, bool repeated = false,
               std::span<const std::byte> payload = {}) {
    Exchange exchange;
    exchange.operation = operation;
    exchange.client = record;
    exchange.connection = kConnection;
    exchange.fields = net::encode(fields);
    exchange.payload = payload;
    exchange.request = {record, 3, number};
    exchange.repeated = repeated;
    worker.execute(exchange);
    return exchange;
  }
  Engine engine;
  const std::uint64_t record;
};
using Data = Server<engines::DataEngine, DataRequests>;
using Names = Server<engines::NameEngine, NameRequests>;

// A change, what must be there before it, and a number that says how often it was executed.
template <typename World>
struct Change {
  std::string name;
  std::function<void(World&)> prepare;
  std::function<Exchange(World&, Requests&, std::uint64_t number, bool repeated)> send;
  std::function<std::uint64_t(World&)> measure;
  // Its worker keeps something for it, which a death takes along: then it may be refused, undone.
  bool tied = false;
  // What it answers names such a thing, which a repetition has no more.
  bool answers_alike = true;
};

const std::vector<std::byte> kContent(5000, std::byte{1});

store::Attributes some_attributes() {
  store::Attributes attributes;
  attributes.size = 1000;
  attributes.links = 1;
  return attributes;
}

std::uint64_t opens(Data& world) {
  segment::Snapshot snapshot;
  REQUIRE(segment::Table(*world.engine.hosted, segment::kOpenTable)
              .find({kDataset, world.record}, &snapshot)
              .ok());
  return snapshot.entry == nullptr ? 0 : snapshot.values.value0;
}

template <Operation kOperation>
auto data_change(
    std::string name, const typename net::MessagesOf<kOperation>::Request& request,
    std::function<std::uint64_t(Data&)> measure, std::function<void(Data&)> more = [](Data&) {}) {
  Change<Data> change;
  change.name = std::move(name);
  change.prepare = [more](Data& world) {
    if (kOperation != Operation::kCreateInode)
      REQUIRE(world.engine.store.create_inode(kDataset, some_attributes()).ok());
    more(world);
  };
  change.send = [request](Data& world, Requests& worker, std::uint64_t number, bool repeated) {
    const bool carries = kOperation == Operation::kPut || kOperation == Operation::kWrite;
    return world.ask(worker, kOperation, request, number, repeated,
                     carries ? std::span(kContent) : std::span<const std::byte>());
  };
  change.measure = std::move(measure);
  return change;
}

std::vector<Change<Data>> data_changes() {
  const auto version = [](Data& world) { return *world.engine.store.version({kDataset, 1}); };
  const auto attribute = [](auto member) {
    return [member](Data& world) -> std::uint64_t {
      const auto attributes = world.engine.store.attributes(kDataset);
      return attributes.ok() ? (*attributes).*member : 0;
    };
  };
  const auto first_byte = [](Data& world) {
    std::byte byte{};
    REQUIRE(world.engine.store.get({kDataset, 1}, 0, std::span(&byte, 1)).ok());
    return std::to_integer<std::uint64_t>(byte);
  };
  const auto open_three_times = [](Data& world) {
    for (int i = 0; i < 3; ++i) REQUIRE(world.engine.store.open_for(kDataset, world.record).ok());
  };
  return {
      data_change<Operation::kPut>("Put", {kDataset, 1, 0, store::kAnyVersion, 0}, version),
      data_change<Operation::kWrite>("Write", {kDataset, 1, 100, 1 << 20, 0}, version),
      data_change<Operation::kCreateInode>("CreateInode", {kDataset, some_attributes()},
                                           attribute(&store::Attributes::links)),
      data_change<Operation::kReserveAppend>("ReserveAppend", {kDataset, 10},
                                             attribute(&store::Attributes::size)),
      data_change<Operation::kBeginTruncation>("BeginTruncation", {kDataset, 5},
                                               attribute(&store::Attributes::generation)),
      data_change<Operation::kChangeAttributes>(
          "ChangeAttributes", {kDataset, {.fields = store::AttributeChange::kMode, .mode = 0600}},
          attribute(&store::Attributes::version)),
      data_change<Operation::kChangeXattr>(
          "ChangeXattr", {kDataset, {store::XattrMode::kCreate, "user.a", {1, 2, 3}}},
          attribute(&store::Attributes::version)),
      data_change<Operation::kClear>("Clear", {kDataset, 1, 0, 1000}, first_byte,
                                     [](Data& world) {
                                       REQUIRE(world.engine.store.write({kDataset, 1}, 0, kContent, 1 << 20).ok());
                                     }),
      data_change<Operation::kOpen>("Open", {kDataset}, opens),
      data_change<Operation::kClose>("Close", {kDataset}, opens, open_three_times),
  };
}

constexpr std::uint64_t kRoot = 1000;

metadata::EntryInfo entry_of(const std::string& name) {
  metadata::EntryInfo info;
  info.parent = kRoot;
  info.name = name;
  info.type = metadata::NodeType::kDataset;
  return info;
}

metadata::InstanceInfo instance_of(const std::string& name, std::uint64_t root) {
  metadata::InstanceInfo info;
  info.name = name;
  info.root = root;
  info.servers = {1, 2};
  return info;
}

// The directory that the changes are made in, with a file, a directory and a second file.
void fill(Names& world) {
  auto& names = world.engine.names;
  REQUIRE(names.create_instance(instance_of("w", kRoot)).ok());
  for (const char* name : {"file", "other"}) {
    auto pending = names.prepare(entry_of(name));
    REQUIRE(pending.ok());
    REQUIRE(names.publish(*pending).ok());
  }
  REQUIRE(names.make_directory(kRoot, "dir", {0755}).ok());
}

template <Operation kOperation>
Change<Names> name_change(std::string name,
                          const typename net::MessagesOf<kOperation>::Request& request,
                          std::function<std::uint64_t(Names&)> measure) {
  Change<Names> change;
  change.name = std::move(name);
  change.prepare = fill;
  change.send = [request](Names& world, Requests& worker, std::uint64_t number, bool repeated) {
    return world.ask(worker, kOperation, request, number, repeated);
  };
  change.measure = std::move(measure);
  return change;
}

std::vector<Change<Names>> name_changes() {
  const auto entries = [](Names& world) { return world.engine.names.directory(kRoot)->entries; };
  const auto instances = [](Names& world) -> std::uint64_t {
    return world.engine.names.instances()->size();
  };
  const auto members = [](Names& world) -> std::uint64_t {
    const auto servers = world.engine.names.instance("w")->servers;
    return static_cast<std::uint64_t>(
        std::ranges::count_if(servers, [](auto id) { return id != 0; }));
  };
  const auto mode = [](Names& world) -> std::uint64_t { return world.engine.names.directory(kRoot)->mode; };
  const auto named_file = [](Names& world) { return world.engine.names.lookup(kRoot, "file")->id; };
  const auto xattrs = [](Names& world) { return world.engine.names.directory_xattr(kRoot, {})->size(); };
  std::vector<Change<Names>> all = {
      name_change<Operation::kMakeDirectory>("MakeDirectory", {kRoot, "new", {}, 0}, entries),
      name_change<Operation::kRemoveName>("RemoveName", {kRoot, "file"}, entries),
      name_change<Operation::kRemoveDirectory>("RemoveDirectory", {kRoot, "dir"}, entries),
      name_change<Operation::kRename>("Rename", {kRoot, "file", kRoot, "other", false}, entries),
      name_change<Operation::kCreateInstance>("CreateInstance", {instance_of("v", 0), {}}, instances),
      name_change<Operation::kLeaveInstance>("LeaveInstance", {"w", 2}, members),
      name_change<Operation::kRemoveInstance>("RemoveInstance", {"u"}, instances),
      name_change<Operation::kChangeDirectory>(
          "ChangeDirectory", {kRoot, {.fields = store::AttributeChange::kMode, .mode = 0700}}, mode),
      name_change<Operation::kChangeDirectoryXattr>(
          "ChangeDirectoryXattr", {kRoot, {store::XattrMode::kCreate, "user.a", {1, 2, 3}}}, xattrs),
      name_change<Operation::kExchangeNames>("ExchangeNames", {kRoot, "file", kRoot, "dir"}, named_file),
  };
  all[1].answers_alike = all[3].answers_alike = false;
  all[6].prepare = [](Names& world) {
    fill(world);
    REQUIRE(world.engine.names.create_instance(instance_of("u", 3000)).ok());
  };
  Change<Names> publish;
  publish.name = "Publish";
  publish.prepare = fill;
  publish.tied = true;
  publish.answers_alike = false;
  publish.send = [](Names& world, Requests& worker, std::uint64_t number, bool repeated) {
    std::uint64_t record = 1;
    if (!repeated) {
      const Exchange prepared =
          world.ask(worker, Operation::kPrepare, net::EntryRequest{entry_of("made")});
      record = net::decode<net::PrepareReply>(prepared.reply_fields)->record;
    }
    return world.ask(worker, Operation::kPublish, net::RecordRequest{record}, number, repeated);
  };
  publish.measure = entries;
  all.push_back(std::move(publish));
  return all;
}

template <typename World>
void check_repetition(const Change<World>& change) {
  INFO(change.name);
  World world;
  change.prepare(world);
  const std::uint64_t before = change.measure(world);
  const auto first_worker = world.worker();
  const Exchange first = change.send(world, *first_worker, 1, false);
  INFO(first.status.message());
  REQUIRE(first.status.ok());
  const std::uint64_t after = change.measure(world);
  CHECK(after != before);
  // At another worker, as after a connection that broke.
  const auto second_worker = world.worker();
  for (int round = 0; round < 2; ++round) {
    const Exchange again = change.send(world, *second_worker, 1, true);
    INFO(again.status.message());
    CHECK(again.status.ok());
    CHECK(change.measure(world) == after);
    if (change.answers_alike) CHECK(again.reply_fields == first.reply_fields);
  }
}

// The fault points that a change passes.
template <typename World>
std::map<std::string, int> points_of(const Change<World>& change) {
  const test::Scratch scratch;
  const std::string trace = scratch.file("trace");
  World world;
  change.prepare(world);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("IMSS_FAULT_TRACE", trace.c_str(), 1);
    segment::fault_reload();
    const auto worker = world.worker();
    [[maybe_unused]] const Exchange sent = change.send(world, *worker, 1, false);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  std::map<std::string, int> points;
  std::ifstream in(trace);
  for (std::string line; std::getline(in, line);) ++points[line];
  return points;
}

template <typename World>
void check_death(const Change<World>& change, const std::string& point, int count) {
  INFO(change.name << " " << point << " " << count);
  World world;
  change.prepare(world);
  const std::uint64_t before = change.measure(world);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("IMSS_FAULT", (point + ":" + std::to_string(count)).c_str(), 1);
    segment::fault_reload();
    const auto worker = world.worker();
    [[maybe_unused]] const Exchange sent = change.send(world, *worker, 1, false);
    ::_exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  (*world.engine.hosted).clean_up();
  {
    const auto worker = world.worker();
    const Exchange again = change.send(world, *worker, 1, true);
    INFO(again.status.message());
    const bool refused = change.tied && again.status.code() == Code::kBadHandle;
    CHECK((again.status.ok() || refused));
    CHECK((change.measure(world) == before) == refused);
    const std::uint64_t after = change.measure(world);
    const Exchange third = change.send(world, *worker, 1, true);
    CHECK(third.status.code() == again.status.code());
    if (change.answers_alike) CHECK(third.reply_fields == again.reply_fields);
    CHECK(change.measure(world) == after);
  }
  world.engine.hosted.require_sound();
}

template <typename World>
void check_deaths(const std::vector<Change<World>>& changes) {
  for (const auto& change : changes) {
    const auto points = points_of(change);
    INFO(change.name);
    CHECK(points.contains("request.executed"));
    for (const auto& [point, passes] : points) {
      // The first and the last pass; those between apply further stores of one transaction.
      check_death(change, point, 1);
      if (passes > 1) check_death(change, point, passes);
    }
  }
}

}  // namespace

TEST_CASE("every change that must not be done twice is tried here") {
  std::set<std::string> listed;
  std::set<std::string> tried;
#define COLLECT(name, number, Request, Reply, effect, text) \
  if (net::Effect::effect == net::Effect::kOnce) listed.insert(#name);
  IMSS_DATA_OPERATIONS(COLLECT)
  IMSS_METADATA_OPERATIONS(COLLECT)
#undef COLLECT
  for (const auto& change : data_changes()) tried.insert(change.name);
  for (const auto& change : name_changes()) tried.insert(change.name);
  CHECK(listed == tried);
}

TEST_CASE("a change that comes again is not executed again and has the first answer") {
  for (const auto& change : data_changes()) check_repetition(change);
  for (const auto& change : name_changes()) check_repetition(change);
}

TEST_CASE("a repeated write does not undo what another wrote after it") {
  Data world;
  const auto worker = world.worker();
  const net::WriteRequest write{kDataset, 1, 0, 1 << 20, 0};
  REQUIRE(world.ask(*worker, Operation::kWrite, write, 1, false, kContent).status.ok());
  const std::vector<std::byte> other(kContent.size(), std::byte{9});
  REQUIRE(world.engine.store.write({kDataset, 1}, 0, other, 1 << 20).ok());
  REQUIRE(world.ask(*worker, Operation::kWrite, write, 1, true, kContent).status.ok());
  std::vector<std::byte> out(other.size());
  REQUIRE(world.engine.store.get({kDataset, 1}, 0, out).ok());
  CHECK(out == other);
}

TEST_CASE("a data server killed between effect and answer of a change executes it once") {
  check_deaths(data_changes());
}

TEST_CASE("a metadata server killed between effect and answer of a change executes it once") {
  check_deaths(name_changes());
}

TEST_CASE("what a repetition was told stays, whatever becomes of the first one") {
  Names world;
  fill(world);
  const auto first = world.worker();
  const auto second = world.worker();
  const net::NameRequest missing{kRoot, "made"};
  CHECK(world.ask(*second, Operation::kRemoveDirectory, missing, 1, true).status.code() ==
        Code::kNotFound);
  REQUIRE(world.engine.names.make_directory(kRoot, "made", {0755}).ok());
  // Now the first one arrives.
  CHECK(world.ask(*first, Operation::kRemoveDirectory, missing, 1, false).status.code() ==
        Code::kNotFound);
  CHECK(world.engine.names.lookup(kRoot, "made").ok());
}

TEST_CASE("attributes that were changed again since are not set back by a repetition") {
  const store::AttributeChange first{.fields = store::AttributeChange::kMode, .mode = 0700};
  const store::AttributeChange second{.fields = store::AttributeChange::kMode, .mode = 0711};
  Names names;
  fill(names);
  const auto name_worker = names.worker();
  const net::ChangeAttributesRequest directory{kRoot, first};
  REQUIRE(names.ask(*name_worker, Operation::kChangeDirectory, directory, 1).status.ok());
  REQUIRE(names.engine.names.change_directory(kRoot, second).ok());
  CHECK(names.ask(*name_worker, Operation::kChangeDirectory, directory, 1, true).status.ok());
  CHECK(names.engine.names.directory(kRoot)->mode == 0711);
  Data data;
  REQUIRE(data.engine.store.create_inode(kDataset, some_attributes()).ok());
  const auto data_worker = data.worker();
  const net::ChangeAttributesRequest dataset{kDataset, first};
  REQUIRE(data.ask(*data_worker, Operation::kChangeAttributes, dataset, 1).status.ok());
  REQUIRE(data.engine.store.change_attributes(kDataset, second).ok());
  CHECK(data.ask(*data_worker, Operation::kChangeAttributes, dataset, 1, true).status.ok());
  CHECK(data.engine.store.attributes(kDataset)->mode == 0711);
}

TEST_CASE("two workers with the same changes execute each once") {
  Data world;
  REQUIRE(world.engine.store.create_inode(kDataset, some_attributes()).ok());
  const std::uint64_t size_before = world.engine.store.attributes(kDataset)->size;
  constexpr std::uint64_t kChanges = 3000;
  std::atomic<std::uint64_t> answered{0};
  const auto work = [&] {
    const auto worker = world.worker();
    for (std::uint64_t number = 1; number <= kChanges; ++number) {
      const Exchange exchange = world.ask(*worker, Operation::kReserveAppend,
                                          net::SizeRequest{kDataset, 1}, number, true);
      if (!exchange.status.ok()) continue;  // the other one has gone on
      const auto reply = net::decode<net::NumberReply>(exchange.reply_fields);
      if (reply.ok() && reply->number == size_before + number - 1) ++answered;
    }
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(world.engine.store.attributes(kDataset)->size == size_before + kChanges);
  CHECK(answered >= kChanges);
}

TEST_CASE("what is kept of a client goes with it, and only then") {
  Data world;
  REQUIRE(world.engine.store.create_inode(kDataset, some_attributes()).ok());
  const auto worker = world.worker();
  const net::SizeRequest request{kDataset, 10};
  REQUIRE(world.ask(*worker, Operation::kReserveAppend, request, 1).status.ok());
  segment::Outcomes outcomes(*world.engine.hosted);
  const auto entries = [&] {
    int count = 0;
    REQUIRE(segment::Table(*world.engine.hosted, segment::kOutcomeTable)
                .for_each([&](segment::Key, const segment::Values&) { return ++count > 0; })
                .ok());
    return count;
  };
  std::set<std::uint64_t> kept;
  const auto keep = [&](std::uint64_t record) { kept.insert(record); };
  REQUIRE(outcomes.forget([](std::uint64_t) { return true; }, keep).ok());
  CHECK(kept == std::set<std::uint64_t>{world.record});
  CHECK(entries() == 2);
  CHECK(*outcomes.record_of(kClient) == world.record);
  REQUIRE(outcomes.forget([](std::uint64_t) { return false; }, keep).ok());
  CHECK(entries() == 0);
  // The client that comes back is told apart from the one that was forgotten.
  CHECK(*outcomes.record_of(kClient) != world.record);
}

}  // namespace imss::server
