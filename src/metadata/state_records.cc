#include "metadata/state_records.h"

#include <cstring>
#include <type_traits>

#include "metadata/authority.h"
#include "metadata/records.h"
#include "store/xattrs.h"

namespace imss::metadata {
namespace {

struct NameHead {
  std::uint64_t key_first;
  std::uint64_t key_second;
  std::uint64_t parent;
  std::uint64_t link;
  std::uint64_t id;
  std::uint64_t block_bytes;
  std::uint64_t block_count;
  std::uint64_t created_ns;
  std::uint32_t mode;
  std::uint32_t home_server;
  std::uint16_t server_count;
  std::uint16_t name_length;
  std::uint8_t type;
  std::uint8_t policy;
  std::uint8_t replicas;
  std::uint8_t reserved;
};
static_assert(sizeof(NameHead) == 80 && std::is_trivially_copyable_v<NameHead>);

struct InstanceHead {
  std::uint64_t root;
  std::uint64_t block_bytes;
  std::uint32_t deployment;
  std::uint32_t server_count;
  std::uint16_t port;
  std::uint16_t name_length;
  std::uint32_t reserved;
};
static_assert(sizeof(InstanceHead) == 32 && std::is_trivially_copyable_v<InstanceHead>);

// Earlier versions ended before the last two times.
constexpr std::size_t kDirectoryBytesBefore = 40;
struct DirectoryBody {
  std::uint64_t id;
  std::uint64_t modified_ns;
  std::uint64_t created_ns;
  std::uint32_t mode;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t reserved;
  std::uint64_t accessed_ns;
  std::uint64_t changed_ns;
};
static_assert(sizeof(DirectoryBody) == kDirectoryBytesBefore + 16 && std::is_trivially_copyable_v<DirectoryBody>);

template <typename Body>
std::vector<std::byte> bytes_of(const Body& body) {
  std::vector<std::byte> bytes(sizeof(body));
  std::memcpy(bytes.data(), &body, sizeof(body));
  return bytes;
}

struct ChangeHead {
  std::uint64_t change;
  std::uint64_t kind;
  std::uint64_t directory;
  std::uint64_t parent;
  std::uint64_t participants;
  std::uint32_t mode;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t reserved;
};
static_assert(sizeof(ChangeHead) == 56 && std::is_trivially_copyable_v<ChangeHead>);

template <typename Head>
std::vector<std::byte> with_text(const Head& head, const std::string& text) {
  std::vector<std::byte> bytes(sizeof(head) + text.size());
  std::memcpy(bytes.data(), &head, sizeof(head));
  std::memcpy(bytes.data() + sizeof(head), text.data(), text.size());
  return bytes;
}

template <typename Head>
bool read_head(std::span<const std::byte> bytes, Head* head) {
  if (bytes.size() < sizeof(Head)) return false;
  std::memcpy(head, bytes.data(), sizeof(Head));
  return head->name_length == bytes.size() - sizeof(Head) && head->name_length <= 255;
}

template <typename Head>
std::string text_after(std::span<const std::byte> bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data() + sizeof(Head));
  return {text, bytes.size() - sizeof(Head)};
}

template <typename State>
std::vector<std::byte> plain(const State& state) {
  static_assert(sizeof(State) == 24 && std::is_trivially_copyable_v<State>);
  return bytes_of(state);
}

Status damaged() { return Status(Code::kCorrupt, "the metadata file holds a record that cannot be read"); }

}  // namespace

std::vector<std::byte> encode_name(segment::Key key, const EntryInfo& info) {
  NameHead head{};
  head.key_first = key.first;
  head.key_second = key.second;
  head.parent = info.parent;
  head.link = info.link;
  head.id = info.id;
  head.block_bytes = info.layout.block_bytes;
  head.block_count = info.layout.block_count;
  head.created_ns = info.created_ns;
  head.mode = info.mode;
  head.home_server = info.layout.home_server;
  head.server_count = info.layout.server_count;
  head.name_length = static_cast<std::uint16_t>(info.name.size());
  head.type = static_cast<std::uint8_t>(info.type);
  head.policy = info.layout.policy;
  head.replicas = info.layout.replicas;
  return with_text(head, info.name);
}

