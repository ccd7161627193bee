// What is known of a dataset besides its content: a copy of its inode's fields. Plain values; any thread.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>

#include "base/fields.h"

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
  IMSS_FIELDS(size, generation, links, opens, mode, uid, gid, accessed_ns, modified_ns, changed_ns, created_ns, type,
              block_bytes, block_count, version, highest_block, placement, first_link)
};

// A change of some attributes: of those that `fields` names, and of no other.
struct AttributeChange {
  static constexpr std::uint32_t kMode = 1;
  static constexpr std::uint32_t kUid = 2;
  static constexpr std::uint32_t kGid = 4;
  static constexpr std::uint32_t kAccessed = 8;
  static constexpr std::uint32_t kModified = 16;
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

}  // namespace imss::store
