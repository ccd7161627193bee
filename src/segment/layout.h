// The byte layout of a segment: every structure that lives in shared memory.
//
// A segment is position independent: it holds offsets, never pointers, in fixed-width little-endian
// fields. docs/segment.md documents the same layout for people; the static_asserts below pin it.
// All words that more than one participant may touch are lock-free 64-bit atomics. Nothing here owns
// memory; any thread may look at a mapped segment.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace imss::segment {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

inline constexpr std::uint64_t kMagic = 0x31474553'53534d49;  // "IMSSSEG1"
inline constexpr std::uint32_t kLayoutVersion = 3;
inline constexpr std::uint64_t kPageBytes = 4096;
inline constexpr std::uint64_t kArenaBytes = 2ULL << 20;  // one huge page
inline constexpr std::uint64_t kPagesPerArena = kArenaBytes / kPageBytes;
inline constexpr std::uint64_t kMinCapacity = 16ULL << 20;
inline constexpr std::uint64_t kMaxAddressBytes = 64ULL << 40;

enum class Role : std::uint32_t { kMetadata = 1, kData = 2 };
// What clients of the node may do with a segment: execute on it, read it, or only ask its server.
enum class Sharing : std::uint32_t { kReadWrite = 0, kReadOnly = 1, kNothing = 2 };
enum class State : std::uint64_t { kPreparing = 0, kServing = 1, kFenced = 2, kRetired = 3 };

// --- Extent classes ----------------------------------------------------------------------------
// Small classes are cut from slabs (64 KiB extents); full classes are powers of two from 4 KiB on.
inline constexpr std::uint32_t kSmallClasses = 11;
inline constexpr std::uint32_t kFullClasses = 15;  // 4 KiB ... 64 MiB
inline constexpr std::uint32_t kClasses = kSmallClasses + kFullClasses;
inline constexpr std::uint32_t kClass4K = kSmallClasses;
inline constexpr std::uint32_t kClass64K = kClass4K + 4;
inline constexpr std::uint32_t kClassArena = kClass4K + 9;  // 2 MiB
inline constexpr std::uint64_t kSlabBytes = 64 << 10;
inline constexpr std::uint64_t kMaxExtentBytes = 64ULL << 20;
// Contents up to here live in dense extents just large enough; beyond, in the block's full range.
inline constexpr std::uint64_t kDenseLimit = 64 << 10;

inline constexpr std::uint64_t kSmallClassBytes[kSmallClasses] = {64,  96,  128,  192,  256, 384,
                                                                  512, 768, 1024, 1536, 2048};
constexpr std::uint64_t class_bytes(std::uint32_t size_class) {
  return size_class < kSmallClasses ? kSmallClassBytes[size_class] : kPageBytes << (size_class - kClass4K);
}

// The smallest class that holds `bytes`. REQUIRES: bytes <= kMaxExtentBytes.
constexpr std::uint32_t class_for(std::uint64_t bytes) {
  std::uint32_t size_class = 0;
  while (class_bytes(size_class) < bytes) ++size_class;
  return size_class;
}

// --- References to extents ------------------------------------------------------------------------
// One word: offset / 32 in 43 bits, class in 6 bits, then flags. Zero is "none".
class Ref {
 public:
  static constexpr std::uint64_t kSparse = 1ULL << 49;   // pages obtained piece by piece
  static constexpr std::uint64_t kHeld = 1ULL << 50;     // in a hand: in use by the current operation
  static constexpr std::uint64_t kRetired = 1ULL << 51;  // in a hand: reusable once nobody pins it
  static constexpr std::uint64_t kReap = 1ULL << 52;     // in a hand: names a dataset to be removed
  static constexpr std::uint64_t kWritePin = 1ULL << 53; // in a hazard slot: pinned for writing
  static constexpr std::uint64_t kArriving = 1ULL << 54; // in a hand: a transfer from another node may write it

  constexpr Ref() = default;
  constexpr explicit Ref(std::uint64_t word) : word_(word) {}
  constexpr Ref(std::uint64_t offset, std::uint32_t size_class, bool sparse)
      : word_(offset / 32 | static_cast<std::uint64_t>(size_class) << 43 | (sparse ? kSparse : 0)) {}

  constexpr std::uint64_t offset() const { return (word_ & ((1ULL << 43) - 1)) * 32; }
  constexpr std::uint32_t size_class() const { return static_cast<std::uint32_t>(word_ >> 43 & 63); }
  constexpr std::uint64_t bytes() const { return class_bytes(size_class()); }
  constexpr bool sparse() const { return (word_ & kSparse) != 0; }
  constexpr bool has(std::uint64_t flag) const { return (word_ & flag) != 0; }
  constexpr Ref with(std::uint64_t flag) const { return Ref(word_ | flag); }
  // Without the flags that say what a hand or hazard slot uses it for.
  constexpr Ref bare() const { return Ref(word_ & ((1ULL << 50) - 1)); }
  constexpr std::uint64_t word() const { return word_; }
  constexpr bool none() const { return word_ == 0; }
  constexpr bool operator==(const Ref&) const = default;

