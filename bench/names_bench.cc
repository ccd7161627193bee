// Names per second that clients of a deployment create, look up and remove: `names_bench HOST [THREADS]`.
//
// Each thread works in a directory of its own, of those that lie on all metadata servers in turn, with a session of its
// own as a process has. One line per action: how many per second all threads did together.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/session.h"
#include "metadata/authority.h"

namespace {

using namespace imss;
using Clock = std::chrono::steady_clock;

constexpr int kNames = 2000;  // of each thread
const std::string kInstance = "bench";

struct Worker {
  std::unique_ptr<client::Session> session;
  std::string directory;
};

Uri uri_of(const Worker& worker, int number) {
  return {kInstance, worker.directory + "/n" + std::to_string(number)};
}

// A directory below the root that lies on the given server.
Result<std::string> make_directory_on(client::Session& session, std::uint32_t server, const std::string& prefix) {
  const std::uint32_t count = session.known_map().count;
  for (int i = 0;; ++i) {
    const std::string name = prefix + "-" + std::to_string(i);
    IMSS_RETURN_IF_ERROR(session.make_directory({kInstance, name}, 0755, false));
    IMSS_ASSIGN_OR_RETURN(const auto node, session.resolve({kInstance, name}));
    if (metadata::authority_of(node.directory, count) == server % count) return name;
    IMSS_RETURN_IF_ERROR(session.remove_directory({kInstance, name}));
  }
}

bool measure(const char* what, std::vector<Worker>& workers,
             const std::function<Status(Worker&, int)>& act) {
  std::atomic<int> failed{0};
  const auto begin = Clock::now();
  {
    std::vector<std::jthread> threads;
    for (Worker& worker : workers) {
      threads.emplace_back([&] {
        for (int i = 0; i < kNames; ++i) {
          const Status status = act(worker, i);
          if (status.ok()) continue;
          if (failed.fetch_add(1) == 0) std::fprintf(stderr, "%s: %s\n", what, status.message().c_str());
          return;
        }
      });
    }
  }
  const std::chrono::duration<double> time = Clock::now() - begin;
  std::printf("  %-7s %8.0f per second\n", what, static_cast<double>(kNames) * static_cast<double>(workers.size()) / time.count());
  return failed.load() == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: names_bench HOST [THREADS]\n");
    return 2;
  }
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1;
  std::vector<Worker> workers(static_cast<std::size_t>(std::max(threads, 1)));
  std::uint32_t next = 0;
  for (Worker& worker : workers) {
    client::ConnectOptions options;
    options.hosts = {Host{argv[1], 0}};
    auto session = client::Session::connect(options);
    if (!session.ok()) {
      std::fprintf(stderr, "names_bench: %s\n", session.status().message().c_str());
      return 1;
    }
    worker.session = std::move(*session);
    auto directory = make_directory_on(*worker.session, next, "p" + std::to_string(::getpid()) + "-" + std::to_string(next));
    if (!directory.ok()) {
      std::fprintf(stderr, "names_bench: %s\n", directory.status().message().c_str());
      return 1;
    }
    worker.directory = std::move(*directory);
    ++next;
  }
  const bool good =
      measure("create", workers,
              [](Worker& worker, int i) -> Status {
                IMSS_ASSIGN_OR_RETURN(const std::int32_t handle, worker.session->create(uri_of(worker, i), {}));
                return worker.session->release(handle);
              }) &&
      measure("stat", workers,
              [](Worker& worker, int i) { return worker.session->attributes(uri_of(worker, i)).status(); }) &&
      measure("unlink", workers, [](Worker& worker, int i) { return worker.session->unlink(uri_of(worker, i)); });
  return good ? 0 : 1;
}
