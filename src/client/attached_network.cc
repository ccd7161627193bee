#include "client/attached_network.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "client/local_host.h"

namespace imss::client {
namespace {

bool is_needed(const Config& config, const NetworkQuestion& question) {
  if (!config.text(ConfigKey::kAddress).empty()) return true;
  if (!question.metadata_here) return true;
  if (question.place) return question.place->several_nodes;
  return question.named_by_file && !is_loopback_name(question.metadata_host);
}

// The address of this node that other nodes of the job reach: on the node of the metadata server
// what its name means, elsewhere that of the interface which leads there. Empty when only loopback
// addresses are known.
std::string address_for_others(const NetworkQuestion& question) {
  if (!question.metadata_here) {
    return address_towards(question.metadata_host, question.metadata_port);
  }
  std::string address;
  if (!question.metadata_host.empty()) address = own_address_of(question.metadata_host);
  return address.empty() ? own_address_of(local_host_name()) : address;
}

// The name under which others reach this node: that of the host file; else its own, if that means
// the address which is known to be right; else this address.
std::string name_for_others(const NetworkQuestion& question, const std::string& address) {
  const bool named = question.metadata_here && !question.metadata_host.empty();
  if (named && !is_loopback_name(question.metadata_host)) return question.metadata_host;
  std::string name = local_host_name();
  if (address.empty() || own_address_of(name) == address) return name;
  return address;
}

}  // namespace

NetworkAnswer attached_network(const Config& config, const NetworkQuestion& question) {
  NetworkAnswer answer;
  answer.options.key_file = config.text(ConfigKey::kKeyFile);
  answer.needed = is_needed(config, question);
  if (!answer.needed) return answer;
  const std::string address = address_for_others(question);
  answer.host_name = name_for_others(question, address);
  answer.options.enabled = true;
  answer.options.address = config.text(ConfigKey::kAddress);
  // Without keys no more is open than the job needs. A node whose name means only itself (as that
  // of many laptops and Debian hosts does) gives no address to choose.
  const bool chosen = !answer.options.address.empty() || !answer.options.key_file.empty();
  if (!chosen) answer.options.address = address.empty() ? "*" : address;
  return answer;
}

Result<std::uint16_t> attached_port(std::uint16_t server_port, std::uint16_t metadata_port,
                                    std::uint32_t number_on_node) {
  std::uint64_t port = std::uint64_t{server_port} + number_on_node;
  if (server_port <= metadata_port && port >= metadata_port) ++port;
  if (port <= UINT16_MAX) return static_cast<std::uint16_t>(port);
  return Status(
      Code::kInvalidArgument,
      concat("the data server with number ", std::to_string(number_on_node),
             " on this node would need port ", std::to_string(port), "; choose a lower data port"));
}

}  // namespace imss::client
