// Real servers whose listening ports, all of them, get what no client sends: garbage, beginnings,
// silence, crowds, sizes beyond every limit. They serve as before afterwards, have given back what
// it took, and have said why they closed connections.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "client/remote_names.h"
#include "client/remote_store.h"
#include "support/scratch.h"

extern char** environ;

namespace imss::server {
namespace {

constexpr int kLongMs = 60'000;
constexpr std::size_t kIdle = 1000;

template <typename Condition>
bool eventually(Condition condition) {
  const Deadline deadline = Deadline::from_now(kLongMs);
  while (!condition()) {
    if (deadline.expired()) return false;
    usleep(10'000);
  }
  return true;
}

// Where a server listens.
struct Place {
  std::uint32_t address = 0;  // as the kernel has it
  std::uint16_t port = 0;
  bool operator<(const Place& other) const { return port < other.port; }
};

// A TCP connection that says what it likes.
class Stranger {
 public:
  explicit Stranger(Place place) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(place.port);
    address.sin_addr.s_addr = place.address;
    timeval limit{5, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }
  Stranger(Stranger&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  Stranger& operator=(Stranger&&) = delete;
  ~Stranger() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool connected() const { return connected_; }
  void say(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // it was hung up on
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // What the other side says within a moment.
  std::string hear(std::size_t most) const {
    std::string heard(most, '\0');
    const ssize_t got = ::recv(fd_, heard.data(), heard.size(), 0);
    heard.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return heard;
  }
  // Ends with a reset instead of an orderly close.
  void break_off() {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
  bool connected_ = false;
};

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), bytes) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) == 0;
  ::close(fd);
  REQUIRE(bound);
  return ntohs(address.sin_port);
}

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The program `server`, killed at the end if it has not ended.
class Daemon {
 public:
  Daemon(const std::string& log, std::vector<std::string> words) : log_(log) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    constexpr int kReportFd = 3;
    words.insert(words.begin(), "server");
    words.insert(words.end(), {"--log", log, "--ready-fd", std::to_string(kReportFd)});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], kReportFd);
    REQUIRE(::posix_spawn(&pid_, IMSS_BIN_DIR "/server", &actions, nullptr, argv.data(), environ) ==
            0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    char report[512] = {};
    const ssize_t got = ::read(ends[0], report, sizeof(report) - 1);
    ::close(ends[0]);
    INFO(report << log_text());
    REQUIRE(got > 0);
    REQUIRE(std::string(report).starts_with("ready "));
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }
  // Ends as it does when it is asked to. The wait status.
  int end() {
    int status = -1;
    ::kill(pid_, SIGUSR1);
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }
  bool lives() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }
  std::string log_text() const { return content_of(log_); }
  std::size_t descriptors() const { return links().size(); }
  std::size_t memory_kib() const {
    const std::string status = content_of(path("status"));
    const std::size_t at = status.find("RssAnon:");
    return at == std::string::npos ? 0 : std::stoul(status.substr(at + 8));
  }
  std::vector<Place> listening() const {
    const std::set<std::string> mine = links();
    std::set<Place> places;
    std::istringstream lines(content_of(path("net/tcp")));
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string slot, local, remote, state, skip, inode;
      words >> slot >> local >> remote >> state;
      for (int i = 0; i < 5; ++i) words >> skip;
      words >> inode;
      if (state != "0A" || !mine.contains("socket:[" + inode + "]")) continue;
      Place place;
      place.address = static_cast<std::uint32_t>(std::stoul(local.substr(0, 8), nullptr, 16));
      place.port = static_cast<std::uint16_t>(std::stoul(local.substr(9), nullptr, 16));
      places.insert(place);
    }
    return {places.begin(), places.end()};
  }
  // For a check that fails.
  std::string story() const { return log_text() + (lives() ? "it lives" : "it is dead"); }

 private:
  std::string path(const std::string& file) const {
    return "/proc/" + std::to_string(pid_) + "/" + file;
  }
  // What its descriptors are, each different.
  std::set<std::string> links() const {
    std::set<std::string> all;
    DIR* const folder = ::opendir(path("fd").c_str());
    if (folder == nullptr) return all;
    while (const dirent* const entry = ::readdir(folder)) {
      char target[256] = {};
      const std::string name = path("fd/") + entry->d_name;
      if (::readlink(name.c_str(), target, sizeof(target) - 1) > 0)
        all.insert(std::string(target).starts_with("socket:")
                       ? target
                       : std::string(target) + " " + entry->d_name);
    }
    ::closedir(folder);
    return all;
  }

  const std::string log_;
  pid_t pid_ = -1;
};

