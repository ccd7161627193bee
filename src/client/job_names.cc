#include "client/job_names.h"

#include <dlfcn.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/text.h"

namespace imss::client {
namespace {

constexpr int kAnswerMs = 5'000;
constexpr std::size_t kMostBytes = 4096;

// The C interface of both MPIs is the same here: `int f(int*)`.
bool mpi_says(const char* function) {
  auto* const ask = reinterpret_cast<int (*)(int*)>(::dlsym(RTLD_DEFAULT, function));
  int flag = 0;
  return ask != nullptr && ask(&flag) == 0 && flag != 0;
}

bool mpi_is_up() { return mpi_says("MPI_Initialized") && !mpi_says("MPI_Finalized"); }

// --- MPICH: the process manager interface (PMI-1) is lines over a descriptor
// -----------------------

// The descriptor to the launcher's proxy, or -1.
int pmi_descriptor() {
  const char* const text = std::getenv("PMI_FD");
  if (text == nullptr || std::getenv("MPI_LOCALRANKID") == nullptr) return -1;
  const int fd = std::atoi(text);
  int type = 0;
  socklen_t size = sizeof(type);
  if (fd <= 2 || ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return -1;
  return type == SOCK_STREAM ? fd : -1;
}

// One command and its answer, without the line's end.
std::optional<std::string> pmi_ask(int fd, std::string command) {
  command += '\n';
  if (::send(fd, command.data(), command.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(command.size())) {
    return std::nullopt;
  }
  const Deadline deadline = Deadline::from_now(kAnswerMs);
  std::string answer;
  while (!answer.ends_with('\n')) {
    pollfd wait{fd, POLLIN, 0};
    const int ready = ::poll(&wait, 1, deadline.remaining_ms());
    if (ready < 0 && errno == EINTR) continue;
    char piece[256];
    const ssize_t bytes = ready > 0 ? ::read(fd, piece, sizeof(piece)) : 0;
    if (bytes <= 0 || answer.size() > kMostBytes) return std::nullopt;
    answer.append(piece, static_cast<std::size_t>(bytes));
  }
  answer.pop_back();
  return answer;
}

// The value of "... key=VALUE ..."; empty when it is not there.
std::string value_in(std::string_view answer, std::string_view key) {
  const std::string wanted = concat(" ", key, "=");
  const std::size_t begin = answer.find(wanted);
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = answer.substr(begin + wanted.size());
  return std::string(rest.substr(0, rest.find(' ')));
}

std::string service(std::uint16_t port) { return concat("imss-metadata-", std::to_string(port)); }

std::string find_by_pmi(int fd, std::uint16_t port) {
  const auto answer = pmi_ask(fd, concat("cmd=lookup_name service=", service(port)));
  if (!answer || value_in(*answer, "rc") != "0") return {};
  return value_in(*answer, "port");
}

// --- Open MPI: PMIx knows the node of each rank
// ------------------------------------------------------

// The beginnings of the structures of PMIx 2 to 5, whose layout does not change.
struct PmixProcess {
  char name_space[256];
  std::uint32_t rank;
};
struct PmixValue {
  std::uint16_t type;
  union {
    char* string;
    std::uint64_t number;
  } data;
};
constexpr std::uint16_t kPmixString = 3;
using PmixGet = int (*)(const PmixProcess*, const char*, const void*, std::size_t, PmixValue**);

std::optional<std::string> find_by_pmix() {
  const char* const job = std::getenv("PMIX_NAMESPACE");
  if (job == nullptr || std::strlen(job) >= sizeof(PmixProcess::name_space)) return std::nullopt;
  void* const library = ::dlopen("libpmix.so.2", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return std::nullopt;
  auto* const get = reinterpret_cast<PmixGet>(::dlsym(library, "PMIx_Get"));
  PmixProcess first{};
  std::strcpy(first.name_space, job);
  PmixValue* value = nullptr;
  std::string host;
  if (get != nullptr && get(&first, "pmix.hname", nullptr, 0, &value) == 0 && value != nullptr &&
      value->type == kPmixString && value->data.string != nullptr) {
    host = value->data.string;
    std::free(value->data.string);
    std::free(value);
  }
  ::dlclose(library);
  if (host.empty()) return std::nullopt;  // and will not be known later
  return host;
}

}  // namespace

void publish_metadata_host(std::uint16_t port, const std::string& host) {
  const int fd = mpi_is_up() ? pmi_descriptor() : -1;
  if (fd < 0) return;
  // Refused when it was published before: by this job, whose server was here then as well.
  [[maybe_unused]] const auto answer =
      pmi_ask(fd, concat("cmd=publish_name service=", service(port), " port=", host));
}

std::optional<std::string> find_published_metadata_host(std::uint16_t port) {
  if (!mpi_is_up()) return std::nullopt;
  const int fd = pmi_descriptor();
  if (fd >= 0) return find_by_pmi(fd, port);
  return find_by_pmix();
}

}  // namespace imss::client
