// Dataset and what one gets from it: views, requests and typed elements. Included through imss.hpp,
// which says how owners, errors and threads work.
#ifndef IMSS_DATASET_HPP_
#define IMSS_DATASET_HPP_

#include <imss/result.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace imss {
inline namespace v1 {

// One block in the store's own memory, pinned: the bytes stay as imss_view says until release.
class BlockView {
 public:
  BlockView() = default;
  BlockView(BlockView&& other) noexcept : view_(std::exchange(other.view_, {})) {}
  BlockView& operator=(BlockView&& other) noexcept {
    if (this != &other) {
      static_cast<void>(try_release());
      view_ = std::exchange(other.view_, {});
    }
    return *this;
  }
  ~BlockView() { static_cast<void>(try_release()); }

  std::span<const std::byte> bytes() const noexcept {
    return {static_cast<const std::byte*>(view_.data), view_.size};
  }
  std::uint64_t version() const noexcept { return view_.version; }

  // The block as elements of T; bytes after the last whole element do not show.
  // Errors: EINVAL the block does not begin at an address that is aligned for T.
  template <typename T>
  Result<std::span<const T>> try_view_as() const {
    static_assert(std::is_trivially_copyable_v<T>, "elements are stored as bytes");
    if (reinterpret_cast<std::uintptr_t>(view_.data) % alignof(T) != 0) {
      return Error(EINVAL, "the block is not aligned for this element type");
    }
    return std::span<const T>(static_cast<const T*>(view_.data), view_.size / sizeof(T));
  }
  template <typename T>
  std::span<const T> view_as() const {
    return try_view_as<T>().value();
  }

  Result<void> try_release() {
    if (view_.data == nullptr) return {};
    imss_block_view ended = std::exchange(view_, {});
    return detail::check(imss_view_release(&ended));
  }
  void release() { try_release().value(); }

 private:
  friend class Dataset;
  explicit BlockView(const imss_block_view& view) : view_(view) {}
  imss_block_view view_{};
};

// The future of an asynchronous operation. The buffer given to the operation must live until wait()
// has returned, ready() has returned true or the Request is destroyed, which waits.
class [[nodiscard]] Request {
 public:
  Request(Request&& other) noexcept : request_(std::exchange(other.request_, nullptr)) {}
  Request& operator=(Request&& other) noexcept {
    if (this != &other) {
      finish();
      request_ = std::exchange(other.request_, nullptr);
    }
    return *this;
  }
  ~Request() { finish(); }

  // Waits and gives the operation's result. Errors: EINVAL it was given before.
  Result<void> try_wait() { return detail::check(imss_wait(&request_)); }
  void wait() { try_wait().value(); }

  // Whether the operation is complete; its result is given when it is, and then only once.
  Result<bool> try_ready() {
    std::int32_t done = 0;
    if (auto status = detail::check(imss_test(&request_, &done)); !status) return status.error();
    return done != 0;
  }
  bool ready() { return try_ready().value(); }

 private:
  friend class Dataset;
  explicit Request(imss_request* request) : request_(request) {}
  void finish() noexcept {
    if (request_ != nullptr) imss_wait(&request_);
  }
  imss_request* request_;
};

struct DatasetOptions {
  std::string policy = "RR";
  std::uint64_t block_count = 1;
  std::uint64_t block_bytes = std::uint64_t{1} << 20U;  // a multiple of 1024, at most 64 MiB
  std::uint64_t content_bytes = 0;                      // size of the dataset; 0: all blocks
  std::int32_t copies = 1;
  std::int32_t server_count = 0;  // 0: all of the instance
  std::uint32_t mode = 0644;
};

// An open dataset. Blocks are numbered from 1 to block_count().
class Dataset {
 public:
  static Result<Dataset> try_create(const std::string& uri, const DatasetOptions& options) {
    if (auto status = detail::check_uri(uri); !status) return status.error();
    imss_dataset_options raw{};
    raw.struct_size = sizeof raw;
    raw.policy = options.policy.c_str();
    raw.block_count = options.block_count;
    raw.block_size_bytes = options.block_bytes;
    raw.size_bytes = options.content_bytes;
    raw.repl_factor = options.copies;
    raw.n_servers = options.server_count;
    raw.mode = options.mode;
    return own(create_dataset_opt(uri.c_str(), &raw));
  }
  static Dataset create(const std::string& uri, const DatasetOptions& options) {
    return try_create(uri, options).value();
  }
  static Result<Dataset> try_open(const std::string& uri) {
    if (auto status = detail::check_uri(uri); !status) return status.error();
    return own(open_dataset(uri.c_str()));
  }
  static Dataset open(const std::string& uri) { return try_open(uri).value(); }

  Dataset(Dataset&& other) noexcept
      : id_(std::exchange(other.id_, -1)),
        block_bytes_(other.block_bytes_),
        block_count_(other.block_count_) {}
  Dataset& operator=(Dataset&& other) noexcept {
    if (this != &other) {
      close();
      id_ = std::exchange(other.id_, -1);
      block_bytes_ = other.block_bytes_;
      block_count_ = other.block_count_;
    }
    return *this;
  }
  ~Dataset() { close(); }

  std::int32_t id() const noexcept { return id_; }  // for calls of imss.h
  std::size_t block_bytes() const noexcept { return block_bytes_; }
  std::int32_t block_count() const noexcept { return block_count_; }

  // Copies a whole block to the front of `out`. Errors: EINVAL `out` is smaller than a block.
  Result<void> try_get(std::int32_t block, std::span<std::byte> out) const {
    if (auto status = check_buffer(out.size()); !status) return status;
    if (auto status = check_block(block); !status) return status;
    return detail::check(get_data(id_, block, out.data()));
  }
  void get(std::int32_t block, std::span<std::byte> out) const { try_get(block, out).value(); }

  // Replaces a whole block, atomically; where `data` is shorter, zeros follow it.
  // Errors: EINVAL `data` is empty or larger than a block.
  Result<void> try_set(std::int32_t block, std::span<const std::byte> data) const {
    if (data.size() == block_bytes_) {
      return detail::check(set_data(id_, block, data.data(), 0, 0));
    }
    if (data.size() > block_bytes_) return Error(EINVAL, "the data are larger than a block");
    return detail::check(
        set_ndata(id_, block, data.data(), static_cast<std::uint32_t>(data.size())));
  }
  void set(std::int32_t block, std::span<const std::byte> data) const {
    try_set(block, data).value();
  }

  // Copies out.size() bytes of a block, from byte `offset` on. An empty range does nothing.
  Result<void> try_read(std::int32_t block, std::size_t offset, std::span<std::byte> out) const {
    if (out.empty()) return {};
    return detail::check(get_ndata(id_, block, out.data(), out.size(), static_cast<off_t>(offset)));
  }
  void read(std::int32_t block, std::size_t offset, std::span<std::byte> out) const {
    try_read(block, offset, out).value();
  }

  // Writes data.size() bytes in place, from byte `offset` of the block on. An empty range does
  // nothing.
  Result<void> try_write(std::int32_t block, std::size_t offset,
                         std::span<const std::byte> data) const {
    if (data.empty()) return {};
    return detail::check(
        set_data(id_, block, data.data(), data.size(), static_cast<off_t>(offset)));
  }
  void write(std::int32_t block, std::size_t offset, std::span<const std::byte> data) const {
    try_write(block, offset, data).value();
  }

  Result<BlockView> try_view(std::int32_t block) const {
    imss_block_view raw{};
    if (auto status = detail::check(imss_view(id_, block, &raw)); !status) return status.error();
    return BlockView(raw);
  }
  BlockView view(std::int32_t block) const { return try_view(block).value(); }

  // As get and set of a whole block, started here and completed by the Request.
  // Errors: EINVAL the buffer is smaller (get), or not as large (set) as a block.
  Result<Request> try_get_async(std::int32_t block, std::span<std::byte> out) const {
    if (auto status = check_buffer(out.size()); !status) return status.error();
    if (auto status = check_block(block); !status) return status.error();
    return own_request(iget_data(id_, block, out.data()));
  }
  Request get_async(std::int32_t block, std::span<std::byte> out) const {
    return try_get_async(block, out).value();
  }
  Result<Request> try_set_async(std::int32_t block, std::span<const std::byte> data) const {
    if (data.size() != block_bytes_) return Error(EINVAL, "the data are not as large as a block");
    return own_request(iset_data(id_, block, data.data(), 0, 0));
  }
  Request set_async(std::int32_t block, std::span<const std::byte> data) const {
    return try_set_async(block, data).value();
  }

  // Lists of blocks, as get_datav and set_datav; result_errno of each item is written.
  Result<void> try_get_list(std::span<imss_block_io> list) const {
    if (auto status = check_list(list.size()); !status || list.empty()) return status;
    return detail::check(get_datav(id_, list.data(), static_cast<std::int32_t>(list.size())));
  }
  void get_list(std::span<imss_block_io> list) const { try_get_list(list).value(); }
  Result<void> try_set_list(std::span<imss_block_io> list) const {
    if (auto status = check_list(list.size()); !status || list.empty()) return status;
    return detail::check(set_datav(id_, list.data(), static_cast<std::int32_t>(list.size())));
  }
  void set_list(std::span<imss_block_io> list) const { try_set_list(list).value(); }

  Result<imss_inner_metadata> try_metadata() const {
    imss_inner_metadata metadata{};
    if (auto status = detail::check(get_data(id_, 0, &metadata)); !status) return status.error();
    return metadata;
  }
  imss_inner_metadata metadata() const { return try_metadata().value(); }

  Result<void> try_release() { return detail::check(release_dataset(std::exchange(id_, -1))); }
  void release() { try_release().value(); }

 private:
  explicit Dataset(std::int32_t id) : id_(id) {}

  static Result<Dataset> own(std::int32_t id) {
    if (id < 0) return Error::last();
    Dataset dataset(id);
    auto metadata = dataset.try_metadata();
    if (!metadata) return metadata.error();
    dataset.block_bytes_ = static_cast<std::size_t>(metadata.value().block_size_bytes);
    dataset.block_count_ = static_cast<std::int32_t>(metadata.value().block_count);
    return dataset;
  }
  static Result<Request> own_request(imss_request* request) {
    if (request == nullptr) return Error::last();
    return Request(request);
  }
  Result<void> check_buffer(std::size_t size) const {
    if (size >= block_bytes_) return {};
    return Error(EINVAL, "the buffer is smaller than a block");
  }
  static Result<void> check_list(std::size_t size) {
    if (size <= IMSS_BLOCK_LIST_MAX) return {};
    return Error(EINVAL, "the list has too many items");
  }
  // Block 0 has another size, so it has a call of its own.
  static Result<void> check_block(std::int32_t block) {
    if (block != 0) return {};
    return Error(EINVAL, "block 0 is the inner metadata: use metadata()");
  }
  void close() noexcept {
    if (id_ >= 0) release_dataset(std::exchange(id_, -1));
  }

  std::int32_t id_;
  std::size_t block_bytes_ = 0;
  std::int32_t block_count_ = 0;
};

// A block shown as elements; owns the view.
template <typename T>
class TypedView {
 public:
  const T& operator[](std::size_t index) const { return elements_[index]; }
  std::size_t size() const noexcept { return elements_.size(); }
  auto begin() const noexcept { return elements_.begin(); }
  auto end() const noexcept { return elements_.end(); }
  std::span<const T> elements() const noexcept { return elements_; }
  std::uint64_t version() const noexcept { return view_.version(); }

 private:
  template <typename U>
  friend class TypedDataset;
  TypedView(BlockView view, std::span<const T> elements)
      : view_(std::move(view)), elements_(elements) {}
  BlockView view_;
  std::span<const T> elements_;
};

// A dataset whose blocks are arrays of T.
template <typename T>
class TypedDataset {
  static_assert(std::is_trivially_copyable_v<T>, "elements are stored as bytes");

 public:
  // Errors: EINVAL a block is not a whole number of elements.
  static Result<TypedDataset> try_from(Dataset dataset) {
    if (dataset.block_bytes() % sizeof(T) != 0) {
      return Error(EINVAL, "a block is not a whole number of elements");
    }
    return TypedDataset(std::move(dataset));
  }
  static TypedDataset from(Dataset dataset) { return try_from(std::move(dataset)).value(); }

  std::size_t elements_per_block() const noexcept { return dataset_.block_bytes() / sizeof(T); }
  std::int32_t block_count() const noexcept { return dataset_.block_count(); }
  const Dataset& dataset() const noexcept { return dataset_; }

  Result<void> try_get(std::int32_t block, std::span<T> out) const {
    return dataset_.try_get(block, std::as_writable_bytes(out));
  }
  void get(std::int32_t block, std::span<T> out) const { try_get(block, out).value(); }
  std::vector<T> get(std::int32_t block) const {
    std::vector<T> elements(elements_per_block());
    get(block, std::span<T>(elements));
    return elements;
  }

  Result<void> try_set(std::int32_t block, std::span<const T> elements) const {
    return dataset_.try_set(block, std::as_bytes(elements));
  }
  void set(std::int32_t block, std::span<const T> elements) const {
    try_set(block, elements).value();
  }

  Result<TypedView<T>> try_view(std::int32_t block) const {
    auto view = dataset_.try_view(block);
    if (!view) return view.error();
    auto elements = view.value().template try_view_as<T>();
    if (!elements) return elements.error();
    return TypedView<T>(std::move(view).value(), elements.value());
  }
  TypedView<T> view(std::int32_t block) const { return try_view(block).value(); }

 private:
  explicit TypedDataset(Dataset dataset) : dataset_(std::move(dataset)) {}
  Dataset dataset_;
};

}  // namespace v1
}  // namespace imss

#endif  // IMSS_DATASET_HPP_
