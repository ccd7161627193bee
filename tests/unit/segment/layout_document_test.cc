// docs/segment.md and layout.h say the same.
#include <catch2/catch.hpp>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>

#include "segment/layout.h"

using namespace imss::segment;

namespace {

struct Place {
  std::size_t offset = 0;
  std::size_t size = 0;
  bool operator==(const Place&) const = default;
};
using Fields = std::map<std::string, Place>;

// Type and field, as "Type.field".
Fields documented() {
  const auto path = std::filesystem::path(IMSS_TEST_DATA_DIR).parent_path().parent_path() / "docs" /
                    "segment.md";
  std::ifstream in(path);
  REQUIRE(in.good());
  const std::regex header(R"(\| offset \| size \| (\w+) \| meaning \|)");
  const std::regex row(R"(\| (\d+) \| (\d+) \| (\w+) \|.*)");
  Fields fields;
  std::string type;
  std::map<std::string, std::size_t> ends;
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (std::regex_match(line, match, header)) {
      type = match[1];
    } else if (std::regex_match(line, match, row)) {
      const Place place{std::stoul(match[1]), std::stoul(match[2])};
      INFO(line);
      // Tables are without gaps.
      CHECK(place.offset == ends[type]);
      ends[type] = place.offset + place.size;
      fields[type + "." + match[3].str()] = place;
    }
  }
  CHECK(ends["Superblock"] == sizeof(Superblock));
  CHECK(ends["Participant"] == sizeof(Participant));
  CHECK(ends["ArenaDescriptor"] == sizeof(ArenaDescriptor));
  CHECK(ends["Container"] == sizeof(Container));
  CHECK(ends["Pool"] == sizeof(Pool));
  CHECK(ends["TableRoot"] == sizeof(TableRoot));
  CHECK(ends["Bucket"] == sizeof(Bucket));
  CHECK(ends["Entry"] == sizeof(Entry));
  return fields;
}

#define FIELD(type, field) \
  { #type "." #field, {offsetof(type, field), sizeof(type::field)} }

const Fields kSuperblock{
    FIELD(Superblock, magic),
    FIELD(Superblock, layout_version),
    FIELD(Superblock, role),
    FIELD(Superblock, compatible),
    FIELD(Superblock, read_only_compatible),
    FIELD(Superblock, incompatible),
    FIELD(Superblock, nonce),
    FIELD(Superblock, server_id),
    FIELD(Superblock, max_participants),
    FIELD(Superblock, capacity_bytes),
    FIELD(Superblock, address_bytes),
    FIELD(Superblock, liveness_offset),
    FIELD(Superblock, participants_offset),
    FIELD(Superblock, descriptors_offset),
    FIELD(Superblock, arenas_offset),
    FIELD(Superblock, arena_count),
    FIELD(Superblock, port),
    FIELD(Superblock, rank),
    FIELD(Superblock, owner_pid),
    FIELD(Superblock, attached),
    FIELD(Superblock, host_name),
    FIELD(Superblock, state),
    FIELD(Superblock, used_bytes),
    FIELD(Superblock, next_arena),
    FIELD(Superblock, host_wake),
    FIELD(Superblock, host_sleeping),
    FIELD(Superblock, reply_wake),
    FIELD(Superblock, active),
    FIELD(Superblock, unclean),
    FIELD(Superblock, recoveries),
    FIELD(Superblock, limbo_lock),
    FIELD(Superblock, limbo),
    FIELD(Superblock, map_epoch),
    FIELD(Superblock, reserved),
    FIELD(Superblock, free_runs),
    FIELD(Superblock, pools),
    FIELD(Superblock, tables),
    FIELD(Superblock, service_root),
    FIELD(Superblock, torn_lock),
    FIELD(Superblock, torn),
    FIELD(Superblock, changing_arena),
    FIELD(Superblock, changing_extents),
};

const Fields kOthers{
    FIELD(Participant, id),
    FIELD(Participant, generation),
    FIELD(Participant, process),
    FIELD(Participant, pid_tid),
    FIELD(Participant, view_count),
    FIELD(Participant, sequence),
    FIELD(Participant, reserved0),
    FIELD(Participant, pins),
    FIELD(Participant, view_pins),
    FIELD(Participant, committed),
    FIELD(Participant, store_count),
    FIELD(Participant, lock_count),
    FIELD(Participant, last_slot),
    FIELD(Participant, locks),
    FIELD(Participant, stores),
    FIELD(Participant, hand),
    FIELD(Participant, claim_ref),
    FIELD(Participant, claim_pages),
    FIELD(Participant, moving_key0),
    FIELD(Participant, moving_key1),
    FIELD(Participant, request),
    FIELD(Participant, request_offset),
    FIELD(Participant, request_bytes),
    FIELD(Participant, reply),
    FIELD(Participant, cleaner),
    FIELD(Participant, claim_bits),
    FIELD(Participant, copying_dataset),
    FIELD(Participant, copying_block),
    FIELD(Participant, reserved2),
    FIELD(Pool, lock),
    FIELD(Pool, head),
    FIELD(Pool, free_bytes),
    FIELD(Pool, wanted),
    FIELD(Pool, extents),
    FIELD(Pool, reserved),
    FIELD(Container, class_and_count),
    FIELD(Container, free_count),
    FIELD(Container, next),
    FIELD(Container, free_bits),
    FIELD(ArenaDescriptor, container),
    FIELD(ArenaDescriptor, lock),
    FIELD(ArenaDescriptor, populated),
    FIELD(ArenaDescriptor, valid),
    FIELD(ArenaDescriptor, claimed),
    FIELD(ArenaDescriptor, next_free),
    FIELD(ArenaDescriptor, reserved),
    FIELD(Bucket, lock),
    FIELD(Bucket, tags0),
    FIELD(Bucket, tags1),
    FIELD(Bucket, next),
    FIELD(Bucket, entries),
    FIELD(Entry, key0),
    FIELD(Entry, key1),
    FIELD(Entry, value0),
    FIELD(Entry, value1),
    FIELD(Entry, value2),
    FIELD(TableRoot, lock),
    FIELD(TableRoot, buckets),
    FIELD(TableRoot, ready_buckets),
    FIELD(TableRoot, entries),
    FIELD(TableRoot, arenas_offset),
    FIELD(TableRoot, wanted),
    FIELD(TableRoot, reserved),
};

}  // namespace

TEST_CASE("the document gives every field of the layout its offset and size") {
  const Fields fields = documented();
  for (const Fields* layout : {&kSuperblock, &kOthers}) {
    for (const auto& [name, place] : *layout) {
      INFO(name);
      REQUIRE(fields.contains(name));
      CHECK(fields.at(name).offset == place.offset);
      CHECK(fields.at(name).size == place.size);
    }
  }
  CHECK(fields.size() == kSuperblock.size() + kOthers.size());
}
