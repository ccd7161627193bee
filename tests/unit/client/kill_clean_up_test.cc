// Deaths of those who clean up after the dead.
#include "kill_test_util.h"

#if !defined(__SANITIZE_THREAD__)

using namespace kills;

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
    for (std::size_t i = 0; i < world.data_servers(); ++i) {
      (*world.data(i).hosted).clean_up();
      IMSS_RETURN_IF_ERROR(world.session().sweep(world.data(i).store, world.data(i).id));
    }
    return {};
  };
  upkeep.look = [](World& world) {
    for (const char* path : {"a", "b", "c", "dir", "e", "open"}) {
      if (exists(world, path)) return Outcome::kBroken;
    }
    return all_blocks(world, kNameless) == kKeptBlocks + 1 ? Outcome::kDone : Outcome::kBroken;
  };
  upkeep.repeatable = false;
  kill_everywhere(upkeep);
}
#endif
