// The inner metadata of a dataset: what struct stat shows, kept as block 0 in its home data server.
//
// One 256-byte extent of atomic words; times of use advance by compare-and-swap, the size, mode, owner, times that are set,
// `links`, `first_link` and `opens` change by transactions under `lock`. An inode is reached through Store, which pins it.
// Any thread.
#pragma once

#include <cstdint>

#include "segment/layout.h"
#include "store/attributes.h"

namespace imss::store {

struct Inode {
  segment::Word lock;
  segment::Word size_word;     // {truncate generation 16 bits, size in bytes 48 bits}, changes under `lock`
  segment::Word links;
  segment::Word opens;         // processes that have it open
  segment::Word mode;
  segment::Word owner;         // uid << 32 | gid
  segment::Word accessed_ns;
  segment::Word modified_ns;
  segment::Word changed_ns;
  segment::Word created_ns;
  segment::Word type;          // NodeType and flags, see below
  segment::Word block_bytes;
  segment::Word block_count;   // declared number of data blocks, 0: grows
  segment::Word truncation;    // 0, or {generation that it began, 1 + size} of a truncation that is not finished
  segment::Word version;
  segment::Word allocated;     // what it takes, as somebody counted: Attributes::note_of()
  segment::Word highest_block; // of a dataset that grows: no data block beyond it was ever begun
  segment::Word placement;     // policy | replicas << 8 | server count << 16
  segment::Word first_link;    // the link that it was created with, 0 once that is gone; others are in the open table
  std::uint64_t reserved[13];
};
static_assert(sizeof(Inode) == 256);

// Of Inode::type: changed since it was last taken for the metadata file, and in the ring or behind it.
inline constexpr std::uint64_t kInodeDirty = 1ULL << 63;
// The dataset has extended attributes, or had them, or is about to have them.
inline constexpr std::uint64_t kInodeHasXattrs = 1ULL << 62;
// It was made without a name, and has had none since.
inline constexpr std::uint64_t kInodeUnnamed = 1ULL << 61;
inline constexpr std::uint64_t kInodeFlags = kInodeDirty | kInodeHasXattrs | kInodeUnnamed;

// The block of a dataset, on its home server, that has its extended attributes (xattrs.h).
inline constexpr std::uint64_t kXattrBlock = 1ULL << 60;

// Words of Superblock::service_root of a data server.
inline constexpr std::uint32_t kSweptRecoveries = 0;
inline constexpr std::uint32_t kSweptProcesses = 1;
inline constexpr std::uint32_t kDirtyRing = 8;  // offset of DirtyInode places; 0: nobody wants to know
inline constexpr std::uint32_t kDirtyPlaces = 9;
inline constexpr std::uint32_t kDirtyHead = 10;
inline constexpr std::uint32_t kDirtyTail = 11;
inline constexpr std::uint32_t kDirtyOverflow = 12;

struct DirtyInode {
  segment::Word dataset;
  segment::Word turn;  // 1 + position, stored last
};

inline constexpr std::uint64_t kSizeMask = (1ULL << 48) - 1;
constexpr std::uint64_t size_of_word(std::uint64_t word) { return word & kSizeMask; }
constexpr std::uint64_t generation_of_word(std::uint64_t word) { return word >> 48; }
constexpr std::uint64_t make_size_word(std::uint64_t generation, std::uint64_t size) {
  return generation << 48 | (size & kSizeMask);
}

}  // namespace imss::store
