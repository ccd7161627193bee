// Keeps the metadata file up to date with the namespace, on a thread of its own.
//
// Whoever changes a name puts its key into a ring of dirty keys in the segment; the journaller writes the *state*
// behind the keys in groups, off the request path. When the ring overflowed, or somebody died between a change and
// its mark, it writes a snapshot of everything. Nobody ever waits for it. What was changed in the last second may
// be missing from the file after a power failure, but never a part of a group.
//
// Owned by the metadata server; start() and stop() from one thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/result.h"
#include "metadata/journal.h"
#include "metadata/namespace.h"
#include "metadata/state_records.h"

namespace imss::metadata {

class Journaller {
 public:
  // Opens the file. Into a new segment it puts back the names and instances of the file; a segment that was taken
  // over is the truth, and the file must be its own. Errors: those of Journal::open; kInvalidArgument when the
  // file belongs to another segment.
  static Result<std::unique_ptr<Journaller>> start(std::shared_ptr<segment::Segment> segment,
                                                   const std::string& path, bool taken_over);
  ~Journaller();
  // Writes what is dirty, durably, and ends the thread.
  void stop();
  // Names put back by start().
  std::uint64_t restored_names() const { return restored_names_; }

 private:
  struct Remembered;
  Status check_place(const Remembered& remembered) const;
  bool place_due() const;
  PlaceState place_state() const;
  Journaller(std::shared_ptr<segment::Segment> segment, Journal journal);
  Status restore(const Remembered& remembered);
  Status restore_part(const Remembered& remembered);
  Result<ParentState> parent_state(std::uint64_t id);
  Status write_directory(segment::Key key);
  Result<std::vector<std::byte>> xattr_record(std::uint64_t directory);
  Status restore_said(const Remembered& remembered, std::uint64_t directory);
  Status stream_parents();
  Status restore_changes(const Remembered& remembered);
  Result<ChangeState> change_state(segment::Key key);
  Status write_change(segment::Key key);
  Status stream_changes();
  Status make_ring();
  void run();
  bool wait_for_work();
  // Both return the number of keys written.
  std::size_t drain(std::size_t limit);
  Status write_state(std::uint64_t kind, segment::Key key);
  Status snapshot();
  Status stream_snapshot();
  Status stream_attributes();
  bool snapshot_due();
  void report(const Status& status, const char* what);

  std::shared_ptr<segment::Segment> segment_;
  Namespace namespace_;
  Journal journal_;
  std::uint64_t restored_names_ = 0;
  std::uint64_t recoveries_seen_ = 0;
  bool need_snapshot_ = false;
  PlaceState written_place_;  // as the file has it
  bool failing_ = false;
  int stalled_rounds_ = 0;
  std::int64_t last_sync_ns_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
  std::uint32_t owner_pid_ = 0;
};

}  // namespace imss::metadata
