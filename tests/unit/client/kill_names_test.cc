// Clients killed in operations on names and instances.
#include "kill_test_util.h"

#if !defined(__SANITIZE_THREAD__)

using namespace kills;

namespace {

Status create_and_close(World& world, const std::string& path) {
  return Opened(world.session(), world.session().create(World::uri(path), blocks_of(1000)))
      .status();
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

// Blocks on servers other than the one with the inode must not outlive their dataset.
Operation put_after_unlink() {
  return {"put into a dataset without a name",
          [](World& world) {
            // The server that learns of the death first has the inode.
            for (;;) {
              make(world, "d", blocks_of(3000));
              if (world.session().resolve(World::uri("d"))->entry.layout.home_server == 0) return;
              REQUIRE(world.session().unlink(World::uri("d")).ok());
            }
          },
          [](World& world) -> Status {
            Opened dataset(world.session(), "d");
            IMSS_RETURN_IF_ERROR(world.session().unlink(World::uri("d")));
            for (std::uint64_t block = 1; block <= 4; ++block)
              IMSS_RETURN_IF_ERROR(world.session().put(*dataset, block, stamped(3000, block)));
            return {};
          },
          [](World& world) { return exists(world, "d") ? Outcome::kNothing : Outcome::kDone; },
          true,
          3};
}

std::vector<Operation> links() {
  const auto make_one = [](World& world) { make(world, "d", blocks_of(1000), 4); };
  const auto link = [](World& world) {
    return world.session().link(World::uri("d"), World::uri("second"));
  };
  return {
      {"link", make_one, link,
       [](World& world) {
         const bool there = exists(world, "second");
         const auto attributes = world.session().attributes(World::uri("d"));
         REQUIRE(attributes.ok());
         return attributes->links != (there ? 2U : 1U) ? Outcome::kBroken
                : there                                ? Outcome::kDone
                                                       : Outcome::kNothing;
       }},
      {"link and removal of the first name", make_one,
       [=](World& world) -> Status {
         const Status linked = link(world);
         if (!linked.ok() && linked.code() != Code::kExists) return linked;
         return world.session().unlink(World::uri("d"));
       },
       [](World& world) {
         const char* name = exists(world, "d") ? "d" : "second";
         for (std::uint64_t block = 1; block <= 4; ++block)
           REQUIRE(is_stamped(read(world, name, block, 1000), 1 + block));
         return exists(world, "d") ? Outcome::kNothing : Outcome::kDone;
       }},
      {"symbolic link", [](World&) {},
       [](World& world) { return world.session().make_symlink("../d", World::uri("link")); },
       [](World& world) {
         const auto target = world.session().read_symlink(World::uri("link"));
         if (target.code() == Code::kNotFound) return Outcome::kNothing;
         return target.ok() && *target == "../d" ? Outcome::kDone : Outcome::kBroken;
       }},
  };
}

std::vector<Operation> removals() {
  return {
      put_after_unlink(),
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

}  // namespace

TEST_CASE("a client killed at any fault point of a name operation leaves all or nothing of it",
          "[kill]") {
  for (const auto& operations : {creations(), links(), removals(), renames(), services()}) {
    for (const Operation& operation : operations) {
      DYNAMIC_SECTION(operation.name) { kill_everywhere(operation); }
    }
  }
}
#endif
