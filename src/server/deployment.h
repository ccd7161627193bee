// Where the servers of an instance run: pure functions from a host file to hosts and ports.
//
// Every process of a deployment computes the same answer by itself: the server with rank r runs on
// host r of the list (counted round when there are more servers than hosts), and the servers of one
// node get consecutive ports. Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_file.h"
#include "base/result.h"

namespace imss::server {

struct Seat {
  std::string host;
  std::uint16_t port = 0;
  std::uint32_t rank = 0;             // position in the instance
  std::uint32_t servers_on_node = 1;  // of this instance, this one included
};

// The seats of `count` servers in order of rank. Without hosts all are on "localhost". A host that
// names a port uses it for its first server; the others count on from the port before theirs.
// Errors: kInvalidArgument (no servers, a port above 65535, the same port twice on a host).
Result<std::vector<Seat>> plan_seats(const std::vector<Host>& hosts, std::uint32_t count,
                                     std::uint16_t base_port);

// The hosts of the file, or none for an empty path. Errors: as read_host_file.
Result<std::vector<Host>> hosts_of(const std::string& path);

// What a data server may use where the user gave no size: 75 % of the node's memory, shared by the
// servers of the node.
std::uint64_t default_data_capacity(std::uint32_t servers_on_node);
// The same for a metadata server: an eighth of the memory, at most 16 GiB. Memory is taken as the
// namespace grows, so this is a limit and no reservation.
std::uint64_t default_metadata_capacity();

}  // namespace imss::server
