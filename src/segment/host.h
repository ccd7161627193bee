// The host of a segment: the one thread that obtains its memory.
//
// It keeps pools of ready extents ahead of need, makes arenas huge pages, answers clients that found a pool
// dry, watches the capacity, and twice a second cleans up after participants that died. It sleeps on a futex
// when there is nothing to do. Owned by the server; start() and stop() from one thread.
//
// Memory is obtained with fallocate(2) below the capacity and below what the file system and the node still
// have, so that a client never gets SIGBUS; see madvise(2) for MADV_COLLAPSE, which makes huge pages.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "segment/segment.h"

namespace imss::segment {

struct HostOptions {
  CreateOptions create;
  std::string name;             // of the segment file
  Sharing sharing = Sharing::kReadWrite;
  bool take_over = false;       // an orphaned segment of that name is mapped and served again
  // Called on the host thread about twice a second while the segment serves.
  std::function<void(Segment&, Participant&)> periodic;
};

class Host {
 public:
  // Starts the host thread and returns once the segment has its first memory. It has no name yet, unless it
  // was taken over. Errors: kExists (name in use), kBusy (served by somebody alive), kNoSpace, kSystem.
  static Result<std::unique_ptr<Host>> start(HostOptions options);
  ~Host();

  const std::shared_ptr<Segment>& segment() const { return segment_; }
  bool took_over() const { return took_over_; }
  // Names the segment and opens it for service; to be called once its engine has formatted it.
  Status publish();
  // Ends the host thread. With `retire`, clients are turned away and the name is removed; otherwise the
  // segment stays for the next server.
  void stop(bool retire);

 private:
  explicit Host(HostOptions options) : options_(std::move(options)) {}
  Status prepare();
  void run(std::function<void(Status)> ready);
  friend Status ask_host(Segment& segment, Participant& me, Request kind, std::uint64_t offset,
                         std::uint64_t bytes);
  bool serve_requests();
  bool top_up_pools();
  Status answer(Participant& client, Request kind);
  Status provide_extents(std::uint32_t size_class, bool sparse);
  Status provide_pages(std::uint64_t offset, std::uint64_t bytes);
  Status provide_buckets(std::uint32_t table);
  Status extend_dense(std::uint32_t size_class);
  Status new_container(std::uint32_t size_class, bool sparse);
  Status obtain(std::uint64_t offset, std::uint64_t bytes);
  Status populate(std::uint64_t offset, std::uint64_t bytes);
  Status make_room(std::uint64_t bytes);
  Status check_room(std::uint64_t bytes);
  void mark_populated(std::uint64_t offset, std::uint64_t bytes);
  Result<std::uint64_t> take_arenas(std::uint64_t count);
  void free_arenas(std::uint64_t arena, std::uint64_t count);
  std::uint64_t reclaim(std::uint64_t wanted_bytes);
  bool unlink_free_arena(std::uint32_t size_class, bool sparse, std::uint64_t* freed);
  bool unlink_free_slab(std::uint32_t size_class);
  bool set_aside(std::uint32_t size_class, bool sparse, std::uint64_t wanted_bytes, std::uint64_t* freed);
  Status finish_memory_change();
  void name_changing(std::uint64_t arena, const std::vector<std::uint32_t>& indices);
  bool free_if_all_aside(std::uint64_t arena);
  Status restore(std::uint32_t size_class, std::uint32_t count);
  Status add_free(std::uint64_t arena, const std::vector<std::uint32_t>& indices);
  void drop_memory(std::uint64_t offset, std::uint64_t bytes);
  void find_set_aside(std::uint64_t arena);
  std::vector<bool> owned_arenas() const;
  void rebuild_after_take_over();
  void empty_limbo();
  bool still_quarantined(std::uint32_t place, Ref word);
  bool collapse_one();
  std::uint64_t step_bytes() const;
  void refresh_used();

  HostOptions options_;
  std::shared_ptr<Segment> segment_;
  Participant* me_ = nullptr;
  bool took_over_ = false;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
  std::uint32_t owner_pid_ = 0;
  // Dense arenas that are not entirely cut into extents yet, by class.
  std::uint64_t partial_arena_[kClasses] = {};
  // Arenas with free extents that have no memory and are in no pool, by class.
  std::vector<std::uint64_t> set_aside_[kClasses];
  std::vector<std::uint64_t> to_collapse_;
  // How long extents that a transfer of a dead thread may write have been in the limbo.
  struct Quarantine {
    std::uint64_t word = 0;
    std::uint32_t ticks = 0;
  };
  Quarantine quarantine_[kLimboSlots];
  std::uint64_t unchecked_bytes_ = 0;  // may be obtained without looking at what the node has left
};

}  // namespace imss::segment