struct World {
  World() {
    // For the crowds, also of the servers.
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
    const std::string name_port = std::to_string(names_port);
    metadata =
        std::make_unique<Daemon>(scratch.file("metadata.log"),
                                 std::vector<std::string>{"metadata", "--port", name_port, "--file",
                                                          scratch.file("metadata"), "--capacity",
                                                          "64MiB", "--address", "localhost"});
    data = std::make_unique<Daemon>(
        scratch.file("data.log"),
        std::vector<std::string>{"data", "--instance", "imss://h", "--port",
                                 std::to_string(blocks_port), "--metadata-port", name_port,
                                 "--capacity", "64MiB", "--address", "localhost"});
    auto made = net::Peers::make({});
    REQUIRE(made.ok());
    peers = *made;
    names = std::make_unique<client::RemoteNames>(peers, "localhost", names_port, 0);
    blocks = std::make_unique<client::RemoteStore>(peers, "localhost", blocks_port, 0);
  }
  // For clients that were there before, and for new ones.
  void require_service() {
    INFO("metadata server: " << metadata->story() << "\ndata server: " << data->story());
    Status outcome;
    // On a machine that is busy elsewhere a client may believe for a moment that a server is gone.
    CHECK(eventually([&] { return (outcome = use(*names, *blocks)).ok(); }));
    auto fresh = net::Peers::make({});
    REQUIRE(fresh.ok());
    client::RemoteNames new_names(*fresh, "localhost", names_port, 0);
    client::RemoteStore new_blocks(*fresh, "localhost", blocks_port, 0);
    CHECK(eventually([&] { return (outcome = use(new_names, new_blocks)).ok(); }));
    INFO(outcome.message());
    REQUIRE(outcome.ok());
  }
  static Status use(client::RemoteNames& by_names, client::RemoteStore& by_blocks) {
    IMSS_RETURN_IF_ERROR(by_names.instance("h").status());
    const std::vector<std::byte> content(100'000, std::byte{7});
    IMSS_RETURN_IF_ERROR(by_blocks.put({40, 1}, content).status());
    std::vector<std::byte> read(content.size());
    IMSS_RETURN_IF_ERROR(by_blocks.get({40, 1}, 0, read));
    return read == content ? Status() : Status(Code::kCorrupt, "other bytes than were put");
  }

  test::Scratch scratch;
  const std::uint16_t names_port = free_port();
  const std::uint16_t blocks_port = free_port();
  std::unique_ptr<Daemon> metadata;
  std::unique_ptr<Daemon> data;
  std::shared_ptr<net::Peers> peers;
  std::unique_ptr<client::RemoteNames> names;
  std::unique_ptr<client::RemoteStore> blocks;
};

std::string zeros(std::size_t count) { return std::string(count, '\0'); }

// Beginnings of the protocols that the ports speak, and of others; what follows is garbage.
std::vector<std::string> beginnings() {
  const std::string port_greeting =
      std::string("IMSP\x01", 5) + zeros(3) + std::string("\x07", 1) + zeros(7);
  const std::string zmq_greeting = "\xff" + zeros(8) + "\x7f\x03" + zeros(1) + "NULL" + zeros(48);
  const std::string zmq_ready = std::string("\x04\x19\x05READY\x0bSocket-Type", 20) + zeros(3) +
                                "\x06"
                                "DEALER";
  // A frame of more bytes than there is memory, and one of a message that never ends.
  const std::string zmq_oversized = zmq_greeting + zmq_ready + "\x02\x40" + zeros(7);
  const std::string zmq_endless = zmq_greeting + zmq_ready + "\x01\xff";
  return {"",
          "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
          port_greeting,
          port_greeting.substr(0, 9),
          zmq_greeting,
          zmq_greeting.substr(0, 20),
          zmq_greeting + zmq_ready,
          zmq_oversized,
          zmq_endless,
          std::string(64, '\xff')};
}

void attack(Place place, std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto garbage = [&](std::size_t bytes) {
    std::string text(bytes, '\0');
    for (char& c : text) c = static_cast<char>(random());
    return text;
  };
  std::vector<Stranger> half_open;
  for (const std::string& beginning : beginnings()) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100'000}}) {
      Stranger stranger(place);
      stranger.say(beginning + garbage(bytes));
      if (bytes == 1) {
        stranger.break_off();
      } else if (bytes == 0) {
        half_open.push_back(std::move(stranger));
      }
    }
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryTells = false;
#elif defined(__has_feature)
constexpr bool kMemoryTells = !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);
#else
constexpr bool kMemoryTells = true;
#endif

TEST_CASE("servers whose ports are abused serve as before and give back what it took") {
  World world;
  world.require_service();
  std::uint32_t seed = 1;
  for (Daemon* const daemon : {world.metadata.get(), world.data.get()}) {
    const std::vector<Place> places = daemon->listening();
    REQUIRE(places.size() >= 2);  // the control port and a worker's
    // What stays for good with the first strangers is not what leaks.
    for (const Place place : places) attack(place, seed++);
    world.require_service();
    const std::size_t descriptors = daemon->descriptors();
    const std::size_t memory_kib = daemon->memory_kib();
    for (const Place place : places) {
      INFO("port " << place.port);
      for (int round = 0; round < 10; ++round) attack(place, seed++);
      REQUIRE(daemon->lives());
      world.require_service();
      std::vector<Stranger> idle;
      for (std::size_t i = 0; i < kIdle; ++i) idle.emplace_back(place);
      CHECK(std::ranges::count_if(idle, &Stranger::connected) == std::ptrdiff_t{kIdle});
      REQUIRE(daemon->lives());
      world.require_service();
    }
    INFO(daemon->log_text());
    CHECK(eventually([&] { return daemon->descriptors() <= descriptors + 4; }));
    if (kMemoryTells) CHECK(daemon->memory_kib() < memory_kib + (32 << 10));
    const std::string log = daemon->log_text();
    CHECK(log.find("closes a connection whose other end") != std::string::npos);
    CHECK(log.find("it is no port of this system") != std::string::npos);
  }
  world.require_service();
  world.blocks.reset();
  world.names.reset();
  CHECK(world.data->end() == 0);
  CHECK(world.metadata->end() == 0);
}

}  // namespace
}  // namespace imss::server
