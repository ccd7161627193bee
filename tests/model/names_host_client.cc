// A client of the test of names on several metadata servers that die, on a host of its own.
//
//   names_host_client run --host HOST --number N [--seed N]
//     Changes names until SIGTERM; then everything is compared with the model and removed. Prints how many operations
//     it has done now and then, and what they were in the end.
//   names_host_client shared --host HOST     compares what all clients changed together, when they have ended
//   names_host_client claims --host HOST     prints the claims and intents of the metadata servers that are mapped here
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "names_client.h"
#include "segment/segment.h"

namespace {

using imss::Deadline;
using imss::client::Session;

constexpr int kOperationMs = 5'000;  // the deadline that every call is given
constexpr int kPatienceMs = 40'000;  // for the servers to come back
constexpr std::uint64_t kOperationsShown = 20;

struct Options {
  std::string command;
  std::string host;
  std::uint32_t number = 0;
  std::uint64_t seed = std::random_device{}();
};

volatile std::sig_atomic_t finish = 0;

imss::Result<std::unique_ptr<Session>> connect(const std::string& host) {
  imss::client::ConnectOptions options;
  options.hosts = {imss::Host{host, 0}};
  const Deadline patience = Deadline::from_now(kPatienceMs);
  for (;;) {
    auto session = Session::connect(options);
    if (session.ok() || patience.expired()) return session;
  }
}

bool work(model::NamesClient& client) {
  if (!client.begin(Deadline::from_now(kPatienceMs))) return false;
  while (finish == 0) {
    if (!client.step()) return false;
    if (client.report().operations % kOperationsShown == 0) {
      std::printf("%llu\n", static_cast<unsigned long long>(client.report().operations));
      std::fflush(stdout);
    }
  }
  return client.verify(Deadline::from_now(kPatienceMs)) && client.remove_all(Deadline::from_now(kPatienceMs));
}

void print_counts(const char* what, const std::array<std::uint64_t, model::kCrossings>& counts) {
  std::printf("%s: none %llu, mkdir %llu, rmdir %llu, move %llu, movedir %llu, link %llu\n", what,
              static_cast<unsigned long long>(counts[0]), static_cast<unsigned long long>(counts[1]),
              static_cast<unsigned long long>(counts[2]), static_cast<unsigned long long>(counts[3]),
              static_cast<unsigned long long>(counts[4]), static_cast<unsigned long long>(counts[5]));
}

int run(Session& session, const Options& options) {
  imss::segment::set_deadline_ms(kOperationMs);
  model::NamesClient client(session, options.number, options.seed);
  const bool good = work(client);
  const model::NamesReport& report = client.report();
  print_counts("crossed", report.crossed);
  print_counts("held up", report.held_up);
  std::printf("longest: %lld ms, %s\n", static_cast<long long>(report.longest_ms), report.longest.c_str());
  std::printf("client %u: %llu operations, not applied %llu, uncertain %llu of which happened %llu: %s\n", options.number,
              static_cast<unsigned long long>(report.operations), static_cast<unsigned long long>(report.not_applied),
              static_cast<unsigned long long>(report.uncertain), static_cast<unsigned long long>(report.happened),
              good ? "no difference" : client.failure().c_str());
  return good ? 0 : 1;
}

int print_claims(Session& session) {
  std::size_t changes = 0;
  const auto mapped = session.mapped_names();
  for (const auto& names : mapped) {
    const auto open = names->open_changes();
    if (!open.ok()) return 1;
    changes += open->size();
  }
  std::printf("%zu of %zu\n", changes, mapped.size());
  return mapped.empty() ? 1 : 0;
}

int serve(const Options& options) {
  const auto session = connect(options.host);
  if (!session.ok()) {
    std::printf("no connection: %s\n", session.status().message().c_str());
    return 1;
  }
  if (options.command == "run") return run(**session, options);
  if (options.command == "claims") return print_claims(**session);
  const std::string wrong = model::verify_shared_names(**session, Deadline::from_now(kPatienceMs));
  std::printf("shared names: %s\n", wrong.empty() ? "no difference" : wrong.c_str());
  return wrong.empty() ? 0 : 1;
}

bool read_options(int count, char** arguments, Options* options) {
  if (count < 2) return false;
  options->command = arguments[1];
  for (int i = 2; i + 1 < count; i += 2) {
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
  const bool known = options->command == "run" || options->command == "shared" || options->command == "claims";
  return known && count % 2 == 0 && !options->host.empty();
}

void stop(int) { finish = 1; }

}  // namespace

int main(int count, char** arguments) {
  Options options;
  if (!read_options(count, arguments, &options)) {
    std::fprintf(stderr, "usage: names_host_client run|shared|claims --host METADATA_HOST [--number N] [--seed N]\n");
    return 2;
  }
  std::signal(SIGTERM, stop);
  return serve(options);
}
