// Clients killed in operations on blocks.
#include "kill_test_util.h"

#if !defined(__SANITIZE_THREAD__)

using namespace kills;

namespace {

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

}  // namespace

TEST_CASE("a client killed at any fault point of a data operation leaves all or nothing of it",
          "[kill]") {
  for (const Operation& operation : data_operations()) {
    DYNAMIC_SECTION(operation.name) { kill_everywhere(operation); }
  }
}
#endif
