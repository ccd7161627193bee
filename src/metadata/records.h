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
inline constexpr std::uint32_t kMapLock = 4;     // of the epoch of the cluster map
inline constexpr std::uint32_t kServerIndex = 5;  // of this metadata server among those of the namespace
inline constexpr std::uint32_t kServerCount = 6;  // 0 like 1: this one has the whole namespace
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
  segment::Word mode;         // 32 bits; the others are kept for the fragment of the directory: one so far
  segment::Word owner;        // uid << 32 | gid
  segment::Word modified_ns;
  segment::Word created_ns;
  segment::Word accessed_ns;
  segment::Word claim;        // change over several servers that makes, removes or moves it; 0: none
  segment::Word name_claims;  // names in it that such changes hold
  segment::Word changed_ns;
};
static_assert(sizeof(DirectoryRecord) == 128);

// A directory's slots lie in chunks. A slot holds the Ref of an entry record, or a link in the list of free slots
// (marked by the top bit, with 1 + the next free slot), or 0. The Ref carries kClaimedSlot while a change over several
// servers holds the name.
inline constexpr std::uint64_t kSlotsPerChunk = 64;
inline constexpr std::uint64_t kFreeSlot = 1ULL << 63;
inline constexpr std::uint64_t kClaimedSlot = 1ULL << 62;

// Flags of an entry's version word. A claimed entry has the id of the change instead of that of the dataset in its
// value2. A reservation is the claim of a name that is not there yet: its record is owned by the claim.
inline constexpr std::uint64_t kClaimedEntry = 1ULL << 57;
inline constexpr std::uint64_t kReservation = 1ULL << 58;

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

// What the inode of a dataset said last, under {dataset id, 0} of the attribute table.
struct AttributeRecord {
  std::uint64_t size;
  std::uint64_t accessed_ns;
  std::uint64_t modified_ns;
  std::uint64_t changed_ns;
  std::uint64_t created_ns;
  std::uint64_t version;
  std::uint32_t mode;           // the upper half: bytes of the target of a symbolic link, which follows
  std::uint32_t links;
  std::uint32_t uid;
  std::uint32_t gid;
};
static_assert(sizeof(AttributeRecord) == 64);

// A metadata server in the cluster map.
struct MapServerRecord {
  std::uint64_t nonce;
  std::uint64_t epoch;        // of the map, when it joined last
  segment::Word heard_ns;     // CLOCK_MONOTONIC of the first server's node; not of the transactions
  segment::Word gone;
  std::uint32_t index;
  std::uint32_t port;
  char host[256];
  char segment_name[256];
};
static_assert(sizeof(MapServerRecord) == 552);

// Kinds of keys in the service table: {id, kind}. From kIntentKind to kMovedDirectoryKind the id is that of a change
// over several servers.
inline constexpr std::uint64_t kInstanceKind = 1;
inline constexpr std::uint64_t kServerKind = 2;
// {0 or the participant that began it, state, when it began or the participating servers}
inline constexpr std::uint64_t kIntentKind = 3;
// {record of the entry as it shall be, 1 for a reservation, id of the dataset that is replaced}
inline constexpr std::uint64_t kNameClaimKind = 4;
// {0, id of the directory, its (new) parent}; in the order of DirectoryRole
inline constexpr std::uint64_t kNewDirectoryKind = 5;
inline constexpr std::uint64_t kGoneDirectoryKind = 6;
inline constexpr std::uint64_t kMovedDirectoryKind = 7;
// Of the cluster map; {index of the server, kind}.
inline constexpr std::uint64_t kMapServerKind = 16;

// States of an intent. The participants of a committed one are 4 times 16 bits: 1 + the index of a server.
inline constexpr std::uint64_t kIntentPending = 1;
inline constexpr std::uint64_t kIntentCommitted = 2;

// What a dirty key in the ring refers to.
enum class DirtyKind : std::uint64_t { kEntry = 1, kInstance = 2, kDirectory = 3, kAttributes = 4, kChange = 5, kPlace = 8 };
struct DirtyKey {
  segment::Word first;
  segment::Word second;
  segment::Word kind_and_turn;  // kind | (1 + position) << 8, stored last
};

}  // namespace imss::metadata
