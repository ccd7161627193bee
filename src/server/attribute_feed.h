// Tells the metadata servers what the inodes of a data server say, for the metadata files.
//
// Off the path of any request: whoever changes an inode marks it in the segment (store/store.h), and the data server's
// upkeep takes the marks and sends the attributes in batches, each to one metadata server (metadata::giver_of()). One that
// does not get its batch is told everything of its own again later, and keeps the others waiting no longer than for one
// request. Thread-owned by the upkeep.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "base/result.h"
#include "metadata/name_service.h"
#include "store/store.h"

namespace imss::server {

class AttributeFeed {
 public:
  // Tells a metadata server, that which gave out the ids of all of the states.
  using States = std::span<const metadata::InodeState>;
  using Tell = std::function<Status(States)>;

  explicit AttributeFeed(store::Store& store) : store_(store) {}

  // Another metadata server, or another segment of it: it is told everything.
  void restart() { send_all_ = true; }
  // Sends what changed since the last call. With `at_once`, also when looking at all inodes was to wait.
  // Errors: of the first metadata server that is owed something; the others were told.
  Status send(const Tell& tell, bool at_once = false);
  Status send(metadata::NameService& names, bool at_once = false) {
    return send([&](States states) { return names.store_attributes(states); }, at_once);
  }

 private:
  // What goes to one metadata server.
  struct Part {
    std::vector<metadata::InodeState> batch;
    Status status;      // of this call: after an error nothing more is sent to it
    bool owed = false;  // it missed something: when all inodes are looked at, it is told of all its own
    Status missed;      // why
  };
  Status send_changed(const Tell& tell);
  Status send_inodes(const Tell& tell);
  Status add(const Tell& tell, std::uint64_t dataset);
  void flush(const Tell& tell, Part& part);
  Status deliver(const Tell& tell, Part& part);
  void flush_all(const Tell& tell);
  bool owes() const;
  void look_for_losses();

  store::Store& store_;
  bool send_all_ = true;      // whatever its mark says
  bool send_marked_ = false;  // the ring has lost marks
  std::uint64_t recoveries_seen_ = 0;
  int stalled_rounds_ = 0;
  std::chrono::steady_clock::time_point last_look_{};
  std::map<std::uint32_t, Part> parts_;  // by the metadata server's index
  std::vector<std::uint64_t> again_;  // symbolic links that had no target yet
};

}  // namespace imss::server
