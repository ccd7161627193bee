// A child process runs one operation and is killed at each fault point on its way. Afterwards
// everything that was acknowledged before must be there, the interrupted operation wholly there or
// not at all, others go on, and nothing has leaked.
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "engines.h"
#include "segment/fault.h"

using engines::is_stamped;
using engines::kKiB;
using engines::kMiB;
using engines::stamped;
using engines::World;
using imss::Code;
using imss::Status;
using imss::client::Dataset;
using imss::client::DatasetOptions;
using imss::client::Session;

// ThreadSanitizer does not follow a fork of a process with threads: these tests are left out of its builds.
#if !defined(__SANITIZE_THREAD__)

namespace {

using Bytes = std::vector<std::byte>;

enum class Outcome { kNothing, kDone, kBroken };

struct Operation {
  std::string name;
  std::function<void(World&)> prepare;  // in the parent; REQUIREs
  std::function<Status(World&)> run;    // in the child
  std::function<Outcome(World&)> look;  // in the parent, afterwards
  bool repeatable = true;               // run() again makes kDone out of kNothing
  std::uint32_t data_servers = 2;
};

constexpr std::uint64_t kKeptBlocks = 6;
constexpr std::uint64_t kNameless = 900;  // a dataset that only the store knows

// Makes a dataset in the parent and releases it.
void make(World& world, const std::string& path, const DatasetOptions& options,
          std::uint64_t blocks = 0, std::uint64_t stamp = 1) {
  auto handle = world.session().create(World::uri(path), options);
  INFO(handle.status().message());
  REQUIRE(handle.ok());
  auto dataset = *world.session().dataset(*handle);
  for (std::uint64_t block = 1; block <= blocks; ++block) {
    REQUIRE(world.session().put(*dataset, block, stamped(options.block_bytes, stamp + block)).ok());
  }
  REQUIRE(world.session().release(*handle).ok());
}

// An open dataset, closed at the end.
class Opened {
 public:
  Opened(Session& session, const std::string& path)
      : Opened(session, session.open(World::uri(path))) {}
  Opened(Session& session, imss::Result<std::int32_t> handle)
      : session_(session), handle_(std::move(handle)) {
    if (handle_.ok()) dataset_ = *session.dataset(*handle_);
  }
  ~Opened() {
    if (handle_.ok()) [[maybe_unused]]
      const Status status = session_.release(*handle_);
  }
  bool ok() const { return handle_.ok(); }
  Status status() const { return handle_.status(); }
  Dataset& operator*() const { return *dataset_; }

