#include "metadata/state_records.h"

#include <cstring>
#include <type_traits>

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

std::vector<std::byte> encode_key(segment::Key key) {
  std::vector<std::byte> bytes(sizeof(key));
  std::memcpy(bytes.data(), &key, sizeof(key));
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

Result<segment::Key> decode_key(std::span<const std::byte> bytes) {
  segment::Key key;
  if (bytes.size() != sizeof(key)) return damaged();
  std::memcpy(&key, bytes.data(), sizeof(key));
  return key;
}

}  // namespace imss::metadata