 private:
  std::uint64_t word_ = 0;
};

// --- Containers: where extents of one class are cut from ----------------------------------------------
// Slabs carry one at their start, arenas (and runs of arenas) one in their descriptor. Changed under the
// lock of the pool that the class belongs to.
struct Container {
  Word class_and_count;  // class | sparse << 8 | in_list << 9 | kind << 16 | total << 32
  Word free_count;
  Word next;             // offset of the next container of this pool that has free extents
  Word free_bits[16];    // bit set: extent is free
};
static_assert(sizeof(Container) == 152);

inline constexpr std::uint64_t kInList = 1ULL << 9;  // of Container::class_and_count

enum class ArenaKind : std::uint32_t { kUnused = 0, kExtents = 1, kRun = 2, kRunTail = 3, kTable = 4 };

// One per 2 MiB of the arena area. Page bits are numbered from the start of the arena.
struct ArenaDescriptor {
  Container container;
  Word lock;             // guards valid and claimed
  Word populated[8];     // the host has obtained these pages
  Word valid[8];         // pages that hold data of the extent's present content
  Word claimed[8];       // pages that a writer is filling for the first time
  Word next_free;        // host: index + 1 of the next unused arena run of the same length
  std::uint64_t reserved[3];
};
static_assert(sizeof(ArenaDescriptor) == 384);

struct Pool {
  Word lock;
  Word head;       // offset of the first container with free extents
  Word free_bytes; // in the containers of this pool, hands not included
  Word wanted;     // a client found it low: the host tops it up
  Word extents;    // extents in all containers
  Word reserved[3];
};
static_assert(sizeof(Pool) == 64);

// --- Tables ---------------------------------------------------------------------------------------
struct Entry {
  Word key0;
  Word key1;
  Word value0;
  Word value1;
  Word value2;
};
static_assert(sizeof(Entry) == 40);

inline constexpr std::uint32_t kBucketEntries = 12;
// Tags: one byte per entry, 0 = free. The upper half of `tags1` is the sequence of the whole chain: odd
// while a change is being applied.
struct Bucket {
  Word lock;
  Word tags0;
  Word tags1;
  Word next;  // offset of the overflow bucket
  Entry entries[kBucketEntries];
};
static_assert(sizeof(Bucket) == 512);
// An overflow bucket has the same header and fewer entries.
inline constexpr std::uint32_t kOverflowEntries = 4;
inline constexpr std::uint64_t kOverflowBytes = 32 + kOverflowEntries * sizeof(Entry);
inline constexpr std::uint64_t kBucketsPerArena = kArenaBytes / sizeof(Bucket);

inline constexpr std::uint32_t kTables = 5;
inline constexpr std::uint32_t kBlockTable = 0;  // data: dataset id, block -> extent (block 0: the inode)
inline constexpr std::uint32_t kOpenTable = 1;   // data: dataset id, process -> opens
inline constexpr std::uint32_t kEntryTable = 0;  // metadata: parent id, name hash -> directory entry
inline constexpr std::uint32_t kDirectoryTable = 1;  // metadata: directory id, chunk -> slots of the directory
inline constexpr std::uint32_t kServiceTable = 2;    // metadata: instances and servers
inline constexpr std::uint32_t kAttributeTable = 3;  // metadata: dataset id -> what its inode said last
inline constexpr std::uint32_t kOutcomeTable = 4;    // both: what changes of clients on other nodes came to, see outcome.h
inline constexpr std::uint32_t kMaxTableArenas = 1 << 14;  // 64 Mi buckets, about 500 M entries

struct TableRoot {
  Word lock;            // held while one bucket is split
  Word buckets;         // number of buckets in use
  Word ready_buckets;   // buckets whose pages are there
  Word entries;         // about how many; decides when to split the next bucket
  Word arenas_offset;   // offset of Word[kMaxTableArenas]: arena offset of every kBucketsPerArena buckets
  Word wanted;          // 1: a client found few ready buckets left; 2: one waited for the host in vain
  Word reserved[2];
};
static_assert(sizeof(TableRoot) == 64);

// --- Participants ------------------------------------------------------------------------------------
struct RedoStore {
  std::uint64_t offset;
  std::uint64_t value;
};

inline constexpr std::uint32_t kMaxStores = 112;
inline constexpr std::uint32_t kMaxLocks = 12;
inline constexpr std::uint32_t kHandSlots = 64;
inline constexpr std::uint32_t kOperationPins = 8;
inline constexpr std::uint32_t kViewPins = 56;

