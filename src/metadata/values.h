// What a metadata server knows of names, directories, instances and servers. Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fields.h"
#include "store/attributes.h"

namespace imss::metadata {

using store::NodeType;

// The directory that holds the instances by name.
inline constexpr std::uint64_t kInstancesDirectory = 1;

// Where the blocks of a dataset are: the outer metadata.
struct Layout {
  std::uint8_t policy = 0;
  std::uint8_t replicas = 1;
  std::uint16_t server_count = 0;   // the first so many servers of the instance
  std::uint32_t home_server = 0;    // position of the data server that holds block 0
  std::uint64_t block_bytes = 0;
  std::uint64_t block_count = 0;
  IMSS_FIELDS(policy, replicas, server_count, home_server, block_bytes, block_count)
};

struct EntryInfo {
  std::uint64_t parent = 0;
  std::uint64_t link = 0;           // identifies this name for ever, also when it is renamed
  std::uint64_t id = 0;             // of the dataset or directory
  NodeType type = NodeType::kNone;
  Layout layout;
  std::uint64_t created_ns = 0;
  std::uint32_t mode = 0;
  std::uint64_t cookie = 0;         // for list(): where to go on after this entry
  std::string name;
  IMSS_FIELDS(parent, link, id, type, layout, created_ns, mode, cookie, name)
};

// All extended attributes of one directory: they are one record of the metadata file.
inline constexpr std::size_t kMostDirectoryXattrBytes = (64 << 10) - 64;
struct DirectoryXattrs {
  std::uint64_t directory = 0;
  std::vector<std::byte> stored;    // see store/xattrs.h
};

// What a data server says about a dataset whose inode it has.
struct InodeState {
  std::uint64_t dataset = 0;
  bool gone = false;                // there is no inode any more
  store::Attributes attributes;
  std::string target;               // of a symbolic link
  IMSS_FIELDS(dataset, gone, attributes, target)
};

// Mode and owner of a directory in the making.
struct Permissions {
  std::uint32_t mode = 0755;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  IMSS_FIELDS(mode, uid, gid)
};

inline constexpr std::uint32_t kSetGroupBit = 02000;  // of a directory: what is made in it gets its group

// What a directory gets that is made in `parent` and asks for `wanted`.
constexpr Permissions inherited(const Permissions& parent, const Permissions& wanted) {
  if ((parent.mode & kSetGroupBit) == 0) return wanted;
  return {wanted.mode | kSetGroupBit, wanted.uid, parent.gid};
}

struct DirectoryInfo {
  std::uint64_t id = 0;
  std::uint64_t parent = 0;
  std::uint64_t entries = 0;
  std::uint64_t subdirectories = 0;
  std::uint32_t mode = 0755;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t modified_ns = 0;
  std::uint64_t created_ns = 0;
  std::uint64_t accessed_ns = 0;
  std::uint64_t changed_ns = 0;
  Permissions permissions() const { return {mode, uid, gid}; }
  IMSS_FIELDS(id, parent, entries, subdirectories, mode, uid, gid, modified_ns, created_ns, accessed_ns, changed_ns)
};

struct ServerInfo {
  std::uint32_t id = 0;             // 1, 2, ... in the order of joining
  std::uint64_t nonce = 0;          // of its segment
  std::uint32_t port = 0;
  std::uint32_t rank = 0;
  bool attached = false;
  std::uint64_t capacity_bytes = 0;
  std::string host;
  std::string segment_name;
  std::string instance;             // detached servers serve one instance
  IMSS_FIELDS(id, nonce, port, rank, attached, capacity_bytes, host, segment_name, instance)
};

struct InstanceInfo {
  std::string name;
  std::uint64_t root = 0;           // id of its root directory
  std::uint64_t block_bytes = 0;    // default block size
  std::uint32_t deployment = 0;     // 0 detached, 1 attached
  std::uint16_t port = 0;
  std::vector<std::uint32_t> servers;  // ids, in order of position; 0: this one has left
  bool restored = false;            // known from the metadata file; its servers have not joined yet
  IMSS_FIELDS(name, root, block_bytes, deployment, port, servers, restored)
};

// One metadata server in the cluster map.
struct MapServer {
  std::uint32_t index = 0;          // its place among the metadata servers
  std::uint32_t port = 0;
  std::uint64_t nonce = 0;          // of its segment
  std::uint64_t epoch = 0;          // of the map, when it joined last
  bool gone = false;                // it has ended, or is not heard any more
  std::string host;
  std::string segment_name;
  IMSS_FIELDS(index, port, nonce, epoch, gone, host, segment_name)

  // Whether both say of the same running server where it is, whatever else they say.
  bool is_same_server(const MapServer& other) const {
    return nonce == other.nonce && port == other.port && host == other.host && segment_name == other.segment_name;
  }
};

// The metadata servers of a deployment. Every change of it, and every data server that joins or leaves, raises the
// epoch. A deployment of one server has it without an entry.
struct ClusterMap {
  std::uint64_t epoch = 0;
  std::uint32_t count = 1;          // metadata servers that the deployment has
  std::vector<MapServer> servers;   // those that have joined, by index
  bool complete() const { return count <= 1 || servers.size() == count; }
  IMSS_FIELDS(epoch, count, servers)
};

}  // namespace imss::metadata
