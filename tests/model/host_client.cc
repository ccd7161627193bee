// One client of the model test on a host of its own, with servers elsewhere that are killed,
// stopped and cut off: random operations, each of which must end in time, compared with a model
// that outlives the client. Until SIGTERM; then the trouble must be over, and everything is
// compared once more.
//
//   model_host_client --host METADATA_HOST --number N [--seed N]
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <string>

#include "base/clock.h"
#include "model_client.h"
#include "segment/segment.h"

namespace {

constexpr int kOperationMs = 5'000;  // the deadline that every call is given
constexpr int kStepMs =
    3 * kOperationMs;                // a step makes several calls, of which one ends with an error
constexpr int kPatienceMs = 90'000;  // for the servers to come back
constexpr std::uint64_t kStepsPerDeath = 400;

struct Options {
  std::string host;
  std::uint32_t number = 0;
  std::uint64_t seed = std::random_device{}();
};

// Shared by a client and those that come in its place.
struct Memory {
  model::Journal journal;
  std::atomic<bool> finish{false};
  std::atomic<std::uint64_t> troubles{0};
  std::atomic<std::int64_t> longest_ms{0};
};

Memory* memory = nullptr;

bool fail(const std::string& what) {
  std::snprintf(memory->journal.failure, sizeof(memory->journal.failure), "%s", what.c_str());
  return false;
}

imss::Result<std::unique_ptr<imss::client::Session>> connect(const std::string& host) {
  imss::client::ConnectOptions options;
  options.hosts = {imss::Host{host, 0}};
  const imss::Deadline patience = imss::Deadline::from_now(kPatienceMs);
  for (;;) {
    auto session = imss::client::Session::connect(options);
    if (session.ok() || patience.expired()) return session;
    ++memory->troubles;
  }
}

bool recover(model::Client& client) {
  ++memory->troubles;
  return client.recover(imss::Deadline::from_now(kPatienceMs));
}

bool timed_step(model::Client& client, bool deadly) {
  const std::int64_t begun = imss::monotonic_ns();
  const bool good = client.step(deadly);
  const std::int64_t took_ms = (imss::monotonic_ns() - begun) / 1'000'000;
  if (took_ms > memory->longest_ms.load()) memory->longest_ms.store(took_ms);
  if (took_ms > kStepMs) return fail("an operation took " + std::to_string(took_ms) + " ms");
  return good || (client.troubled() && recover(client));
}

// What a client had asked of a server when it died may be executed until its deadline, and no later.
bool run(const Options& options, std::uint64_t seed, imss::Deadline last_request) {
  imss::segment::set_deadline_ms(kOperationMs);
  while (memory->journal.undecided() && !last_request.expired()) ::usleep(10'000);
  auto session = connect(options.host);
  if (!session.ok()) return fail("no connection: " + session.status().message());
  model::Client client(**session, memory->journal, options.number, seed);
  client.expect_trouble();
  if (!client.take_over() && !(client.troubled() && recover(client))) return false;
  const std::uint64_t first = memory->journal.operations.load();
  const std::uint64_t lifetime = first + 1 + seed % (2 * kStepsPerDeath);
  while (!memory->finish.load()) {
    const std::uint64_t now = memory->journal.operations.load();
    if (!timed_step(client, now >= lifetime && (now - lifetime) % 32 == 0)) return false;
  }
  return client.recover(imss::Deadline::from_now(kPatienceMs));
}

void stop(int) { memory->finish.store(true); }

// Clients one after the other, until one ends in peace or finds a difference.
int supervise(const Options& options) {
  std::mt19937_64 random(options.seed);
  imss::Deadline last_request = imss::Deadline::from_now(0);
  for (int deaths = 0;; ++deaths) {
    const std::uint64_t seed = random();
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGTERM, SIG_IGN);
      ::_exit(run(options, seed, last_request) ? 0 : 1);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0) {
    }
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGALRM)) {
      last_request = imss::Deadline::from_now(kOperationMs);
      continue;
    }
    const bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    std::printf(
        "client %u: %llu operations, killed %d times, trouble %llu times, longest step %lld ms: "
        "%s\n",
        options.number, static_cast<unsigned long long>(memory->journal.operations.load()), deaths,
        static_cast<unsigned long long>(memory->troubles.load()),
        static_cast<long long>(memory->longest_ms.load()),
        good ? "no difference" : memory->journal.failure);
    if (!good) std::fputs(memory->journal.tell_history().c_str(), stdout);
    if (WIFSIGNALED(status))
      std::printf("client %u crashed with signal %d\n", options.number, WTERMSIG(status));
    return good ? 0 : 1;
  }
}

bool read_options(int count, char** arguments, Options* options) {
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::strcmp(arguments[i], "--host") == 0) {
      options->host = arguments[i + 1];
    } else if (std::strcmp(arguments[i], "--number") == 0) {
      options->number = static_cast<std::uint32_t>(std::strtoul(arguments[i + 1], nullptr, 10));
    } else if (std::strcmp(arguments[i], "--seed") == 0) {
      options->seed = std::strtoull(arguments[i + 1], nullptr, 10);
    } else {
      return false;
    }
  }
  return count % 2 == 1 && !options->host.empty();
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  if (!read_options(count, arguments, &options)) {
    std::fprintf(stderr, "usage: model_host_client --host METADATA_HOST --number N [--seed N]\n");
    return 2;
  }
  void* const shared =
      ::mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  memory = new (shared) Memory();
  std::printf("client %u: seed %llu\n", options.number,
              static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  std::signal(SIGTERM, stop);
  return supervise(options);
}
