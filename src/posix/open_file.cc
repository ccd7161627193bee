// Open files: bytes.
#include <fcntl.h>

#include <cerrno>

#include "posix/access_time.h"
#include "posix/file_system.h"

namespace imss::posix {

OpenFile::~OpenFile() {
  // A server that is gone has nothing to close; at any other the opening is swept with the process.
  [[maybe_unused]] const Status released = session_.release(handle_);
}

Result<std::size_t> OpenFile::read(std::uint64_t offset, std::span<std::byte> out) {
  if ((flags_ & O_ACCMODE) == O_WRONLY) return Code::kBadHandle;
  store::Attributes seen;
  auto got = session_.read_at(*dataset_, offset, out, &seen);
  if (got.ok() && !out.empty() && (flags_ & O_NOATIME) == 0) touch(seen);
  return got;
}

// The bytes are what was asked for; should the time not be stamped, nobody is told.
void OpenFile::touch(const store::Attributes& seen) {
  const std::uint64_t now = access_due(seen.accessed_ns, seen.modified_ns, seen.changed_ns);
  if (now == 0 || !may_touch_.load(std::memory_order_relaxed)) return;
  const auto& home = dataset_->instance->stores[dataset_->layout.home_server];
  const Status touched =
      home->change_attributes(dataset_->id, {.fields = store::AttributeChange::kTouched, .accessed_ns = now});
  // Asking again with every read would double its messages.
  if (touched.code() == Code::kPermission) may_touch_.store(false, std::memory_order_relaxed);
}

Result<std::size_t> OpenFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  if ((flags_ & O_APPEND) == 0) return write_back(offset, data);
  if ((flags_ & O_ACCMODE) == O_RDONLY) return Code::kBadHandle;
  if (data.empty()) return std::size_t{0};
  IMSS_RETURN_IF_ERROR(session_.append(*dataset_, data).status());
  dataset_->wrote = false;
  return data.size();
}

Result<std::size_t> OpenFile::write_back(std::uint64_t offset, std::span<const std::byte> data) {
  if ((flags_ & O_ACCMODE) == O_RDONLY) return Code::kBadHandle;
  if (data.empty()) return std::size_t{0};
  if (offset > store::kSizeMask - data.size()) return Status::from_errno(EFBIG, "write");
  IMSS_RETURN_IF_ERROR(session_.write_at(*dataset_, offset, data));
  // The write has stamped the time: closing must not do it again, over a time that was set since.
  dataset_->wrote = false;
  return data.size();
}

Status OpenFile::truncate(std::uint64_t size) {
  if ((flags_ & O_ACCMODE) == O_RDONLY) return Code::kInvalidArgument;
  if (size > store::kSizeMask) return Status::from_errno(EFBIG, "truncate");
  return session_.truncate(*dataset_, size);
}

}  // namespace imss::posix
