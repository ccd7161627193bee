#include "store/xattrs.h"

#include <cstring>

namespace imss::store {

namespace {

using Total = std::uint64_t;
using ValueLength = std::uint32_t;
using NameLength = std::uint16_t;
constexpr std::size_t kHeadBytes = sizeof(ValueLength) + sizeof(NameLength);

Status damaged() { return Status(Code::kCorrupt, "stored extended attributes are damaged"); }

struct Xattr {
  std::string_view name;
  std::span<const std::byte> value;
  std::span<const std::byte> whole;
};

// Walks over stored attributes.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> stored) {
    Total total = 0;
    if (stored.empty()) return;
    sound_ = stored.size() >= sizeof(total);
    if (sound_) std::memcpy(&total, stored.data(), sizeof(total));
    sound_ = sound_ && total >= sizeof(total) && total <= stored.size();
    if (sound_) left_ = stored.first(total).subspan(sizeof(total));
  }
  // False at the end, or when what follows is damaged.
  bool next(Xattr* out) {
    if (left_.empty()) return false;
    ValueLength value_length = 0;
    NameLength name_length = 0;
    sound_ = left_.size() >= kHeadBytes;
    if (!sound_) return false;
    std::memcpy(&value_length, left_.data(), sizeof(value_length));
    std::memcpy(&name_length, left_.data() + sizeof(value_length), sizeof(name_length));
    const std::size_t bytes = kHeadBytes + std::size_t{name_length} + value_length;
    sound_ = bytes <= left_.size();
    if (!sound_) return false;
    out->name = {reinterpret_cast<const char*>(left_.data() + kHeadBytes), name_length};
    out->value = left_.subspan(kHeadBytes + name_length, value_length);
    out->whole = left_.first(bytes);
    left_ = left_.subspan(bytes);
    return true;
  }
  bool sound() const { return sound_; }

 private:
  std::span<const std::byte> left_;
  bool sound_ = true;
};

template <typename T>
void append(std::vector<std::byte>& out, const T& number) {
  const auto bytes = std::as_bytes(std::span(&number, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

Status check(const XattrChange& change) {
  if (change.name.empty() || change.name.size() > kMaxXattrNameBytes) {
    return Status(Code::kInvalidArgument, "the name of an extended attribute has 1 to 255 bytes");
  }
  if (change.name.find('\0') != std::string::npos || change.mode > XattrMode::kRemove) return Code::kInvalidArgument;
  if (change.value.size() <= kMaxXattrValueBytes) return {};
  return Status(Code::kInvalidArgument, "the value of an extended attribute has at most 64 KiB");
}

}  // namespace

Result<std::vector<std::byte>> changed_xattrs(std::span<const std::byte> stored, const XattrChange& change,
                                              std::size_t most_bytes) {
  IMSS_RETURN_IF_ERROR(check(change));
  std::vector<std::byte> out(sizeof(Total));
  std::size_t list_bytes = 0;
  bool present = false;
  Reader reader(stored);
  for (Xattr each; reader.next(&each);) {
    if (each.name == change.name) {
      present = true;
      continue;
    }
    out.insert(out.end(), each.whole.begin(), each.whole.end());
    list_bytes += each.name.size() + 1;
  }
  if (!reader.sound()) return damaged();
  if (present && change.mode == XattrMode::kCreate) return Code::kExists;
  if (!present && (change.mode == XattrMode::kReplace || change.mode == XattrMode::kRemove)) return Code::kNoData;
  if (change.mode != XattrMode::kRemove) {
    append(out, static_cast<ValueLength>(change.value.size()));
    append(out, static_cast<NameLength>(change.name.size()));
    for (const char c : change.name) out.push_back(static_cast<std::byte>(c));
    const auto value = std::as_bytes(std::span(change.value));
    out.insert(out.end(), value.begin(), value.end());
    list_bytes += change.name.size() + 1;
    if (out.size() > most_bytes || list_bytes > kMaxXattrListBytes) {
      return Status(Code::kNoSpace, "the extended attributes of a file or directory have no room for one more");
    }
  }
  const Total total = out.size();
  std::memcpy(out.data(), &total, sizeof(total));
  return out;
}

Result<XattrValue> xattr_in(std::span<const std::byte> stored, std::string_view name) {
  XattrValue out;
  Reader reader(stored);
  for (Xattr each; reader.next(&each);) {
    if (name.empty()) {
      out.insert(out.end(), each.name.begin(), each.name.end());
      out.push_back(0);
    } else if (each.name == name) {
      const auto* value = reinterpret_cast<const std::uint8_t*>(each.value.data());
      return XattrValue(value, value + each.value.size());
    }
  }
  if (!reader.sound()) return damaged();
  if (name.empty()) return out;
  return Code::kNoData;
}

}  // namespace imss::store
