// Random operations of several clients over one metadata server and two data servers, with clients
// and the servers' process killed again and again. Each client has a part of its own, compared with
// a model that outlives it, and a part that all share. Ends with a check of everything stored and
// of every segment.
//
//   model_test [--operations N] [--clients N] [--seed N]
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "model_client.h"
#include "model_servers.h"

namespace {

struct Options {
  std::uint64_t operations = 100'000;
  std::uint32_t clients = 3;
  std::uint64_t seed = std::random_device{}();
};

constexpr std::uint64_t kStepsPerDeath = 1500;  // of a client, on average
constexpr int kDeathsPerServerDeath = 5;
constexpr int kConnectMs = 30'000;

// Runs as a child until it is killed. Tells by the pipe that it serves.
[[noreturn]] void serve(int ready) {
  auto servers = model::Servers::start();
  if (!servers.ok())
    std::fprintf(stderr, "the servers do not start: %s\n", servers.status().message().c_str());
  const char answer = servers.ok() ? 'y' : 'n';
  [[maybe_unused]] const auto written = ::write(ready, &answer, 1);
  ::close(ready);
  for (;;) ::pause();
}

// 0 when the servers did not start.
pid_t start_servers() {
  int ends[2];
  if (::pipe(ends) != 0) return 0;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    serve(ends[1]);
  }
  ::close(ends[1]);
  char answer = 'n';
  [[maybe_unused]] const auto got = ::read(ends[0], &answer, 1);
  ::close(ends[0]);
  return answer == 'y' ? child : 0;
}

[[noreturn]] void run_client(model::Journal& journal, std::uint32_t number, std::uint64_t seed,
                             std::uint64_t until) {
  // The servers may just be killed and started again.
  const imss::Deadline deadline = imss::Deadline::from_now(kConnectMs);
  auto session = model::connect();
  while (session.code() == imss::Code::kNotInitialized && !deadline.expired())
    session = model::connect();
  if (!session.ok()) {
    std::snprintf(journal.failure, sizeof(journal.failure), "%s",
                  session.status().message().c_str());
    ::_exit(1);
  }
  model::Client client(**session, journal, number, seed);
  if (!client.take_over()) ::_exit(1);
  const std::uint64_t lifetime = journal.operations.load() + 1 + seed % (2 * kStepsPerDeath);
  while (journal.operations.load() < until) {
    // More than once, as not every operation comes to the point where it would die.
    const std::uint64_t now = journal.operations.load();
    if (!client.step(now >= lifetime && (now - lifetime) % 32 == 0)) ::_exit(1);
  }
  session->reset();
  ::_exit(0);
}

class Run {
 public:
  explicit Run(const Options& options) : options_(options), random_(options.seed) {
    void* memory = ::mmap(nullptr, options.clients * sizeof(model::Journal), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    journals_ = static_cast<model::Journal*>(memory);
    for (std::uint32_t i = 0; i < options.clients; ++i) new (journals_ + i) model::Journal();
    clients_.resize(options.clients);
  }

  bool run() {
    server_ = start_servers();
    if (server_ == 0) return false;
    for (std::uint32_t i = 0; i < options_.clients; ++i) start_client(i);
    std::uint32_t running = options_.clients;
    bool good = true;
    while (running > 0) {
      int status = 0;
      const pid_t ended = ::wait(&status);
      if (ended < 0) return false;
      if (ended == server_) return say("the servers died by themselves");
      const std::uint32_t number = number_of(ended);
      if (number == options_.clients) continue;
      if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGALRM)) {
        ++deaths_;
        if (good && deaths_ % kDeathsPerServerDeath == 0 && !restart_servers()) return false;
        if (good) {
          start_client(number);
          continue;
        }
      } else if (status != 0) {
        if (WIFSIGNALED(status))
          say("client " + std::to_string(number) + " crashed with signal " +
              std::to_string(WTERMSIG(status)));
        say(journals_[number].failure);
        good = false;
        for (const pid_t other : clients_) {
          if (other > 0 && other != ended) ::kill(other, SIGKILL);
        }
      }
      clients_[number] = 0;
      --running;
    }
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
    return final_check(good);
  }

 private:
  static bool say(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    return false;
  }

  std::uint32_t number_of(pid_t pid) const {
    std::uint32_t number = 0;
    while (number < options_.clients && clients_[number] != pid) ++number;
    return number;
  }

  void start_client(std::uint32_t number) {
    const std::uint64_t seed = random_();
    const pid_t child = ::fork();
    if (child == 0)
      run_client(journals_[number], number, seed, options_.operations / options_.clients);
    clients_[number] = child;
  }

  bool restart_servers() {
    ++server_deaths_;
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
    server_ = start_servers();
    return server_ != 0;
  }

  bool final_check(bool good) {
    auto servers = model::Servers::start();
    if (!servers.ok()) return say(servers.status().message());
    auto session = model::connect();
    if (!session.ok()) return say(session.status().message());
    const auto require = [&](const std::string& wrong) { return wrong.empty() || say(wrong); };
    const auto status_of = [](const imss::Status& status) { return status.message(); };
    good = require(status_of((*servers)->settle(**session))) && good;
    for (std::uint32_t i = 0; good && i < options_.clients; ++i) {
      model::Client client(**session, journals_[i], i, 0);
      good = client.take_over() || say(journals_[i].failure);
    }
    good = good && require(model::verify_shared(**session));
    good = require((*servers)->check()) && good;
    // With everything removed nothing must be stored any more.
    good = require(status_of((*session)->destroy_instance(model::kInstance))) && good;
    if ((*servers)->blocks() != 0) {
      good = say(std::to_string((*servers)->blocks()) +
                 " blocks or inodes are stored and belong to nothing");
    }
    good = require((*servers)->check()) && good;
    session->reset();
    (*servers)->retire();
    std::uint64_t operations = 0;
    for (std::uint32_t i = 0; i < options_.clients; ++i)
      operations += journals_[i].operations.load();
    std::printf("%llu operations, %d clients and %d times the servers killed: %s\n",
                static_cast<unsigned long long>(operations), deaths_, server_deaths_,
                good ? "no difference" : "WRONG");
    return good;
  }

  Options options_;
  std::mt19937_64 random_;
  model::Journal* journals_ = nullptr;
  std::vector<pid_t> clients_;
  pid_t server_ = 0;
  int deaths_ = 0;
  int server_deaths_ = 0;
};

bool read_options(int count, char** arguments, Options* options) {
  for (int i = 1; i + 1 < count; i += 2) {
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(arguments[i + 1], &end, 10);
    if (*end != '\0') return false;
    if (std::strcmp(arguments[i], "--operations") == 0) {
      options->operations = value;
    } else if (std::strcmp(arguments[i], "--clients") == 0 && value >= 1 && value <= 16) {
      options->clients = static_cast<std::uint32_t>(value);
    } else if (std::strcmp(arguments[i], "--seed") == 0) {
      options->seed = value;
    } else {
      return false;
    }
  }
  return count % 2 == 1;
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  if (!read_options(count, arguments, &options)) {
    std::fprintf(stderr, "usage: model_test [--operations N] [--clients 1..16] [--seed N]\n");
    return 2;
  }
  std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  const std::string folder = "/dev/shm/imss-model-" + std::to_string(::getpid());
  if (::mkdir(folder.c_str(), 0700) != 0) return 2;
  ::setenv("IMSS_SHM_DIR", folder.c_str(), 1);
  const bool good = Run(options).run();
  if (::rmdir(folder.c_str()) != 0)
    std::fprintf(stderr, "segments are left in %s\n", folder.c_str());
  return good ? 0 : 1;
}
