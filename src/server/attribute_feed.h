// Tells the metadata server what the inodes of a data server say, for the metadata file.
//
// Off the path of any request: whoever changes an inode marks it in the segment (store/store.h), and the data server's
// upkeep takes the marks and sends the attributes in batches. What a batch could not deliver is sent again with all
// others. Thread-owned by the upkeep.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "metadata/name_service.h"
#include "store/store.h"

namespace imss::server {

class AttributeFeed {
 public:
  explicit AttributeFeed(store::Store& store) : store_(store) {}

  // Another metadata server, or another segment of it: it is told everything.
  void restart() { send_all_ = true; }
  // Sends what changed since the last call. With `at_once`, also when looking at all inodes was to wait.
  // Errors: those of the metadata server; the next call begins anew.
  Status send(metadata::NameService& names, bool at_once = false);

 private:
  Status send_changed(metadata::NameService& names);
  Status send_inodes(metadata::NameService& names, bool changed_only);
  Status add(metadata::NameService& names, std::uint64_t dataset);
  Status flush(metadata::NameService& names);
  void look_for_losses();

  store::Store& store_;
  bool send_all_ = true;      // whatever its mark says
  bool send_marked_ = false;  // the ring has lost marks
  std::uint64_t recoveries_seen_ = 0;
  int stalled_rounds_ = 0;
  std::chrono::steady_clock::time_point last_look_{};
  std::vector<metadata::InodeState> batch_;
  std::vector<std::uint64_t> again_;  // symbolic links that had no target yet
};

}  // namespace imss::server
