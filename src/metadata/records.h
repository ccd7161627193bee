// The records of the namespace as they lie in extents of the metadata server's segment.
//
// An entry record never changes once it is published: a rename makes a new one. A directory record stays in its
// place as long as the directory exists; its words change under its lock, by transactions. Bounds of whatever is
// read are checked by the readers in namespace_internal.h.
#pragma once

#include <cstdint>

#include "segment/layout.h"

namespace imss::metadata {

// Words of Superblock::service_root of a metadata server.
inline constexpr std::uint32_t kNextId = 0;
inline constexpr std::uint32_t kRenameLease = 1;
inline constexpr std::uint32_t kCollisions = 2;   // 1: two names of one directory had the same hash once
inline constexpr std::uint32_t kNextServer = 3;
inline constexpr std::uint32_t kServerLock = 4;
inline constexpr std::uint32_t kRingOffset = 8;   // of the dirty keys for the journaller; 0: no journal
inline constexpr std::uint32_t kRingPlaces = 9;
inline constexpr std::uint32_t kRingHead = 10;
inline constexpr std::uint32_t kRingTail = 11;
inline constexpr std::uint32_t kRingOverflow = 12;
inline constexpr std::uint32_t kRingSleeping = 13;

inline constexpr std::uint64_t kFirstFreeId = 16;

struct EntryRecord {
  std::uint64_t parent;
  std::uint64_t link;
  std::uint64_t id;
  std::uint64_t slot;         // place in the directory
  std::uint64_t block_bytes;
  std::uint64_t block_count;
  std::uint64_t created_ns;
  std::uint32_t mode;
  std::uint32_t fragment;     // of the directory; one fragment per directory so far
  std::uint16_t server_count;
  std::uint16_t home_server;
  std::uint8_t type;
  std::uint8_t policy;
  std::uint8_t replicas;
  std::uint8_t name_length;
  // the name follows
};
static_assert(sizeof(EntryRecord) == 72);

struct DirectoryRecord {
  segment::Word lock;
  segment::Word id;
  segment::Word parent;
  segment::Word entries;
  segment::Word subdirectories;
  segment::Word next_slot;
  segment::Word free_head;    // 1 + the slot that was freed last; 0: none
  segment::Word removed;
  segment::Word mode;
  segment::Word owner;        // uid << 32 | gid
  segment::Word modified_ns;
  segment::Word created_ns;
  segment::Word fragment;     // {first name hash, count}: one fragment so far
  std::uint64_t reserved[3];
};
static_assert(sizeof(DirectoryRecord) == 128);

// A directory's slots lie in chunks. A slot holds the Ref of an entry record, or a link in the list of free slots
// (marked by the top bit, with 1 + the next free slot), or 0.
inline constexpr std::uint64_t kSlotsPerChunk = 64;
inline constexpr std::uint64_t kFreeSlot = 1ULL << 63;

struct InstanceRecord {
  std::uint64_t root;
  std::uint64_t block_bytes;
  std::uint32_t deployment;
  std::uint32_t server_count;
  std::uint16_t port;
  std::uint8_t restored;      // came from the metadata file; its servers have not joined yet
  std::uint8_t name_length;
  std::uint32_t reserved;
  // the name, padded to 256 bytes, and then server_count 32-bit server ids follow
};
static_assert(sizeof(InstanceRecord) == 32);
inline constexpr std::uint64_t kNameField = 256;

struct ServerRecord {
  std::uint64_t nonce;
  std::uint64_t capacity_bytes;
  std::uint32_t id;
  std::uint32_t port;
  std::uint32_t rank;
  std::uint32_t attached;
  char host[256];
  char segment_name[256];
  char instance[256];
};
static_assert(sizeof(ServerRecord) == 800);

// Kinds of keys in the service table: {id, kind}.
inline constexpr std::uint64_t kInstanceKind = 1;
inline constexpr std::uint64_t kServerKind = 2;

// What a dirty key in the ring refers to.
enum class DirtyKind : std::uint64_t { kEntry = 1, kInstance = 2, kDirectory = 3 };
struct DirtyKey {
  segment::Word first;
  segment::Word second;
  segment::Word kind_and_turn;  // kind | (1 + position) << 8, stored last
};

}  // namespace imss::metadata
