#include "bench_worker.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

namespace imss::bench {

Result<ScratchFile> ScratchFile::create(std::string path) {
  ScratchFile file;
  file.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file.fd_ < 0) return Status::from_errno(errno, "cannot create " + path);
  file.path_ = std::move(path);
  return file;
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

ScratchFile::~ScratchFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(path_.c_str());
}

Result<std::unique_ptr<BlockWorker>> BlockWorker::make(const BenchStore& store,
                                                       const BlockCase& wanted,
                                                       client::Session* shared, unsigned worker) {
  std::unique_ptr<BlockWorker> made(new BlockWorker(wanted));
  made->session_ = shared;
  if (shared == nullptr) {
    IMSS_ASSIGN_OR_RETURN(made->own_session_, BenchStore::connect());
    made->session_ = made->own_session_.get();
  }
  made->name_ = "worker" + std::to_string(worker);
  IMSS_ASSIGN_OR_RETURN(made->file_, ScratchFile::create(store.folder() + "/" + made->name_));
  std::mt19937_64 random(worker + 1);
  for (std::byte& byte : made->buffer_) byte = static_cast<std::byte>(random());
  return made;
}

BlockWorker::~BlockWorker() {
  if (handle_ < 0) return;
  [[maybe_unused]] const Status removed = remove();
}

Status BlockWorker::create(std::uint64_t block_count) {
  client::DatasetOptions options;
  options.block_bytes = case_.block_bytes;
  options.block_count = block_count;
  IMSS_ASSIGN_OR_RETURN(handle_, session_->create(uri_of(name_), options));
  block_count_ = block_count;
  position_ = 0;
  order_.clear();
  if (case_.random) shuffle();
  return {};
}

void BlockWorker::shuffle() {
  order_.resize(block_count_);
  for (std::uint32_t i = 0; i < block_count_; ++i) order_[i] = i;
  std::mt19937_64 random(block_count_);
  std::shuffle(order_.begin(), order_.end(), random);
}

Status BlockWorker::remove() {
  IMSS_RETURN_IF_ERROR(session_->release(std::exchange(handle_, -1)));
  return session_->unlink(uri_of(name_));
}

Status BlockWorker::populate() {
  IMSS_RETURN_IF_ERROR(set(block_count_));
  position_ = 0;
  IMSS_RETURN_IF_ERROR(file_write(block_count_));
  position_ = 0;
  return {};
}

Status BlockWorker::locate() {
  IMSS_ASSIGN_OR_RETURN(client::Dataset* const dataset, session_->find(handle_));
  addresses_.resize(block_count_);
  for (std::uint64_t i = 0; i < block_count_; ++i) {
    IMSS_ASSIGN_OR_RETURN(store::View view, session_->view(*dataset, i + 1));
    // Nobody else changes these blocks, so the address stays good without the view; and whatever
    // the copies below leave in them is overwritten or removed.
    addresses_[i] = const_cast<std::byte*>(view.bytes.data());
    store::Store::release(view);
  }
  return {};
}

Status BlockWorker::set(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    IMSS_ASSIGN_OR_RETURN(client::Dataset* const dataset, session_->find(handle_));
    IMSS_RETURN_IF_ERROR(session_->put(*dataset, next() + 1, buffer_));
  }
  return {};
}

Status BlockWorker::get(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    IMSS_ASSIGN_OR_RETURN(client::Dataset* const dataset, session_->find(handle_));
    IMSS_RETURN_IF_ERROR(session_->get(*dataset, next() + 1, 0, buffer_));
  }
  return {};
}

Status BlockWorker::file_write(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    const auto offset = static_cast<off_t>(next() * buffer_.size());
    if (::pwrite(file_.fd(), buffer_.data(), buffer_.size(), offset) !=
        static_cast<ssize_t>(buffer_.size())) {
      return Status::from_errno(errno, "pwrite to tmpfs");
    }
  }
  return {};
}

Status BlockWorker::file_read(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    const auto offset = static_cast<off_t>(next() * buffer_.size());
    if (::pread(file_.fd(), buffer_.data(), buffer_.size(), offset) !=
        static_cast<ssize_t>(buffer_.size())) {
      return Status::from_errno(errno, "pread from tmpfs");
    }
  }
  return {};
}

Status BlockWorker::copy_in(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    std::memcpy(addresses_[next()], buffer_.data(), buffer_.size());
  }
  return {};
}

Status BlockWorker::copy_out(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    std::memcpy(buffer_.data(), addresses_[next()], buffer_.size());
  }
  return {};
}

}  // namespace imss::bench
