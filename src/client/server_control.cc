#include "client/server_control.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "net/key_file.h"
#include "net/listening.h"
#include "net/module.h"
#include "net/peers.h"

namespace imss::client {
namespace {

// Servers are asked by at most so many threads; a deployment has hundreds of servers at most.
constexpr std::size_t kMostThreads = 32;

Result<net::ControlKeys> keys_of(const std::string& key_file) {
  if (key_file.empty()) return net::ControlKeys{};
  return net::read_key_file(key_file);
}

std::optional<net::StatusAnswer> status_of(net::ControlClient& control,
                                           const ServerAddress& address, int timeout_ms) {
  // Where nobody listens the answer is known at once; the control plane would wait for a server.
  if (!is_listening(address, timeout_ms)) return std::nullopt;
  auto answer =
      net::ask<net::StatusAnswer>(control, address.host, address.port,
                                  net::Operation::kServerStatus, net::Nothing{}, timeout_ms);
  if (!answer.ok()) return std::nullopt;
  return std::move(*answer);
}

}  // namespace

bool is_listening(const ServerAddress& address, int timeout_ms) {
  return net::is_listening(address.host, address.port, timeout_ms);
}

Result<std::vector<std::optional<net::StatusAnswer>>> ask_status(
    const std::vector<ServerAddress>& addresses, const std::string& key_file, int timeout_ms) {
  std::vector<std::optional<net::StatusAnswer>> answers(addresses.size());
  if (addresses.empty()) return answers;
  IMSS_ASSIGN_OR_RETURN(net::Module* const module, net::load_module());
  IMSS_ASSIGN_OR_RETURN(const net::ControlKeys keys, keys_of(key_file));
  // Each thread takes the next server until none is left, and writes only that one's answer.
  std::atomic<std::size_t> next{0};
  const auto ask_some = [&] {
    const auto control = module->make_control_client(keys);
    if (!control.ok()) return;
    for (std::size_t i = next.fetch_add(1); i < addresses.size(); i = next.fetch_add(1)) {
      answers[i] = status_of(**control, addresses[i], timeout_ms);
    }
  };
  std::vector<std::jthread> threads;
  while (threads.size() < std::min(addresses.size(), kMostThreads)) threads.emplace_back(ask_some);
  threads.clear();  // waits for them
  return answers;
}

Status ask_to_stop(const ServerAddress& address, const std::string& key_file, bool retire,
                   int timeout_ms) {
  IMSS_ASSIGN_OR_RETURN(net::Module* const module, net::load_module());
  IMSS_ASSIGN_OR_RETURN(const net::ControlKeys keys, keys_of(key_file));
  IMSS_ASSIGN_OR_RETURN(const auto control, module->make_control_client(keys));
  net::StopQuestion question;
  question.retire = retire;
  const auto answer = net::ask<net::StopAnswer>(*control, address.host, address.port,
                                                net::Operation::kStop, question, timeout_ms);
  // It may have ended before its answer was on the way.
  if (answer.code() == Code::kTimedOut && !is_listening(address, timeout_ms)) return {};
  if (!answer.ok()) return answer.status();
  if (answer->status == 0) return {};
  return Status(static_cast<Code>(answer->status), "its application alone stops it");
}

Status make_key_file(const std::string& path) {
  IMSS_ASSIGN_OR_RETURN(net::Module* const module, net::load_module());
  IMSS_ASSIGN_OR_RETURN(const net::ControlKeys keys, module->make_keys());
  return net::write_key_file(path, keys);
}

}  // namespace imss::client
