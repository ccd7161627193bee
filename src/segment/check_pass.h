// One look at a whole segment for check_segment: findings by place, and an owner for every extent.
//
// Thread-owned. Reads only, never beyond what is mapped and obtained; whatever the words say it
// ends. Findings carry a key that is the same each time the same thing is found, so that passes can
// be compared.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "segment/extents.h"
#include "segment/table.h"

namespace imss::segment {

enum class Owner : std::uint8_t { kNobody, kFree, kHand, kLimbo, kSlab, kOverflow, kEngine, kHost };

class CheckPass {
 public:
  explicit CheckPass(Segment& segment) : segment_(segment), extents_(segment) {}

  // Everything but what the engine owns.
  void look();
  // An extent that the engine references.
  void own(Ref ref, Owner owner);
  // The engine found one of its invariants broken.
  void note_wrong(const std::string& place, const std::string& sentence) { error(place, sentence); }
  // The engine's structures could not be followed to the end.
  void note_unreachable(const Status& status) { error("engine", status.message()); }
  // Extents without an owner. REQUIRES: look(), and own() for all that the engine owns.
  std::vector<Ref> unowned() const;
  // Compares what was counted; after all owners are known.
  void finish();

  const std::map<std::string, std::string>& errors() const { return errors_; }
  const std::vector<std::string>& notes() const { return notes_; }
  std::uint64_t arenas() const { return arena_count_; }
  std::uint64_t slabs() const { return slabs_; }
  std::uint64_t overflow_buckets() const { return overflow_buckets_; }
  std::uint64_t extents() const;
  std::uint64_t free_extents() const;
  std::uint64_t entries(std::uint32_t table) const { return entries_[table]; }

 private:
  struct Box {  // a container as it was found
    std::uint64_t offset = 0;
    std::uint32_t size_class = 0;
    bool sparse = false;
    bool listed = false;
    std::uint32_t total = 0;
    std::uint64_t first = 0;
    std::vector<Owner> owners;
  };
  struct ChainCopy {
    struct Place {
      Key key;
      std::uint64_t tag = 0;
    };
    std::vector<Place> entries;
    std::vector<std::uint64_t> overflow;
    bool torn = false;
    bool bad_tags = false;
    bool endless = false;
  };

  void error(const std::string& place, const std::string& sentence);
  void look_at_superblock();
  void look_at_arenas();
  void look_at_pages();
  void look_at_dense_memory(Box& box);
  void look_at_pools();
  void look_at_participants();
  void look_at_changing_memory();
  void look_at_tables();
  void look_at_bucket(Table& table, std::uint32_t index, std::uint64_t bucket);
  ChainCopy copy_chain(Bucket& head) const;
  void look_at_lock(const Word& word, const std::string& place);
  void look_at_extents_arena(std::uint64_t arena, ArenaKind kind);
  void walk_list(Pool& pool, std::uint32_t size_class, bool sparse);
  void add_box(std::uint64_t container_offset, const std::string& place);
  Box* box_of(Ref ref);
  Box* find_slab(std::uint64_t offset, std::uint32_t size_class);

  Segment& segment_;
  Extents extents_;
  std::map<std::string, std::string> errors_;
  std::vector<std::string> notes_;
  std::uint64_t arena_count_ = 0;
  std::vector<Box> boxes_;
  std::unordered_map<std::uint64_t, std::size_t> box_at_;  // by the container's offset
  std::vector<std::uint8_t> covered_;  // arenas that a run or table accounts for
  std::uint64_t slabs_ = 0;
  std::uint64_t overflow_buckets_ = 0;
  std::uint64_t entries_[kTables] = {};
  std::uint64_t listed_bytes_[2][kClasses] = {};
};

}  // namespace imss::segment