std::vector<std::byte> encode_instance(const InstanceInfo& info) {
  InstanceHead head{};
  head.root = info.root;
  head.block_bytes = info.block_bytes;
  head.deployment = info.deployment;
  head.server_count = static_cast<std::uint32_t>(info.servers.size());
  head.port = info.port;
  head.name_length = static_cast<std::uint16_t>(info.name.size());
  return with_text(head, info.name);
}

std::vector<std::byte> encode_key(segment::Key key) { return bytes_of(key); }

std::vector<std::byte> record_of(const InodeState& state) {
  const store::Attributes& said = state.attributes;
  const AttributeRecord record{said.size,
                               said.accessed_ns,
                               said.modified_ns,
                               said.changed_ns,
                               said.created_ns,
                               said.version,
                               (said.mode & 0xffff) | static_cast<std::uint32_t>(state.target.size()) << 16,
                               static_cast<std::uint32_t>(said.links),
                               said.uid,
                               said.gid};
  return with_text(record, state.target);
}

std::vector<std::byte> encode_inode(const InodeState& state) {
  std::vector<std::byte> bytes = bytes_of(state.dataset);
  const std::vector<std::byte> record = record_of(state);
  bytes.insert(bytes.end(), record.begin(), record.end());
  return bytes;
}

std::vector<std::byte> encode_directory(const DirectoryInfo& info) {
  return bytes_of(DirectoryBody{info.id, info.modified_ns, info.created_ns, info.mode, info.uid, info.gid, 0,
                                info.accessed_ns, info.changed_ns});
}

std::vector<std::byte> encode_xattrs(const DirectoryXattrs& xattrs) {
  std::vector<std::byte> bytes(sizeof(xattrs.directory) + xattrs.stored.size());
  std::memcpy(bytes.data(), &xattrs.directory, sizeof(xattrs.directory));
  std::memcpy(bytes.data() + sizeof(xattrs.directory), xattrs.stored.data(), xattrs.stored.size());
  return bytes;
}

std::vector<std::byte> encode_place(const PlaceState& state) { return plain(state); }
std::vector<std::byte> encode_parent(const ParentState& state) { return plain(state); }

std::vector<std::byte> encode_change(const ChangeState& state) {
  const Permissions& made = state.permissions;
  const ChangeHead head{state.change, state.kind, state.directory, state.parent, state.participants,
                        made.mode,    made.uid,   made.gid,        0};
  std::vector<std::byte> bytes = bytes_of(head);
  if (state.kind == kNameClaimKind) {
    const auto name = encode_name({}, state.entry);
    bytes.insert(bytes.end(), name.begin(), name.end());
  }
  return bytes;
}

Result<NameState> decode_name(std::span<const std::byte> bytes) {
  NameHead head;
  if (!read_head(bytes, &head)) return damaged();
  NameState state;
  state.key = {head.key_first, head.key_second};
  state.info.parent = head.parent;
  state.info.link = head.link;
  state.info.id = head.id;
  state.info.type = static_cast<NodeType>(head.type);
  state.info.layout = {head.policy,      head.replicas,    head.server_count,
                       head.home_server, head.block_bytes, head.block_count};
  state.info.created_ns = head.created_ns;
  state.info.mode = head.mode;
  state.info.name = text_after<NameHead>(bytes);
  return state;
}

Result<InstanceInfo> decode_instance(std::span<const std::byte> bytes) {
  InstanceHead head;
  if (!read_head(bytes, &head) || head.server_count > 8192) return damaged();
  InstanceInfo info;
  info.root = head.root;
  info.block_bytes = head.block_bytes;
  info.deployment = head.deployment;
  info.port = head.port;
  // Which servers they were does not matter any more, only how many: others take their places.
  info.servers.assign(head.server_count, 0);
  info.name = text_after<InstanceHead>(bytes);
  return info;
}

