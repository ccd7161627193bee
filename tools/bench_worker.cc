#include "bench_worker.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
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

namespace {

std::mutex joining;
int joined = 0;  // ClientProcess objects of this process
pid_t joined_pid = 0;

std::string instance_uri() { return std::string("imss://") + kInstance; }

}  // namespace

Status answer_of(std::int32_t returned) {
  if (returned >= 0) return {};
  return Status::from_errno(errno, imss_last_error());
}

Result<ClientProcess> ClientProcess::join() {
  const std::lock_guard lock(joining);
  // A fork child has what its parent had, and becomes a client of its own.
  if (joined_pid != ::getpid()) joined = 0;
  joined_pid = ::getpid();
  if (joined == 0) {
    IMSS_RETURN_IF_ERROR(answer_of(stat_init(nullptr, kMetadataPort, 1, 0)));
    IMSS_RETURN_IF_ERROR(answer_of(open_imss(instance_uri().c_str())));
  }
  ++joined;
  return ClientProcess();
}

ClientProcess::~ClientProcess() {
  if (!joined_) return;
  const std::lock_guard lock(joining);
  if (joined_pid != ::getpid() || --joined > 0) return;
  release_imss(instance_uri().c_str(), IMSS_DISCONNECT);
  stat_release();
}

Result<std::unique_ptr<BlockWorker>> BlockWorker::make(const BenchStore& store,
                                                       const BlockCase& wanted, unsigned worker) {
  std::unique_ptr<BlockWorker> made(new BlockWorker(wanted));
  IMSS_ASSIGN_OR_RETURN(auto client, ClientProcess::join());
  made->client_.emplace(std::move(client));
  made->name_ = "worker" + std::to_string(worker);
  IMSS_ASSIGN_OR_RETURN(made->file_, ScratchFile::create(store.folder() + "/" + made->name_));
  std::mt19937_64 random(worker + 1);
  for (std::byte& byte : made->buffer_) byte = static_cast<std::byte>(random());
  return made;
}

BlockWorker::~BlockWorker() {
  if (id_ < 0) return;
  [[maybe_unused]] const Status removed = remove();  // the store goes with the run
}

Status BlockWorker::create(std::uint64_t block_count) {
  if (case_.block_bytes % 1024 != 0) {
    return Status(Code::kInvalidArgument, "a block size is not a whole number of KiB");
  }
  id_ = create_dataset(format_uri(uri_of(name_)).c_str(), "RR",
                       static_cast<std::int32_t>(block_count),
                       static_cast<std::int32_t>(case_.block_bytes / 1024), NONE, 1);
  IMSS_RETURN_IF_ERROR(answer_of(id_));
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
  IMSS_RETURN_IF_ERROR(answer_of(release_dataset(std::exchange(id_, -1))));
  return answer_of(delete_dataset(format_uri(uri_of(name_)).c_str()));
}

Status BlockWorker::leave() {
  IMSS_RETURN_IF_ERROR(answer_of(release_dataset(std::exchange(id_, -1))));
  client_.reset();
  return {};
}

Status BlockWorker::come_back() {
  IMSS_ASSIGN_OR_RETURN(auto client, ClientProcess::join());
  client_.emplace(std::move(client));
  id_ = open_dataset(format_uri(uri_of(name_)).c_str());
  return answer_of(id_);
}

Status BlockWorker::populate() {
  IMSS_RETURN_IF_ERROR(set(block_count_));
  position_ = 0;
  IMSS_RETURN_IF_ERROR(file_write(block_count_));
  position_ = 0;
  return {};
}

Status BlockWorker::locate() {
  addresses_.resize(block_count_);
  for (std::uint64_t i = 0; i < block_count_; ++i) {
    imss_block_view view{};
    IMSS_RETURN_IF_ERROR(answer_of(imss_view(id_, static_cast<std::int32_t>(i + 1), &view)));
    // Nobody else changes these blocks, so the address stays good without the view; and whatever
    // the copies below leave in them is overwritten or removed.
    addresses_[i] = static_cast<std::byte*>(const_cast<void*>(view.data));
    IMSS_RETURN_IF_ERROR(answer_of(imss_view_release(&view)));
  }
  return {};
}

Status BlockWorker::set(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    if (set_data(id_, static_cast<std::int32_t>(next() + 1), buffer_.data(), 0, 0) != 0)
      return answer_of(-1);
  }
  return {};
}

Status BlockWorker::get(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    if (get_data(id_, static_cast<std::int32_t>(next() + 1), buffer_.data()) != 0)
      return answer_of(-1);
  }
  return {};
}

// All items have the one buffer, as the copies that they are compared with.
void BlockWorker::fill_list() {
  for (imss_block_io& item : list_) {
    item = {};
    item.block = static_cast<std::int32_t>(next() + 1);
    item.buffer = buffer_.data();
  }
}

Status BlockWorker::set_list(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    fill_list();
    if (set_datav(id_, list_.data(), kListBlocks) != 0) return answer_of(-1);
  }
  return {};
}

Status BlockWorker::get_list(std::uint64_t operations) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    fill_list();
    if (get_datav(id_, list_.data(), kListBlocks) != 0) return answer_of(-1);
  }
  return {};
}

Status BlockWorker::file_write_list(std::uint64_t operations) {
  std::array<iovec, kListBlocks> parts;
  parts.fill({buffer_.data(), buffer_.size()});
  for (std::uint64_t i = 0; i < operations; ++i) {
    const auto offset = static_cast<off_t>(next() * buffer_.size());
    for (std::uint64_t block = 1; block < kListBlocks; ++block) next();
    if (::pwritev(file_.fd(), parts.data(), kListBlocks, offset) < 0)
      return Status::from_errno(errno, "pwritev to tmpfs");
  }
  return {};
}

Status BlockWorker::file_read_list(std::uint64_t operations) {
  std::array<iovec, kListBlocks> parts;
  parts.fill({buffer_.data(), buffer_.size()});
  for (std::uint64_t i = 0; i < operations; ++i) {
    const auto offset = static_cast<off_t>(next() * buffer_.size());
    for (std::uint64_t block = 1; block < kListBlocks; ++block) next();
    if (::preadv(file_.fd(), parts.data(), kListBlocks, offset) < 0)
      return Status::from_errno(errno, "preadv from tmpfs");
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
