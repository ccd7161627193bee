// The inner metadata of a dataset: what struct stat shows, kept as block 0 in its home data server.
//
// One 256-byte extent of atomic words; each word changes by one store or compare-and-swap, `links` and
// `opens` together under `lock`. An inode is reached through Store, which pins it. Any thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "segment/layout.h"

namespace imss::store {

// Values are stored; they never change.
enum class NodeType : std::uint32_t { kNone = 0, kDataset = 1, kDirectory = 2, kSymlink = 3, kInstance = 4 };

struct Inode {
  segment::Word lock;
  segment::Word size_word;     // {truncate generation 16 bits, size in bytes 48 bits}, changes by CAS only
  segment::Word links;
  segment::Word opens;         // processes that have it open
  segment::Word mode;
  segment::Word owner;         // uid << 32 | gid
  segment::Word accessed_ns;
  segment::Word modified_ns;
  segment::Word changed_ns;
  segment::Word created_ns;
  segment::Word type;
  segment::Word block_bytes;
  segment::Word block_count;   // declared number of data blocks, 0: grows
  segment::Word truncation;    // 0, or {generation that it began, 1 + size} of a truncation that is not finished
  segment::Word version;
  segment::Word extended;      // Ref of extended attributes or a symlink's target, or 0
  segment::Word highest_block; // of a dataset that grows: no data block beyond it was ever begun
  segment::Word placement;     // policy | replicas << 8 | server count << 16
  std::uint64_t reserved[14];
};
static_assert(sizeof(Inode) == 256);

inline constexpr std::uint64_t kSizeMask = (1ULL << 48) - 1;
constexpr std::uint64_t size_of_word(std::uint64_t word) { return word & kSizeMask; }
constexpr std::uint64_t generation_of_word(std::uint64_t word) { return word >> 48; }
constexpr std::uint64_t make_size_word(std::uint64_t generation, std::uint64_t size) {
  return generation << 48 | (size & kSizeMask);
}

// A copy of an inode's fields.
struct Attributes {
  std::uint64_t size = 0;
  std::uint64_t generation = 0;
  std::uint64_t links = 1;
  std::uint64_t opens = 0;
  std::uint32_t mode = 0644;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t accessed_ns = 0;
  std::uint64_t modified_ns = 0;
  std::uint64_t changed_ns = 0;
  std::uint64_t created_ns = 0;
  NodeType type = NodeType::kDataset;
  std::uint64_t block_bytes = 0;
  std::uint64_t block_count = 0;
  std::uint64_t version = 0;
  std::uint64_t highest_block = 0;

  // No data block beyond this one is stored, whatever became of those who wrote it.
  std::uint64_t last_block() const {
    const std::uint64_t sized = block_bytes == 0 ? 0 : size / block_bytes + 1;
    return std::max({block_count, highest_block, sized});
  }
  std::uint64_t placement = 0;  // policy | replicas << 8 | server count << 16
};

}  // namespace imss::store
