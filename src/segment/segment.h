// A mapped segment: the file, its mapping, and the registration of threads as participants.
//
// Segment is concurrent: any thread may use a mapped segment; each thread that touches its tables is
// registered as a participant on first use and unregistered when it ends. The mapping lives as long as
// anybody holds the shared_ptr, registered threads included, because the robust mutexes by which the
// kernel announces a thread's death lie inside the mapping. After fork the child registers afresh.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "segment/layout.h"
#include "segment/touched_ranges.h"

namespace imss::segment {

struct CreateOptions {
  Role role = Role::kData;
  std::uint32_t server_id = 0;
  std::uint64_t capacity_bytes = kMinCapacity;
  std::uint32_t port = 0;
  std::uint32_t rank = 0;
  bool attached = false;
  std::string host_name;
};

// Milliseconds after which waiting for another participant or for the host ends with kTimedOut.
inline constexpr int kDefaultDeadlineMs = 30'000;
void set_deadline_ms(int milliseconds);
int deadline_ms();
// The same for the calling thread alone; 0 goes back to the common one.
void set_thread_deadline_ms(int milliseconds);

// While one is alive, deadline_ms() of this thread is what is left of a single deadline, which the first wait starts: an
// operation of many steps takes no longer than one of one step may. Nested ones change nothing. kLastStepMs are left
// even after the end, for what an operation that gives up has to tell the servers.
class OneDeadline {
 public:
  static constexpr int kLastStepMs = 100;
  OneDeadline();
  ~OneDeadline();
  OneDeadline(const OneDeadline&) = delete;
  OneDeadline& operator=(const OneDeadline&) = delete;

 private:
  const bool outermost_;
};

// "rw", "ro" and "none".
std::string_view sharing_name(Sharing sharing);
std::optional<Sharing> sharing_of(std::string_view name);

class Segment : public std::enable_shared_from_this<Segment> {
 public:
  // Makes a segment that has no name yet; Host fills it and then publishes it under a name.
  // Errors: kInvalidArgument (capacity), kSystem.
  static Result<std::shared_ptr<Segment>> create(const CreateOptions& options);
  // Maps the segment file `name` of directory(). Errors: kNotFound, kIncompatible, kCorrupt, kSystem.
  static Result<std::shared_ptr<Segment>> open(const std::string& name);
  // Maps a private copy of a segment that nobody serves: the file is only read, and whatever else is written (the
  // caller's registration, the completed changes of the dead) stays in this process. Features that this program does
  // not know are passed over as long as the layout is the same; see unknown_features(). The server may be started
  // meanwhile and change what is read; ask probe(0) of another copy afterwards. Errors: as open().
  static Result<std::shared_ptr<Segment>> open_private(const std::string& name);
  // Maps a segment without the right to write. Only tables can be looked up in it and read_file() be called: whatever
  // registers the thread or looks after others writes. Errors: as open().
  static Result<std::shared_ptr<Segment>> open_read_only(const std::string& name);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  // Gives an unnamed segment its name, atomically. Errors: kExists.
  Status publish(const std::string& name);
  // Removes the name if it still stands for this segment; mappings stay valid.
  void unlink_name();
  // What clients may do from now on; those that have the segment mapped already go on with what they may. Read-only
  // sharing is for whom the process's umask leaves the right to read. Errors: kSystem.
  Status share(Sharing sharing);
  Sharing sharing() const;

  Superblock& super() const { return *reinterpret_cast<Superblock*>(base_); }
  std::byte* base() const { return base_; }
  // The segment's own descriptor, -1 when there is none any more. Programs close descriptors that they do not know, and
  // the number then stands for something else: it is looked at each time, and the file opened anew where it can be.
  int fd() const;
  // Closes it, for a process whose numbers belong to its program; fd() opens the file anew.
  void close_file() const;
  // Copies bytes of the file without the mapping, so that holes stay holes. Errors: kIo when the file cannot be reached.
  Status read_file(std::uint64_t offset, std::span<std::byte> out) const;
  const std::string& name() const { return name_; }
  // Whether this program would refuse to open the segment because of its feature words.
  bool unknown_features() const {
    return (super().incompatible & ~kKnownIncompatible) != 0 ||
           (super().read_only_compatible & ~kKnownReadOnlyCompatible) != 0;
  }
  bool serving() const {
    return super().state.load(std::memory_order_acquire) == static_cast<std::uint64_t>(State::kServing);
  }