// What one thread has under way in this segment. Written by its thread; read by recovery once the
// thread is known to be dead, and by others where a comment says so.
struct Participant {
  Word id;              // generation << 16 | slot + 1, also the word in locks it holds; 0 = free
  Word generation;
  Word process;         // random token of the process
  Word pid_tid;         // pid << 32 | tid, for messages only
  Word view_count;      // others read it to skip the scan of view_pins
  Word sequence;        // mutations begun
  Word reserved0[2];
  Word pins[kOperationPins];    // others read them before they reuse an extent
  Word view_pins[kViewPins];
  // Redo record: valid while `committed` is 1.
  Word committed;
  Word store_count;
  Word lock_count;
  Word last_slot;               // of the hand: the warmest
  Word locks[kMaxLocks];        // offsets of locks announced, before they are taken
  RedoStore stores[kMaxStores];
  Word hand[kHandSlots];        // extents this participant owns: Ref with flags
  Word claim_ref;               // extent some of whose pages it has claimed
  Word claim_pages;             // first << 16 | count - 1, pages numbered from the arena area's start
  Word moving_key0;             // entry of table 0 that it is moving to a larger extent
  Word moving_key1;
  // Request to the host.
  Word request;                 // sequence << 8 | kind
  Word request_offset;
  Word request_bytes;
  Word reply;                   // sequence << 16 | code
  Word cleaner;                 // id of who cleans up after this participant, which is dead
  Word claim_bits[8];           // the pages of that arena that it has claimed
  Word copying_dataset;         // of the block whose further copies it is writing; 0: none
  Word copying_block;
  std::uint64_t reserved2[117];
};
static_assert(sizeof(Participant) == 4096);

enum class Request : std::uint64_t { kNone = 0, kExtents = 1, kPages = 2, kBuckets = 3 };

inline constexpr std::uint32_t kMaxParticipants = 1024;
inline constexpr std::uint32_t kLimboSlots = 128;
inline constexpr std::uint32_t kTornPlaces = 32;
inline constexpr std::uint64_t kLivenessBytes = 64;  // one robust mutex per participant, apart from the data

// --- Superblock ----------------------------------------------------------------------------------------
struct Superblock {
  std::uint64_t magic;
  std::uint32_t layout_version;
  std::uint32_t role;
  std::uint64_t compatible;            // features that older programs may ignore
  std::uint64_t read_only_compatible;  // ... may ignore when they only read
  std::uint64_t incompatible;          // ... must know
  std::uint64_t nonce;                 // random, new with every new segment
  std::uint32_t server_id;
  std::uint32_t max_participants;
  std::uint64_t capacity_bytes;        // pages the host may obtain, this page included
  std::uint64_t address_bytes;         // length of the file
  std::uint64_t liveness_offset;
  std::uint64_t participants_offset;
  std::uint64_t descriptors_offset;
  std::uint64_t arenas_offset;
  std::uint64_t arena_count;
  std::uint32_t port;
  std::uint32_t rank;
  std::uint32_t owner_pid;
  std::uint32_t attached;
  char host_name[64];
  Word state;
  Word used_bytes;      // pages obtained, as the file system counts them
  Word next_arena;      // arenas from here on were never used
  Word host_wake;       // futex: clients ask the host
  Word host_sleeping;
  Word reply_wake;      // futex: the host has answered
  Word active[kMaxParticipants / 64];  // slots that may be in use
  Word unclean;         // a participant died and has not been cleaned up yet
  Word recoveries;      // participants recovered since creation; the journaller re-scans when it moves
  Word limbo_lock;
  Word limbo[kLimboSlots];  // hand words of participants that ended: pinned extents, datasets to remove
  Word map_epoch;       // of the cluster map, as far as this server knows
  Word reserved[5];
  std::uint64_t free_runs[6];  // host: index + 1 of the first free run of 1, 2, 4 ... 32 arenas
  Pool pools[2][kClasses];     // [dense, sparse]
  TableRoot tables[kTables];
  Word service_root[64];       // of the engine whose role this is
  Word torn_lock;
  Word torn[2 * kTornPlaces];  // {dataset, block}: a writer died before it had written all copies
  // Host: extents of one arena that it owns while it takes their memory or gives it back.
  Word changing_arena;         // index + 1; 0: none
  Word changing_extents[8];    // a bit each
};
static_assert(sizeof(Superblock) <= 2 * kPageBytes);

// Features of this version. Sharing is said in them, so that also programs that do not know it keep to it.
inline constexpr std::uint64_t kOnlyServerWrites = 1;  // read-only compatible
inline constexpr std::uint64_t kOnlyServerMaps = 1;    // incompatible
// Incompatible: the segment has a part of a namespace on several servers, whose changes hold names and directories.
inline constexpr std::uint64_t kPartOfNamespace = 2;
inline constexpr std::uint64_t kKnownCompatible = 0;
inline constexpr std::uint64_t kKnownReadOnlyCompatible = kOnlyServerWrites;
inline constexpr std::uint64_t kKnownIncompatible = kOnlyServerMaps | kPartOfNamespace;

}  // namespace imss::segment
