#include "server/deployment.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/config.h"
#include "base/size.h"
#include "base/text.h"
#include "segment/layout.h"

namespace imss::server {
namespace {

constexpr std::uint32_t kMaxPort = 65535;
constexpr std::uint64_t kMaxMetadataCapacity = 16 * kGiB;

std::uint64_t node_memory_bytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return 0;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
}

}  // namespace

Result<std::vector<Seat>> plan_seats(const std::vector<Host>& hosts, std::uint32_t count,
                                     std::uint16_t base_port) {
  if (count == 0) return Status(Code::kInvalidArgument, "an instance needs at least one server");
  std::map<std::string, std::uint32_t> next_port;
  std::map<std::string, std::uint32_t> on_host;
  std::set<std::pair<std::string, std::uint32_t>> used;
  std::vector<Seat> seats;
  for (std::uint32_t rank = 0; rank < count; ++rank) {
    const Host host = hosts.empty() ? Host{"localhost", 0} : hosts[rank % hosts.size()];
    const bool first_round = rank < hosts.size();
    std::uint32_t& next = next_port.try_emplace(host.name, base_port).first->second;
    if (host.port != 0 && first_round) next = host.port;
    if (next > kMaxPort || next == 0) {
      return Status(Code::kInvalidArgument,
                    concat("server ", std::to_string(rank), " on ", host.name, " would need port ",
                           std::to_string(next), "; choose a lower first port"));
    }
    if (!used.emplace(host.name, next).second) {
      return Status(Code::kInvalidArgument,
                    concat("two servers on ", host.name, " have the port ", std::to_string(next)));
    }
    ++on_host[host.name];
    seats.push_back(Seat{host.name, static_cast<std::uint16_t>(next), rank, 1});
    ++next;
  }
  for (Seat& seat : seats) seat.servers_on_node = on_host[seat.host];
  return seats;
}

Result<std::vector<Host>> hosts_of(const std::string& path) {
  if (path.empty()) return std::vector<Host>{};
  return read_host_file(path);
}

std::uint64_t default_data_capacity(std::uint32_t servers_on_node) {
  const std::uint64_t share = Config().storage_bytes() / std::max(servers_on_node, 1U);
  return std::max(share, segment::kMinCapacity);
}

std::uint64_t default_metadata_capacity() {
  return std::clamp(node_memory_bytes() / 8, segment::kMinCapacity, kMaxMetadataCapacity);
}

}  // namespace imss::server