 private:
  Session& session_;
  imss::Result<std::int32_t> handle_;
  std::shared_ptr<Dataset> dataset_;
};

Bytes read(World& world, const std::string& path, std::uint64_t block, std::size_t bytes) {
  Opened dataset(world.session(), path);
  INFO(path << ": " << dataset.status().message());
  REQUIRE(dataset.ok());
  Bytes out(bytes);
  REQUIRE(world.session().get(*dataset, block, 0, out).ok());
  return out;
}

bool exists(World& world, const std::string& path) {
  return world.session().resolve(World::uri(path)).ok();
}

DatasetOptions blocks_of(std::uint64_t block_bytes, std::uint64_t block_count = 4) {
  DatasetOptions options;
  options.block_bytes = block_bytes;
  options.block_count = block_count;
  return options;
}

Status create_and_close(World& world, const std::string& path) {
  return Opened(world.session(), world.session().create(World::uri(path), blocks_of(1000)))
      .status();
}

Operation put_operation(const std::string& name, const DatasetOptions& options,
                        std::uint64_t blocks_before) {
  const std::size_t bytes = options.block_bytes;
  return {name,
          [=](World& world) { make(world, "d", options, blocks_before); },
          [=](World& world) -> Status {
            Opened dataset(world.session(), "d");
            return world.session().put(*dataset, 1, stamped(bytes, 50));
          },
          [=](World& world) {
            const Bytes content = read(world, "d", 1, bytes);
            if (is_stamped(content, 50)) return Outcome::kDone;
            return is_stamped(content, blocks_before == 0 ? 0 : 2) ? Outcome::kNothing
                                                                   : Outcome::kBroken;
          },
          true,
          2};
}

// Writes into a block that holds `before` bytes; each byte of the range is then the old or the new
// one.
Operation write_operation(const std::string& name, std::uint64_t block_bytes, std::size_t before,
                          std::size_t offset, std::size_t length) {
  return {name,
          [=](World& world) {
            make(world, "d", blocks_of(block_bytes));
            if (before == 0) return;
            Opened dataset(world.session(), "d");
            REQUIRE(world.session().write(*dataset, 1, 0, Bytes(before, std::byte{1})).ok());
          },
          [=](World& world) -> Status {
            Opened dataset(world.session(), "d");
            return world.session().write(*dataset, 1, offset, Bytes(length, std::byte{2}));
          },
          [=](World& world) {
            const Bytes content = read(world, "d", 1, block_bytes);
            std::size_t written = 0;
            for (std::size_t at = 0; at < block_bytes; ++at) {
              const bool inside = at >= offset && at < offset + length;
              const std::byte old = at < before ? std::byte{1} : std::byte{0};
              if (inside && content[at] == std::byte{2}) {
                ++written;
              } else if (content[at] != old) {
                return Outcome::kBroken;
              }
            }
            return written == length ? Outcome::kDone : Outcome::kNothing;
          },
          true,
          2};
}

Operation rename_operation(const std::string& name, bool directory, const std::string& target,
                           bool over) {
  return {name,
          [=](World& world) {
            REQUIRE(world.session().make_directory(World::uri("to"), 0755, true).ok());
            if (directory) {
              make(world, "from/source/inside", blocks_of(1000), 1, 10);
            } else {
              make(world, "from/source", blocks_of(1000), 1, 10);
            }
            if (!over) return;
            if (directory) {
              REQUIRE(world.session().make_directory(World::uri(target), 0755, true).ok());
            } else {
              make(world, target, blocks_of(1000), 1, 20);
            }
          },
          [=](World& world) {
            return world.session().rename(World::uri("from/source"), World::uri(target));
          },
          [=](World& world) {
            const std::string inside = directory ? "/inside" : "";
            const bool source = exists(world, "from/source");
            if (exists(world, target) == source && (source || !over))
              return over && source ? Outcome::kNothing : Outcome::kBroken;
            const std::string where = (source ? "from/source" : target) + inside;
            if (!is_stamped(read(world, where, 1, 1000), 11)) return Outcome::kBroken;
            return source ? Outcome::kNothing : Outcome::kDone;
          },
          true,
          2};
}

std::vector<Operation> data_operations() {
  DatasetOptions grows;
  grows.block_bytes = 3000;
  DatasetOptions copies = blocks_of(3000);
  copies.replicas = 2;
  DatasetOptions local = grows;
  local.policy = imss::Policy::kLocal;
  return {
      put_operation("put of a new block", blocks_of(3000), 0),
      put_operation("put over a block", blocks_of(3000), 2),
      put_operation("put of a block in pieces", blocks_of(300 * kKiB), 1),
      put_operation("put into a dataset that grows", grows, 0),
      put_operation("put of copies", copies, 2),
      put_operation("put of a LOCAL block", local, 0),
      write_operation("first write, small", 256 * kKiB, 0, 100, 200),
      write_operation("first write, far into the block", kMiB, 0, 300 * kKiB, 100 * kKiB + 77),
      write_operation("write over what is there", 256 * kKiB, 5000, 100, 3000),
      write_operation("write that outgrows a small extent", 256 * kKiB, 5000, 90 * kKiB, 5000),
      write_operation("write that outgrows a tiny extent", 8 * kKiB, 90, 5000, 1000),
      write_operation("write over several arenas", 6 * kMiB, 0, kMiB, 4 * kMiB),
      {"removal of a block",
       [](World& world) {
         REQUIRE(world.data(0).store.put({kNameless, 1}, stamped(1000, 1)).ok());
       },
       [](World& world) {
         return world.data(0).store.erase({kNameless, 1});
       },
       [](World& world) {
         return *world.data(0).store.version({kNameless, 1}) == 0 ? Outcome::kDone
                                                                  : Outcome::kNothing;
       }},
      {"view of a partly written block",
       [](World& world) {
         REQUIRE(world.data(0)
                     .store.write({kNameless, 1}, 100 * kKiB, stamped(1000, 1), 256 * kKiB)
                     .ok());
       },
       [](World& world) {
         return world.data(0).store.view({kNameless, 1}, 256 * kKiB).status();
       },
       [](World& world) {
         Bytes content(256 * kKiB);
         REQUIRE(world.data(0).store.get({kNameless, 1}, 0, content).ok());
         return is_stamped(std::span(content).subspan(100 * kKiB, 1000), 1) ? Outcome::kDone
                                                                            : Outcome::kBroken;
       }},
      {"truncation",
       [](World& world) {
         imss::store::Attributes attributes;
         attributes.size = 10'000;
         REQUIRE(world.data(0).store.create_inode(kNameless, attributes).ok());
         REQUIRE(world.data(0).store.open(kNameless).ok());
       },
       [](World& world) -> Status {
         auto begun = world.data(0).store.begin_truncation(kNameless, 5000);
         return begun.ok() ? world.data(0).store.finish_truncation(kNameless, *begun)
                           : begun.status();
       },
       [](World& world) {
         auto& store = world.data(0).store;
         const std::uint64_t size = store.attributes(kNameless)->size;
         if (store.pending_truncation(kNameless)->pending) {
           if (size != 5000) return Outcome::kBroken;
           REQUIRE(store.finish_truncation(kNameless, *store.pending_truncation(kNameless)).ok());
         }
         return size == 5000     ? Outcome::kDone
                : size == 10'000 ? Outcome::kNothing
                                 : Outcome::kBroken;
       }},
  };
}

std::vector<Operation> creations() {
  return {
      {"creation", [](World&) {}, [](World& world) { return create_and_close(world, "new"); },
       [](World& world) {
         if (!exists(world, "new")) return Outcome::kNothing;
         return is_stamped(read(world, "new", 1, 1000), 0) ? Outcome::kDone : Outcome::kBroken;
       }},
      {"creation with its directories", [](World&) {},
       [](World& world) { return create_and_close(world, "p/q/new"); },
       [](World& world) {
         if (!exists(world, "p/q/new")) return Outcome::kNothing;
         return is_stamped(read(world, "p/q/new", 1, 1000), 0) ? Outcome::kDone : Outcome::kBroken;
       }},
      {"creation of many", [](World&) {},
       [](World& world) -> Status {
         for (int i = 0; i < 200; ++i) {
           const Status made = create_and_close(world, "m/f" + std::to_string(i));
           if (!made.ok() && made.code() != Code::kExists) return made;
         }
         return {};
       },
       [](World& world) {
         int count = 0;
         while (exists(world, "m/f" + std::to_string(count))) ++count;
         if (!exists(world, "m")) return Outcome::kNothing;
         std::vector<imss::metadata::EntryInfo> entries;
         REQUIRE(world.session().list(World::uri("m"), 0, 1000, &entries).ok());
         if (entries.size() != static_cast<std::size_t>(count)) return Outcome::kBroken;
         for (const auto& entry : entries)
           REQUIRE(is_stamped(read(world, "m/" + entry.name, 1, 1000), 0));
         return count == 200 ? Outcome::kDone : Outcome::kNothing;
       }},
  };
}

std::vector<Operation> removals() {
  return {
      {"removal of a dataset", [](World& world) { make(world, "d", blocks_of(1000), 4); },
       [](World& world) { return world.session().unlink(World::uri("d")); },
       [](World& world) {
         if (!exists(world, "d")) return Outcome::kDone;
         for (std::uint64_t block = 1; block <= 4; ++block)
           REQUIRE(is_stamped(read(world, "d", block, 1000), 1 + block));
         return Outcome::kNothing;
       }},
      {"removal of a dataset of one block",
       [](World& world) { make(world, "d", blocks_of(1000, 1), 1); },
       [](World& world) { return world.session().unlink(World::uri("d")); },
       [](World& world) { return exists(world, "d") ? Outcome::kNothing : Outcome::kDone; }},
      {"open, unlink and close", [](World& world) { make(world, "d", blocks_of(1000), 4); },
       [](World& world) -> Status {
         Opened dataset(world.session(), "d");
         return dataset.ok() ? world.session().unlink(World::uri("d")) : dataset.status();
       },
       [](World& world) { return exists(world, "d") ? Outcome::kNothing : Outcome::kDone; }},
      {"directory", [](World&) {},
       [](World& world) { return world.session().make_directory(World::uri("dir"), 0755, false); },
       [](World& world) { return exists(world, "dir") ? Outcome::kDone : Outcome::kNothing; }},
      {"removal of a directory",
       [](World& world) {
         REQUIRE(world.session().make_directory(World::uri("dir"), 0755, false).ok());
       },
       [](World& world) { return world.session().remove_directory(World::uri("dir")); },
       [](World& world) { return exists(world, "dir") ? Outcome::kNothing : Outcome::kDone; }},
      {"removal of a directory that was large",
       [](World& world) {
         for (int i = 0; i < 150; ++i) make(world, "dir/f" + std::to_string(i), blocks_of(1000));
         for (int i = 0; i < 150; ++i)
           REQUIRE(world.session().unlink(World::uri("dir/f" + std::to_string(i))).ok());
       },
       [](World& world) { return world.session().remove_directory(World::uri("dir")); },
       [](World& world) { return exists(world, "dir") ? Outcome::kNothing : Outcome::kDone; }},
  };
}

std::vector<Operation> renames() {
  return {
      rename_operation("rename in a directory", false, "from/target", false),
      rename_operation("rename to another directory", false, "to/target", false),
      rename_operation("rename over a dataset", false, "from/target", true),
      rename_operation("rename over a dataset elsewhere", false, "to/target", true),
      rename_operation("rename of a directory", true, "from/target", false),
      rename_operation("move of a directory", true, "to/target", false),
      rename_operation("move of a directory over an empty one", true, "to/target", true),
  };
}

std::vector<Operation> services() {
  return {
      {"instance", [](World&) {},
       [](World& world) {
         imss::metadata::InstanceInfo info;
         info.name = "other";
         info.servers = {1, 2};
         return world.session().create_instance(info);
       },
       [](World& world) {
         world.session().forget_instance("other");
         return world.session().instance("other").ok() ? Outcome::kDone : Outcome::kNothing;
       }},
      {"removal of an instance",
       [](World& world) {
         imss::metadata::InstanceInfo info;
         info.name = "other";
         info.servers = {1, 2};
         REQUIRE(world.session().create_instance(info).ok());
         for (const char* path : {"a", "b/c"}) {
           auto handle = world.session().create({"other", path}, blocks_of(1000));
           REQUIRE(handle.ok());
           REQUIRE(world.session().release(*handle).ok());
         }
       },
       [](World& world) { return world.session().destroy_instance("other"); },
       [](World& world) {
         world.session().forget_instance("other");
         return world.session().instance("other").ok() ? Outcome::kNothing : Outcome::kDone;
       }},
      {"joining", [](World&) {},
       [](World& world) {
         imss::metadata::ServerInfo info;
         info.host = "far";
         info.segment_name = "imss-data-1-1";
         info.nonce = 3;
         return world.names().join_server(info).status();
       },
       [](World& world) {
         return world.names().servers()->size() == 3 ? Outcome::kDone : Outcome::kNothing;
       }},
      {"leaving",
       [](World& world) {
         imss::metadata::ServerInfo info;
         info.host = "far";
         info.segment_name = "imss-data-1-1";
         REQUIRE(*world.names().join_server(info) == 3);
       },
       [](World& world) { return world.names().leave_server(3); },
       [](World& world) {
         return world.names().servers()->size() == 2 ? Outcome::kDone : Outcome::kNothing;
       }},
  };
}

// Runs `work` in a child with the environment variable set. Returns how the child ended.
int in_child(const char* variable, const std::string& value, const std::function<Status()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv(variable, value.c_str(), 1);
    imss::segment::fault_reload();
    const Status status = work();
    if (!status.ok()) ::fprintf(stderr, "%s\n", status.message().c_str());
    ::_exit(status.ok() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

// Blocks and inodes of datasets that have or had a name.
std::uint64_t stored(World& world) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < world.data_servers(); ++i) {
    REQUIRE(world.data(i)
                .store
                .for_each_block([&](imss::store::BlockId id, const imss::segment::Values&) {
                  if (id.dataset != kNameless) ++count;
                  return true;
                })
                .ok());
  }
  return count;
}

std::size_t directories(World& world) {
  std::set<std::uint64_t> known;
  imss::segment::Table table(*world.metadata().hosted, imss::segment::kDirectoryTable);
  REQUIRE(table
              .for_each([&](imss::segment::Key key, const imss::segment::Values&) {
                known.insert(key.first);
                return true;
              })
              .ok());
  return known.size();
}

void prepare_kept(World& world) {
  make(world, "kept/data", blocks_of(5000, kKeptBlocks), kKeptBlocks, 700);
}

void look_at_kept(World& world) {
  for (std::uint64_t block = 1; block <= kKeptBlocks; ++block) {
    REQUIRE(is_stamped(read(world, "kept/data", block, 5000), 700 + block));
  }
}

void go_on(World& world) {
  make(world, "kept/more", blocks_of(5000), 2, 800);
  REQUIRE(world.session().rename(World::uri("kept/more"), World::uri("kept/most")).ok());
  REQUIRE(is_stamped(read(world, "kept/most", 2, 5000), 802));
  REQUIRE(world.session().unlink(World::uri("kept/most")).ok());
  look_at_kept(world);
}

// The fault points that an operation passes, with how often.
std::map<std::string, int> trace(const Operation& operation) {
  World world(operation.data_servers);
  prepare_kept(world);
  operation.prepare(world);
  const std::string file = "/tmp/imss_trace_" + std::to_string(::getpid());
  ::unlink(file.c_str());
  REQUIRE(in_child("IMSS_FAULT_TRACE", file, [&] { return operation.run(world); }) == 0);
  world.upkeep();
  CHECK(operation.look(world) == Outcome::kDone);
  world.require_sound();
  std::map<std::string, int> passes;
  std::ifstream lines(file);
  for (std::string point; std::getline(lines, point);) ++passes[point];
  ::unlink(file.c_str());
  return passes;
}

// The first three passes, the last two and one in the middle.
std::set<int> chosen(int passes) {
  std::set<int> numbers;
  for (const int number : {1, 2, 3, passes / 2, passes - 1, passes}) {
    if (number >= 1 && number <= passes) numbers.insert(number);
  }
  return numbers;
}

void kill_everywhere(const Operation& operation) {
  const auto passes = trace(operation);
  REQUIRE(!passes.empty());
  for (const auto& [point, count] : passes) {
    for (const int number : chosen(count)) {
      const std::string fault = point + ":" + std::to_string(number) + ":kill";
      INFO(operation.name << " killed at " << fault);
      World world(operation.data_servers);
      prepare_kept(world);
      operation.prepare(world);
      const int status = in_child("IMSS_FAULT", fault, [&] { return operation.run(world); });
      const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
      CHECK((killed || status == 0));
      world.upkeep();
      Outcome outcome = operation.look(world);
      CHECK(outcome != Outcome::kBroken);
      if (!killed) CHECK(outcome == Outcome::kDone);
      look_at_kept(world);
      world.require_sound();
      go_on(world);
      if (operation.repeatable && outcome == Outcome::kNothing) {
        const Status again = operation.run(world);
        INFO(again.message());
        CHECK(again.ok());
        CHECK(operation.look(world) == Outcome::kDone);
      }
      world.upkeep();
      world.require_sound();
      const Status destroyed = world.session().destroy_instance("w");
      INFO(destroyed.message());
      REQUIRE(destroyed.ok());
      CHECK(stored(world) == 0);
      CHECK(directories(world) == 1 + world.names().instances()->size());
    }
  }
}

}  // namespace

