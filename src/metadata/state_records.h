// What the metadata file says about the namespace: one record per name, instance, inode and directory.
//
// Fixed little-endian layouts; the decoders check every length, since a file may hold anything. Pure functions;
// any thread. The file layer is journal.h, the layouts are in docs/metadata_file.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "metadata/namespace.h"
#include "metadata/records.h"
#include "segment/table.h"

namespace imss::metadata {

// Values are stored; they never change.
enum StateKind : std::uint16_t { kNameState = 1, kNameGone = 2, kInstanceState = 3, kInstanceGone = 4,
                                 kInodeState = 5, kDirectoryState = 6, kDirectoryXattrs = 7, kPlaceState = 16, kParentState = 17,
                                 kDirectoryGone = 18, kChangeState = 19, kChangeGone = 20,
                                 kInodeGone = 21 };

std::vector<std::byte> encode_name(segment::Key key, const EntryInfo& info);
std::vector<std::byte> encode_instance(const InstanceInfo& info);
// Whose file it is, and what must go on growing. Another deployment begins beyond both numbers.
struct PlaceState {
  std::uint32_t index = 0;
  std::uint32_t count = 1;
  std::uint64_t epoch = 0;    // of the cluster map
  std::uint64_t next_id = 0;  // no id from here on was given out
};
std::vector<std::byte> encode_place(const PlaceState& state);
// Where a directory of a namespace on several servers belongs: its name may be in another server's file.
struct ParentState {
  std::uint64_t directory = 0;
  std::uint64_t parent = 0;
  std::uint32_t mode = 0;
  std::uint32_t reserved = 0;
};
std::vector<std::byte> encode_parent(const ParentState& state);
// What a server has of a change over several servers: a committed intent, or a claim.
struct ChangeState {
  std::uint64_t change = 0;
  std::uint64_t kind = 0;         // of its key in the service table
  std::uint64_t directory = 0;    // claimed
  std::uint64_t parent = 0;       // of the directory, once the change is applied
  std::uint64_t participants = 0; // of an intent, as the segment has them
  Permissions permissions = {};   // of a directory that is made
  EntryInfo entry;                // claimed name, as it shall be
};
std::vector<std::byte> encode_change(const ChangeState& state);
// For kNameGone, kInstanceGone, kDirectoryGone, kChangeGone and kInodeGone.
std::vector<std::byte> encode_key(segment::Key key);

std::vector<std::byte> encode_inode(const InodeState& state);
std::vector<std::byte> encode_directory(const DirectoryInfo& info);
std::vector<std::byte> encode_xattrs(const DirectoryXattrs& xattrs);

struct NameState {
  segment::Key key;
  EntryInfo info;
};
// Errors: kCorrupt.
Result<NameState> decode_name(std::span<const std::byte> bytes);
Result<InstanceInfo> decode_instance(std::span<const std::byte> bytes);
Result<InodeState> decode_inode(std::span<const std::byte> bytes);
// Id, mode, owner and times.
Result<DirectoryInfo> decode_directory(std::span<const std::byte> bytes);
Result<DirectoryXattrs> decode_xattrs(std::span<const std::byte> bytes);
Result<PlaceState> decode_place(std::span<const std::byte> bytes);
Result<ParentState> decode_parent(std::span<const std::byte> bytes);
Result<ChangeState> decode_change(std::span<const std::byte> bytes);
Result<segment::Key> decode_key(std::span<const std::byte> bytes);

// An AttributeRecord with the target, as in the segment and, after the dataset, in the file. `bytes` may be longer.
inline constexpr std::size_t kMaxTargetBytes = 4096;
std::vector<std::byte> record_of(const InodeState& state);
Result<InodeState> inode_of(std::uint64_t dataset, std::span<const std::byte> bytes);

}  // namespace imss::metadata
