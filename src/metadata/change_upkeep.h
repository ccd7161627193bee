// What a metadata server does for changes over several servers whose drivers are gone and that nobody meets.
//
// Thread-owned by the server's upkeep.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "base/result.h"
#include "metadata/namespace.h"

namespace imss::metadata {

class ChangeUpkeep {
 public:
  explicit ChangeUpkeep(std::shared_ptr<segment::Segment> segment) : names_(std::move(segment)) {}

  // Finishes claims and intents of this server that were there at the last call already; younger ones are left to
  // their drivers. `servers`: all metadata servers by index, this one included; null: cannot be reached now. Returns
  // the first error; what failed is tried again the next time.
  Status run(const std::vector<NameService*>& servers);

 private:
  Status settle(const Namespace::OpenChange& change, const std::vector<NameService*>& servers);

  Namespace names_;
  std::set<std::uint64_t> seen_;
};

}  // namespace imss::metadata