  bool contains(std::uint64_t offset, std::uint64_t bytes) const {
    return offset <= size_ && bytes <= size_ - offset;
  }
  // REQUIRES: contains(offset, sizeof(T)). Not checked here: callers test every offset that they
  // read from shared memory before they come here, because a damaged segment must end in an
  // error and not in a crash.
  template <typename T>
  T* at(std::uint64_t offset) const {
    return reinterpret_cast<T*>(base_ + offset);
  }
  std::uint64_t offset_of(const void* address) const {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - base_);
  }

  Participant& participant(std::uint32_t slot) const {
    return *at<Participant>(super().participants_offset + slot * sizeof(Participant));
  }
  ArenaDescriptor& descriptor(std::uint64_t arena) const {
    return *at<ArenaDescriptor>(super().descriptors_offset + arena * sizeof(ArenaDescriptor));
  }
  std::uint64_t arena_of(std::uint64_t offset) const {
    return (offset - super().arenas_offset) / kArenaBytes;
  }
  std::uint64_t arena_offset(std::uint64_t arena) const {
    return super().arenas_offset + arena * kArenaBytes;
  }
  // True for a reference that lies inside the arena area, with a known class.
  bool valid_ref(Ref ref) const {
    return !ref.none() && ref.size_class() < kClasses && ref.offset() >= super().arenas_offset &&
           contains(ref.offset(), ref.bytes());
  }

  // The calling thread's participant; registers the thread on first use.
  // Errors: kTooManyOpen when every slot is taken.
  Result<Participant*> self();
  // Registers the calling thread as the host, which is slot 0. Errors: kBusy when a host is alive.
  Result<Participant*> register_host();
  // Unregisters the calling thread now rather than when it ends.
  void leave();

  // --- liveness ---
  enum class Liveness { kAlive, kDead, kFree };
  // Whether the thread behind a slot lives. For a dead one its committed changes are completed and its
  // locks released before this returns; the rest is left to clean_up().
  Liveness probe(std::uint32_t slot);
  // Cleans up after every dead participant: returns its extents, claims and pins. Must not be called with
  // locks held. Returns the number of participants cleaned up.
  std::uint32_t clean_up();
  // "process 123 (thread 456)" of the participant that a lock word or id names.
  std::string describe(std::uint64_t participant_id) const;
  std::uint32_t live_participants();

  // To be called before a range that has memory is written: has the kernel enter all of its small pages into this
  // process's page tables at once, where the first write would take a fault for each. Huge pages need no help, and
  // what is known already costs a look at a bit.
  void expect_write(std::uint64_t offset, std::uint64_t bytes);

  std::uint64_t serial() const { return serial_; }
  std::uint32_t local_index() const { return local_index_; }

 private:
  Segment() = default;
  static Result<std::shared_ptr<Segment>> open_file(const std::string& name, int access, int sharing);
  Status map(std::uint64_t size, int sharing);
  Status identify();
  bool is_this_file(int descriptor) const;
  Status validate(bool any_features) const;
  bool sound_table(const TableRoot& table) const;
  void format(const CreateOptions& options, std::uint64_t address_bytes);
  Status obtain_fixed_regions();
  Result<Participant*> take_slot(std::uint32_t slot);
  Result<Participant*> inherit_slot(std::uint32_t slot);
  void occupy(std::uint32_t slot);
  bool earlier_cleaner_is_done(const Participant& dead);
  Result<Participant*> register_thread();
  void clean_up_slot(std::uint32_t slot);

  std::byte* base_ = nullptr;
  std::byte* reservation_ = nullptr;
  std::uint64_t reservation_bytes_ = 0;
  std::uint64_t size_ = 0;
  int access_ = 0;  // how the file was opened
  dev_t device_ = 0;
  ino_t inode_ = 0;
  mutable std::atomic<int> fd_{-1};  // publishes nothing: who uses it looks what it is
  bool read_only_ = false;
  TouchedRanges touched_;
  std::string name_;
  std::uint64_t serial_ = 0;
  std::uint32_t local_index_ = 0;
};

}  // namespace imss::segment
