#include "bench_references.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/clock.h"
#include "base/size.h"
#include "base/text.h"
#include "bench_race.h"
#include "bench_worker.h"

namespace imss::bench {
namespace {

constexpr int kStartMs = 5000;
constexpr std::uint64_t kWorkingSet = 64 << 20;

// A server program that runs until this object goes.
class Program {
 public:
  explicit Program(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    child_ = ::fork();
    if (child_ != 0) return;
    const int nowhere = ::open("/dev/null", O_RDWR);
    for (const int fd : {0, 1, 2}) ::dup2(nowhere, fd);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ~Program() {
    if (child_ <= 0) return;
    ::kill(child_, SIGTERM);
    ::waitpid(child_, nullptr, 0);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  bool ended() {
    if (child_ > 0 && ::waitpid(child_, nullptr, WNOHANG) == child_) child_ = -1;
    return child_ <= 0;
  }

 private:
  pid_t child_ = -1;
};

// A connection that reads lines and blocks. The two protocols differ in little more than words.
class Connection {
 public:
  explicit Connection(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~Connection() { ::close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  bool connected() const { return connected_; }

  Status send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::write(fd_, text.data(), text.size());
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return Status::from_errno(errno, "write to a reference server");
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
  }
  Status read_line(std::string* line) {
    line->clear();
    for (;;) {
      const auto end = std::find(input_ + begin_, input_ + end_, '\n');
      line->append(input_ + begin_, end);
      begin_ = static_cast<std::size_t>(end - input_);
      if (begin_ < end_) {
        ++begin_;
        return {};
      }
      IMSS_RETURN_IF_ERROR(fill());
    }
  }
  Status read_block(std::span<std::byte> out) {
    while (!out.empty()) {
      if (begin_ == end_) IMSS_RETURN_IF_ERROR(fill());
      const std::size_t here = std::min(out.size(), end_ - begin_);
      std::memcpy(out.data(), input_ + begin_, here);
      begin_ += here;
      out = out.subspan(here);
    }
    return {};
  }

 private:
  Status fill() {
    begin_ = end_ = 0;
    const ssize_t got = ::read(fd_, input_, sizeof(input_));
    if (got <= 0) return Status(Code::kIo, "a reference server closed the connection");
    end_ = static_cast<std::size_t>(got);
    return {};
  }

  int fd_;
  bool connected_ = false;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  char input_[128 << 10];
};

enum class Protocol { kRedis, kMemcached };

class KeyValueClient {
 public:
  KeyValueClient(Protocol protocol, const std::string& path, std::uint64_t block_bytes)
      : protocol_(protocol), connection_(path), block_(block_bytes, std::byte{7}) {}
  bool connected() const { return connection_.connected(); }

  Status set(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) IMSS_RETURN_IF_ERROR(set_one(next_key()));
    return {};
  }
  Status get(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) IMSS_RETURN_IF_ERROR(get_one(next_key()));
    return {};
  }
  std::uint64_t keys() const { return kWorkingSet / block_.size(); }

 private:
  std::string next_key() { return concat("b", std::to_string(position_++ % keys())); }

  Status set_one(const std::string& key) {
    const std::string bytes = std::to_string(block_.size());
    if (protocol_ == Protocol::kRedis) {
      request_ = concat("*3\r\n$3\r\nSET\r\n$", std::to_string(key.size()), "\r\n", key, "\r\n$",
                        bytes, "\r\n");
    } else {
      request_ = concat("set ", key, " 0 0 ", bytes, "\r\n");
    }
    request_.append(reinterpret_cast<const char*>(block_.data()), block_.size()).append("\r\n");
    IMSS_RETURN_IF_ERROR(connection_.send(request_));
    IMSS_RETURN_IF_ERROR(connection_.read_line(&line_));
    const bool stored = line_.starts_with(protocol_ == Protocol::kRedis ? "+OK" : "STORED");
    return stored ? Status() : Status(Code::kIo, "a reference server answered " + line_);
  }

  Status get_one(const std::string& key) {
    if (protocol_ == Protocol::kRedis) {
      request_ = concat("*2\r\n$3\r\nGET\r\n$", std::to_string(key.size()), "\r\n", key, "\r\n");
    } else {
      request_ = concat("get ", key, "\r\n");
    }
    IMSS_RETURN_IF_ERROR(connection_.send(request_));
    IMSS_RETURN_IF_ERROR(connection_.read_line(&line_));
    if (!line_.ends_with(std::to_string(block_.size()) + "\r")) {
      return Status(Code::kIo, "a reference server answered " + line_);
    }
    IMSS_RETURN_IF_ERROR(connection_.read_block(block_));
    IMSS_RETURN_IF_ERROR(connection_.read_line(&line_));
    return protocol_ == Protocol::kRedis ? Status() : connection_.read_line(&line_);  // "END"
  }

  const Protocol protocol_;
  Connection connection_;
  std::vector<std::byte> block_;
  std::uint64_t position_ = 0;
  std::string request_;
  std::string line_;
};

Result<std::shared_ptr<KeyValueClient>> connect_to(Program& program, Protocol protocol,
                                                   const std::string& path, std::uint64_t bytes) {
  const Deadline deadline = Deadline::from_now(kStartMs);
  while (!program.ended() && !deadline.expired()) {
    auto connection = std::make_shared<KeyValueClient>(protocol, path, bytes);
    if (connection->connected()) return connection;
    ::usleep(1000);
  }
  return Status(Code::kNotFound);
}

Row reference_row(const char* verb, const char* name, std::uint64_t bytes,
                  const RaceResult& result) {
  Row row;
  row.group = std::string("Blocks against ") + name + " over a Unix socket";
  row.operation = std::string(verb) + " " + format_size(bytes);
  row.setting = "1 thread";
  row.bytes = bytes;
  row.reference = name;
  row.rate = result.rates[0];
  row.reference_rate = result.rates[1];
  row.reference_ratio = result.ratios[1];
  return row;
}

struct Server {
  Protocol protocol;
  const char* name;
  std::vector<std::string> command;
  std::string socket;
};

Status measure_one(const BenchStore& store, const Server& server, std::uint64_t bytes,
                   unsigned rounds, Report& report) {
  Program program(server.command);
  auto connection = connect_to(program, server.protocol, server.socket, bytes);
  if (!connection.ok()) {
    report.note(std::string(server.name) +
                " is not installed or does not start: left out (bench/install_references.sh)");
    return {};
  }
  IMSS_RETURN_IF_ERROR((*connection)->set((*connection)->keys()));
  BlockCase wanted;
  wanted.block_bytes = bytes;
  IMSS_ASSIGN_OR_RETURN(const std::shared_ptr<BlockWorker> worker,
                        BlockWorker::make(store, wanted, 0));
  IMSS_RETURN_IF_ERROR(worker->create(kWorkingSet / bytes));
  IMSS_RETURN_IF_ERROR(worker->populate());
  RaceOptions options;
  options.rounds = rounds;
  const auto sets = run_race(options, [&](unsigned) -> Result<std::vector<Contender>> {
    return std::vector<Contender>{
        {"set", [&](std::uint64_t n) { return worker->set(n); }, {}},
        {server.name, [&](std::uint64_t n) { return (*connection)->set(n); }, {}}};
  });
  if (!sets.ok()) return sets.status();
  const auto gets = run_race(options, [&](unsigned) -> Result<std::vector<Contender>> {
    return std::vector<Contender>{
        {"get", [&](std::uint64_t n) { return worker->get(n); }, {}},
        {server.name, [&](std::uint64_t n) { return (*connection)->get(n); }, {}}};
  });
  if (!gets.ok()) return gets.status();
  report.add(reference_row("set", server.name, bytes, *sets));
  report.add(reference_row("get", server.name, bytes, *gets));
  return {};
}

}  // namespace

Status measure_references(const BenchStore& store, const std::vector<std::uint64_t>& sizes,
                          unsigned rounds, Report& report) {
  const std::string redis = store.folder() + "/redis.sock";
  const std::string memcached = store.folder() + "/memcached.sock";
  const std::vector<Server> servers = {
      {Protocol::kRedis,
       "redis",
       {"redis-server", "--port", "0", "--unixsocket", redis, "--save", "", "--appendonly", "no",
        "--dir", store.folder()},
       redis},
      {Protocol::kMemcached,
       "memcached",
       {"memcached", "-s", memcached, "-m", "1024", "-t", "1", "-u",
        ::geteuid() == 0 ? "root" : "nobody"},
       memcached}};
  for (const Server& server : servers) {
    for (const std::uint64_t bytes : sizes) {
      report.progress(std::string(server.name) + ", " + format_size(bytes));
      IMSS_RETURN_IF_ERROR(measure_one(store, server, bytes, rounds, report));
    }
  }
  return {};
}

}  // namespace imss::bench