Result<InodeState> inode_of(std::uint64_t dataset, std::span<const std::byte> bytes) {
  AttributeRecord record;
  if (bytes.size() < sizeof(record)) return damaged();
  std::memcpy(&record, bytes.data(), sizeof(record));
  const std::size_t target_bytes = record.mode >> 16;
  if (target_bytes > kMaxTargetBytes || target_bytes > bytes.size() - sizeof(record)) return damaged();
  InodeState state;
  state.dataset = dataset;
  state.attributes.size = record.size;
  state.attributes.accessed_ns = record.accessed_ns;
  state.attributes.modified_ns = record.modified_ns;
  state.attributes.changed_ns = record.changed_ns;
  state.attributes.created_ns = record.created_ns;
  state.attributes.version = record.version;
  state.attributes.mode = record.mode & 0xffff;
  state.attributes.links = record.links;
  state.attributes.uid = record.uid;
  state.attributes.gid = record.gid;
  state.target.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof(record), target_bytes);
  return state;
}

Result<InodeState> decode_inode(std::span<const std::byte> bytes) {
  std::uint64_t dataset = 0;
  if (bytes.size() < sizeof(dataset)) return damaged();
  std::memcpy(&dataset, bytes.data(), sizeof(dataset));
  return inode_of(dataset, bytes.subspan(sizeof(dataset)));
}

Result<DirectoryInfo> decode_directory(std::span<const std::byte> bytes) {
  DirectoryBody body{};
  const bool whole = bytes.size() == sizeof(body);
  if (!whole && bytes.size() != kDirectoryBytesBefore) return damaged();
  std::memcpy(&body, bytes.data(), bytes.size());
  DirectoryInfo info;
  info.id = body.id;
  info.mode = body.mode;
  info.uid = body.uid;
  info.gid = body.gid;
  info.modified_ns = body.modified_ns;
  info.created_ns = body.created_ns;
  info.accessed_ns = whole ? body.accessed_ns : body.modified_ns;
  info.changed_ns = whole ? body.changed_ns : body.modified_ns;
  return info;
}

Result<DirectoryXattrs> decode_xattrs(std::span<const std::byte> bytes) {
  DirectoryXattrs xattrs;
  if (bytes.size() <= sizeof(xattrs.directory)) return damaged();
  std::memcpy(&xattrs.directory, bytes.data(), sizeof(xattrs.directory));
  xattrs.stored.assign(bytes.begin() + sizeof(xattrs.directory), bytes.end());
  if (!store::xattr_in(xattrs.stored, {}).ok()) return damaged();
  return xattrs;
}

Result<PlaceState> decode_place(std::span<const std::byte> bytes) {
  PlaceState state;
  if (bytes.size() != sizeof(state)) return damaged();
  std::memcpy(&state, bytes.data(), sizeof(state));
  if (state.index >= state.count || state.count > kMaxMetadataServers) return damaged();
  return state;
}

Result<ParentState> decode_parent(std::span<const std::byte> bytes) {
  ParentState state;
  if (bytes.size() != sizeof(state)) return damaged();
  std::memcpy(&state, bytes.data(), sizeof(state));
  return state;
}

Result<ChangeState> decode_change(std::span<const std::byte> bytes) {
  ChangeHead head;
  if (bytes.size() < sizeof(head)) return damaged();
  std::memcpy(&head, bytes.data(), sizeof(head));
  bytes = bytes.subspan(sizeof(head));
  if (head.change == 0 || head.kind < kIntentKind || head.kind > kMovedDirectoryKind) return damaged();
  ChangeState state{head.change, head.kind, head.directory, head.parent, head.participants,
                    {head.mode, head.uid, head.gid}, {}};
  if (head.kind == kNameClaimKind) {
    IMSS_ASSIGN_OR_RETURN(NameState name, decode_name(bytes));
    state.entry = std::move(name.info);
  } else if (!bytes.empty()) {
    return damaged();
  }
  return state;
}

Result<segment::Key> decode_key(std::span<const std::byte> bytes) {
  segment::Key key;
  if (bytes.size() != sizeof(key)) return damaged();
  std::memcpy(&key, bytes.data(), sizeof(key));
  return key;
}

}  // namespace imss::metadata
