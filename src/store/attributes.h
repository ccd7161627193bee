// What is known of a dataset besides its content: a copy of its inode's fields. Plain values; any thread.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fields.h"
#include "base/hash.h"

namespace imss::store {

// Values are stored; they never change.
enum class NodeType : std::uint32_t {
  kNone = 0,
  kDataset = 1,
  kDirectory = 2,
  kSymlink = 3,
  kInstance = 4,
  // Nodes of the file view that have no data here.
  kFifo = 5,
  kSocket = 6,
  kCharacterDevice = 7,
  kBlockDevice = 8,
};

// The type's bits of st_mode.
constexpr std::uint32_t type_bits(NodeType type) {
  switch (type) {
    case NodeType::kDirectory:
    case NodeType::kInstance:
      return S_IFDIR;
    case NodeType::kSymlink:
      return S_IFLNK;
    case NodeType::kFifo:
      return S_IFIFO;
    case NodeType::kSocket:
      return S_IFSOCK;
    case NodeType::kCharacterDevice:
      return S_IFCHR;
    case NodeType::kBlockDevice:
      return S_IFBLK;
    default:
      return S_IFREG;
  }
}
constexpr bool is_device(NodeType type) { return type == NodeType::kCharacterDevice || type == NodeType::kBlockDevice; }
constexpr bool is_special(NodeType type) {
  return type == NodeType::kFifo || type == NodeType::kSocket || is_device(type);
}

inline constexpr std::uint64_t kUnitBytes = 512;  // of st_blocks

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
  std::uint64_t first_link = 0; // the name it was created with; 0: that name is gone
  std::uint64_t allocated = 0;  // what somebody counted that it takes, and when: see note_of()

  // What a dataset takes in units of kUnitBytes, as counted when its time of change was `changed`. Every change that
  // gives it memory or takes some stamps that time, so the count stands as long as the time does.
  static std::uint64_t note_of(std::uint64_t changed, std::uint64_t units) { return mix64(changed) << 40 | units; }
  std::optional<std::uint64_t> noted_units() const {
    const std::uint64_t units = allocated & ((1ULL << 40) - 1);
    if (allocated == 0 || note_of(changed_ns, units) != allocated) return std::nullopt;
    return units;
  }
  IMSS_FIELDS(size, generation, links, opens, mode, uid, gid, accessed_ns, modified_ns, changed_ns, created_ns, type,
              block_bytes, block_count, version, highest_block, placement, first_link, allocated)
};

// A change of some attributes: of those that `fields` names, and of no other.
struct AttributeChange {
  static constexpr std::uint32_t kMode = 1;
  static constexpr std::uint32_t kUid = 2;
  static constexpr std::uint32_t kGid = 4;
  static constexpr std::uint32_t kAccessed = 8;
  static constexpr std::uint32_t kModified = 16;
  static constexpr std::uint32_t kTouched = 32;  // the time of access, by use: goes forward only, and stamps nothing
  std::uint32_t fields = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t accessed_ns = 0;
  std::uint64_t modified_ns = 0;
  IMSS_FIELDS(fields, mode, uid, gid, accessed_ns, modified_ns)

  bool has(std::uint32_t field) const { return (fields & field) != 0; }
  // The owner, as segments have it, that comes of one.
  std::uint64_t owner_after(std::uint64_t owner) const {
    if (has(kUid)) owner = std::uint64_t{uid} << 32 | (owner & 0xffff'ffff);
    if (has(kGid)) owner = (owner & ~std::uint64_t{0xffff'ffff}) | gid;
    return owner;
  }
};

// An extended attribute's value, and a change of one.
using XattrValue = std::vector<std::uint8_t>;

enum class XattrMode : std::uint8_t {
  kSet = 0,
  kCreate = 1,   // kExists when it is there
  kReplace = 2,  // kNoData when it is not
  kRemove = 3,   // kNoData when it is not
};

struct XattrChange {
  XattrMode mode = XattrMode::kSet;
  std::string name;
  XattrValue value;
  IMSS_FIELDS(mode, name, value)
};

}  // namespace imss::store
