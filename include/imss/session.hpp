// Session and Instance: connecting to IMSS, deploying and opening instances, and their directories.
// Included through imss.hpp, which says how owners, errors and threads work.
#ifndef IMSS_SESSION_HPP_
#define IMSS_SESSION_HPP_

#include <imss/dataset.hpp>
#include <imss/result.hpp>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace imss {
inline namespace v1 {

enum class Deployment : std::uint32_t { kDetached = IMSS_DETACHED, kAttached = IMSS_ATTACHED };

// What happens to an instance when its owner here ends; see release_imss.
enum class ReleaseAs : std::uint32_t {
  kDisconnect = IMSS_DISCONNECT,
  kCloseDetached = IMSS_CLOSE_DETACHED,
  kCloseAttached = IMSS_CLOSE_ATTACHED
};

struct InstanceOptions {
  std::string uri;
  Deployment deployment = Deployment::kAttached;
  std::int32_t server_count = 1;
  std::uint16_t port = 5555;
  std::uint16_t metadata_port = 5569;
  std::uint64_t server_kib = 0;  // see init_imss, buff_size
  std::string hostfile;          // empty: this node
  std::string metadata_hostfile;
  std::string server_program;  // empty: the installed one
  ReleaseAs release_as = ReleaseAs::kCloseAttached;
};

// An open instance. Paths are relative to it: "a/b" is `imss://NAME/a/b`.
class Instance {
 public:
  Instance(Instance&& other) noexcept
      : uri_(std::move(other.uri_)),
        release_as_(other.release_as_),
        open_(std::exchange(other.open_, false)) {}
  Instance& operator=(Instance&& other) noexcept {
    if (this != &other) {
      close();
      uri_ = std::move(other.uri_);
      release_as_ = other.release_as_;
      open_ = std::exchange(other.open_, false);
    }
    return *this;
  }
  ~Instance() { close(); }

  const std::string& uri() const noexcept { return uri_; }
  std::string uri_of(std::string_view path) const { return uri_ + "/" + std::string(path); }

  Result<Dataset> try_create(std::string_view path, const DatasetOptions& options) const {
    return Dataset::try_create(uri_of(path), options);
  }
  Dataset create(std::string_view path, const DatasetOptions& options) const {
    return try_create(path, options).value();
  }
  Result<Dataset> try_open(std::string_view path) const { return Dataset::try_open(uri_of(path)); }
  Dataset open(std::string_view path) const { return try_open(path).value(); }

  Result<void> try_remove(std::string_view path) const {
    return with_uri(path, [](const char* uri) { return delete_dataset(uri); });
  }
  void remove(std::string_view path) const { try_remove(path).value(); }

  Result<void> try_rename(std::string_view from, std::string_view to) const {
    const std::string new_uri = uri_of(to);
    if (auto status = detail::check_uri(new_uri); !status) return status;
    return with_uri(from, [&](const char* uri) { return rename_dataset(uri, new_uri.c_str()); });
  }
  void rename(std::string_view from, std::string_view to) const { try_rename(from, to).value(); }

  Result<void> try_make_directory(std::string_view path, std::uint32_t mode = 0755) const {
    return with_uri(path, [mode](const char* uri) { return imss_mkdir(uri, mode); });
  }
  void make_directory(std::string_view path, std::uint32_t mode = 0755) const {
    try_make_directory(path, mode).value();
  }
  Result<void> try_remove_directory(std::string_view path) const {
    return with_uri(path, [](const char* uri) { return imss_rmdir(uri); });
  }
  void remove_directory(std::string_view path) const { try_remove_directory(path).value(); }

  // The URIs of what is in a directory, without the directory itself; those of directories end in
  // '/'.
  Result<std::vector<std::string>> try_list(std::string_view path = {}) const {
    const std::string uri = uri_of(path);
    if (auto status = detail::check_uri(uri); !status) return status.error();
    char* buffer = nullptr;
    char** items = nullptr;
    const std::uint32_t count = get_dir(uri.c_str(), &buffer, &items);
    if (count == UINT32_MAX) return Error::last();
    const std::unique_ptr<char, void (*)(void*)> buffer_owner(buffer, std::free);
    const std::unique_ptr<char*, void (*)(void*)> items_owner(items, std::free);
    std::vector<std::string> uris;
    uris.reserve(count);
    for (std::uint32_t index = 1; index < count; ++index) uris.emplace_back(items[index]);
    return uris;
  }
  std::vector<std::string> list(std::string_view path = {}) const { return try_list(path).value(); }

  Result<void> try_release() {
    open_ = false;
    return detail::check(release_imss(uri_.c_str(), static_cast<std::uint32_t>(release_as_)));
  }
  void release() { try_release().value(); }

 private:
  friend class Session;
  Instance(std::string uri, ReleaseAs release_as)
      : uri_(std::move(uri)), release_as_(release_as), open_(true) {}
  template <typename Call>
  Result<void> with_uri(std::string_view path, Call call) const {
    const std::string uri = uri_of(path);
    if (auto status = detail::check_uri(uri); !status) return status;
    return detail::check(call(uri.c_str()));
  }
  void close() noexcept {
    if (open_) release_imss(uri_.c_str(), static_cast<std::uint32_t>(release_as_));
    open_ = false;
  }

  std::string uri_;
  ReleaseAs release_as_;
  bool open_;
};

// The server that a process of the application runs in itself; see hercules_init.
struct AttachedServer {
  std::uint64_t capacity_bytes = std::uint64_t{64} << 20U;
  std::uint16_t port = 5555;
  bool runs_metadata = true;  // one rank does
  std::uint64_t metadata_kib = 0;
  std::string metadata_file;  // empty: nothing is kept
};

struct SessionOptions {
  std::uint32_t rank = 0;
  std::uint16_t metadata_port = 5569;
  std::string metadata_hostfile;         // empty: this node
  std::optional<AttachedServer> server;  // empty: a client of detached servers
};

// This process's connection to IMSS, with its attached server if it has one. At most one at a time.
class Session {
 public:
  static Result<Session> try_start(const SessionOptions& options) {
    Session session;
    if (options.server) {
      const AttachedServer& server = *options.server;
      auto status = detail::check(hercules_init(
          options.rank, server.capacity_bytes, server.port, server.runs_metadata ? 1 : 0,
          options.metadata_port, server.metadata_kib, detail::null_if_empty(server.metadata_file)));
      if (!status) return status.error();
      session.has_server_ = true;
    }
    auto status = detail::check(stat_init(detail::null_if_empty(options.metadata_hostfile),
                                          options.metadata_port, 1, options.rank));
    if (!status) return status.error();
    session.connected_ = true;
    return session;
  }
  static Session start(const SessionOptions& options) { return try_start(options).value(); }

  Session(Session&& other) noexcept
      : has_server_(std::exchange(other.has_server_, false)),
        connected_(std::exchange(other.connected_, false)) {}
  Session& operator=(Session&& other) noexcept {
    if (this != &other) {
      static_cast<void>(try_release());
      has_server_ = std::exchange(other.has_server_, false);
      connected_ = std::exchange(other.connected_, false);
    }
    return *this;
  }
  ~Session() { static_cast<void>(try_release()); }

  Result<Instance> try_deploy(const InstanceOptions& options) {
    if (auto status = detail::check_uri(options.uri); !status) return status.error();
    auto status = detail::check(
        init_imss(options.uri.c_str(), detail::null_if_empty(options.hostfile),
                  detail::null_if_empty(options.metadata_hostfile), options.server_count,
                  options.port, options.server_kib, static_cast<std::uint32_t>(options.deployment),
                  detail::null_if_empty(options.server_program), options.metadata_port));
    if (!status) return status.error();
    return Instance(options.uri, options.release_as);
  }
  Instance deploy(const InstanceOptions& options) { return try_deploy(options).value(); }

  Result<Instance> try_open(const std::string& uri, ReleaseAs release_as = ReleaseAs::kDisconnect) {
    if (auto status = detail::check_uri(uri); !status) return status.error();
    if (auto status = detail::check(open_imss(uri.c_str())); !status) return status.error();
    return Instance(uri, release_as);
  }
  Instance open(const std::string& uri, ReleaseAs release_as = ReleaseAs::kDisconnect) {
    return try_open(uri, release_as).value();
  }

  // Ends both parts, also when the first reports an error, which is then the result.
  Result<void> try_release() {
    Result<void> status;
    if (std::exchange(connected_, false)) status = detail::check(stat_release());
    if (std::exchange(has_server_, false)) {
      auto server_status = detail::check(hercules_release());
      if (status) status = std::move(server_status);
    }
    return status;
  }
  void release() { try_release().value(); }

 private:
  Session() = default;
  bool has_server_ = false;
  bool connected_ = false;
};

}  // namespace v1
}  // namespace imss

#endif  // IMSS_SESSION_HPP_