TEST_CASE("a client killed at any fault point of a data operation leaves all or nothing of it",
          "[kill]") {
  for (const Operation& operation : data_operations()) {
    DYNAMIC_SECTION(operation.name) { kill_everywhere(operation); }
  }
}

TEST_CASE("a client killed at any fault point of a name operation leaves all or nothing of it",
          "[kill]") {
  for (const auto& operations : {creations(), removals(), renames(), services()}) {
    for (const Operation& operation : operations) {
      DYNAMIC_SECTION(operation.name) { kill_everywhere(operation); }
    }
  }
}

TEST_CASE("whoever cleans up after the dead may die of it as well", "[kill]") {
  Operation upkeep;
  upkeep.name = "upkeep";
  upkeep.prepare = [](World& world) {
    make(world, "a", blocks_of(1000), 4);
    make(world, "b", blocks_of(1000), 4);
    for (int i = 0; i < 70; ++i) make(world, "dir/f" + std::to_string(i), blocks_of(1000));
    for (int i = 0; i < 70; ++i)
      REQUIRE(world.session().unlink(World::uri("dir/f" + std::to_string(i))).ok());
    const auto dies = [&](const char* fault, const std::function<Status()>& work) {
      REQUIRE(WIFSIGNALED(in_child("IMSS_FAULT", fault, work)));
    };
    dies("create.inode_made:1:kill",
         [&] { return world.session().create(World::uri("c"), blocks_of(1000)).status(); });
    dies("names.removed:1:kill", [&] { return world.session().unlink(World::uri("a")); });
    dies("drop.blocks_erased:1:kill", [&] { return world.session().unlink(World::uri("b")); });
    dies("names.directory_removed:1:kill",
         [&] { return world.session().remove_directory(World::uri("dir")); });
    dies("names.prepared:1:kill",
         [&] { return world.session().make_directory(World::uri("e"), 0755, false); });
    make(world, "open", blocks_of(1000), 2);
    REQUIRE(in_child("IMSS_FAULT", "", [&]() -> Status {
              auto handle = world.session().open(World::uri("open"));
              return handle.ok() ? world.session().unlink(World::uri("open")) : handle.status();
            }) == 0);
  };
  upkeep.run = [](World& world) -> Status {
    (*world.metadata().hosted).clean_up();
    IMSS_RETURN_IF_ERROR(world.session().reap());
    Status status;
    for (std::size_t i = 0; i < world.data_servers(); ++i) {
      (*world.data(i).hosted).clean_up();
      IMSS_RETURN_IF_ERROR(world.data(i).store.sweep([&](std::uint64_t dataset) {
        if (!world.session().drop_orphan("w", dataset).ok()) status = Code::kIo;
      }));
    }
    return status;
  };
  upkeep.look = [](World& world) {
    for (const char* path : {"a", "b", "c", "dir", "e", "open"}) {
      if (exists(world, path)) return Outcome::kBroken;
    }
    return stored(world) == kKeptBlocks + 1 ? Outcome::kDone : Outcome::kBroken;
  };
  upkeep.repeatable = false;
  kill_everywhere(upkeep);
}
#endif
