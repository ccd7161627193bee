// What the tests of the segment layer share: a directory of their own, hosts, children, and a small
// engine that stores stamped contents through tables, extents and pages, so that an extent with two
// owners shows.
#pragma once

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "segment/check.h"
#include "segment/edit_one.h"
#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/host.h"
#include "segment/pages.h"
#include "segment/segment_files.h"
#include "segment/table.h"

namespace imss::segment_test {

using segment::CheckOptions;
using segment::CheckReport;
using segment::Entry;
using segment::Extents;
using segment::Held;
using segment::Host;
using segment::HostOptions;
using segment::Key;
using segment::Participant;
using segment::Ref;
using segment::Segment;
using segment::Snapshot;
using segment::Table;
using segment::TableEdit;
using segment::Transaction;
using segment::Values;

constexpr std::uint64_t kMiB = 1 << 20;

// The segments that the test's own thread is registered in, which keeps them mapped until it leaves.
inline std::vector<std::shared_ptr<Segment>>& joined() {
  static std::vector<std::shared_ptr<Segment>> segments;
  return segments;
}
inline void leave_all() {
  for (const auto& segment : joined()) segment->leave();
  joined().clear();
}

// Where the segments of one test live; removed with them.
class Directory {
 public:
  Directory() {
    std::string name = "/dev/shm/segment-test-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
    ::setenv("IMSS_SHM_DIR", path_.c_str(), 1);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    leave_all();
    ::unsetenv("IMSS_SHM_DIR");
    std::filesystem::remove_all(path_);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The common deadline for the time of a test.
class Deadline {
 public:
  explicit Deadline(int milliseconds) { segment::set_deadline_ms(milliseconds); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() { segment::set_deadline_ms(segment::kDefaultDeadlineMs); }
};

inline HostOptions host_options(std::uint64_t capacity, std::string name = "imss-data-7000-0") {
  HostOptions options;
  options.create.capacity_bytes = capacity;
  options.create.port = 7000;
  options.name = std::move(name);
  return options;
}

inline std::unique_ptr<Host> start_host(HostOptions options) {
  auto host = Host::start(std::move(options));
  INFO(host.status().message());
  REQUIRE(host.ok());
  const Status published = (*host)->publish();
  INFO(published.message());
  REQUIRE(published.ok());
  return std::move(*host);
}

inline std::shared_ptr<Segment> open_segment(const std::string& name = "imss-data-7000-0") {
  auto segment = Segment::open(name);
  INFO(segment.status().message());
  REQUIRE(segment.ok());
  return *segment;
}

inline Participant& self_of(Segment& segment) {
  auto me = segment.self();
  REQUIRE(me.ok());
  joined().push_back(segment.shared_from_this());
  return **me;
}

inline std::uint64_t bytes_on_disk(const Segment& segment) {
  struct stat status {};
  REQUIRE(::fstat(segment.fd(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

// The wait status of a child that runs `body` and exits with what it returns.
inline int run_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

inline bool was_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

inline void arm_fault(const std::string& spec) {
  ::setenv("IMSS_FAULT", spec.c_str(), 1);
  segment::fault_reload();
}

// Entries of table 0 whose first key word is kOwning reference an extent.
constexpr std::uint64_t kOwning = 0x7000000000000007;

inline Status reach_entries(Segment& segment, const segment::EngineFindings& findings) {
  Table table(segment, segment::kBlockTable);
  return table.for_each([&](Key key, const Values& values) {
    if (key.first == kOwning) findings.owns(Ref(values.value0));
    return true;
  });
}

inline CheckReport check(Segment& segment, bool repair = false) {
  self_of(segment);
  auto report = segment::check_segment(segment, {repair, reach_entries});
  INFO(report.status().message());
  REQUIRE(report.ok());
  return *report;
}

inline void require_sound(Segment& segment) {
  const CheckReport report = check(segment);
  INFO((report.errors.empty() ? std::string("no error") : report.errors.front()));
  CHECK(report.errors.empty());
  CHECK(report.leaked_extents == 0);
}

// Stores contents stamped with their key: whole ones by swap, sparse ones page by page.
class Engine {
 public:
  Engine(Segment& segment, Participant& me, std::uint64_t seed)
      : segment_(segment), me_(me), table_(segment, segment::kBlockTable), random_(seed) {}

  // One random operation. kCorrupt: a content was not what its key says.
  Status step(std::uint64_t keys) {
    const Key key{kOwning, random_() % keys + 1};
    switch (random_() % 8) {
      case 0:
      case 1:
      case 2:
        return put(key, pick_class(), false);
      case 3:
        return put(key, segment::kClass4K + static_cast<std::uint32_t>(random_() % 7), true);
      case 4:
        return write_pages(key);
      case 5:
        return remove(key);
      case 6: {
        auto held = Extents(segment_).take(me_, pick_class(), false);
        if (!held.ok()) return held.status();
        stamp(held->ref, ~0ULL);
        Extents(segment_).put_back(me_, *held);
        return {};
      }
      default:
        return verify(key);
    }
  }

  // Out of memory, and keys that are not there, are as good as success.
  Status steps(int count, std::uint64_t keys) {
    for (int i = 0; i < count; ++i) {
      const Status status = step(keys);
      const Code code = status.code();
      if (code == Code::kOk || code == Code::kNoSpace || code == Code::kNotFound) continue;
      return status;
    }
    return {};
  }

  Status put(Key key, std::uint32_t size_class, bool sparse) {
    Extents extents(segment_);
    auto held = extents.take(me_, size_class, sparse);
    if (!held.ok()) return held.status();
    Status status = sparse ? segment::forget_content(segment_, me_, held->ref) : Status();
    if (!sparse) stamp(held->ref, key.second);
    if (status.ok()) {
      status = edit_one(table_, me_, key, [&](auto& change, auto& edit, Entry* entry, Values old) {
        const Values values{held->ref.word(), 0, 0};
        if (entry == nullptr) {
          IMSS_RETURN_IF_ERROR(edit.insert(me_, key, values));
          change.store(me_.hand[held->slot], 0);
          return Status();
        }
        change.store(me_.hand[held->slot], Extents::retired(Ref(old.value0)));
        edit.update(key, entry, values);
        return Status();
      });
    }
    if (status.ok()) {
      extents.trim(me_);
    } else {
      extents.put_back(me_, *held);
    }
    return status;
  }

  Status remove(Key key) {
    Extents extents(segment_);
    IMSS_ASSIGN_OR_RETURN(const std::uint32_t slot, extents.empty_slot(me_));
    const Status status =
        edit_one(table_, me_, key, [&](auto& change, auto& edit, Entry* entry, Values old) {
          if (entry == nullptr) return Status(Code::kNotFound);
          edit.erase(key, entry);
          change.store(me_.hand[slot], Extents::retired(Ref(old.value0)));
          return Status();
        });
    extents.trim(me_);
    return status;
  }

  Status verify(Key key) {
    Ref ref;
    IMSS_RETURN_IF_ERROR(pin(key, 0, &ref));
    if (ref.none()) return {};
    Status status;
    if (!ref.sparse()) {
      if (stamp_of(ref) != key.second) status = Status(Code::kCorrupt, "a foreign content");
    } else {
      const auto range = segment::pages_of(segment_, ref.offset(), segment::kPageBytes);
      // Never read a page that is not valid: it may have no memory, and reading would make some.
      if (segment::page_valid(segment_, range.first) && word_at(ref.offset()) != key.second) {
        status = Status(Code::kCorrupt, "a foreign page");
      }
    }
    me_.pins[0].store(0, std::memory_order_release);
    return status;
  }

  // Writes one random page of a sparse content.
  Status write_pages(Key key) {
    Ref ref;
    IMSS_RETURN_IF_ERROR(pin(key, Ref::kWritePin, &ref));
    if (ref.none()) return {};
    Status status;
    if (ref.sparse()) {
      const std::uint64_t page = random_() % 2 == 0 ? 0 : random_() % (ref.bytes() / segment::kPageBytes);
      const std::uint64_t offset = ref.offset() + page * segment::kPageBytes;
      std::uint64_t fresh[8];
      const auto range = segment::pages_of(segment_, offset, segment::kPageBytes);
      auto claim = segment::claim_pages(segment_, me_, ref, range, fresh);
      status = claim.ok() ? Status() : claim.status();
      if (status.ok() && *claim == segment::ClaimResult::kClaimed) {
        set_word_at(offset, key.second);
        status = segment::finish_claim(segment_, me_);
      }
    }
    me_.pins[0].store(0, std::memory_order_release);
    return status;
  }

  Table& table() { return table_; }

 private:
  std::uint32_t pick_class() {
    const auto choice = static_cast<std::uint32_t>(random_());
    if (choice % 8 < 5) return choice / 8 % segment::kSmallClasses;
    return segment::kClass4K + choice / 8 % 6;
  }

  // The words are atomic only so that a race that pins allow (a look before the second look) is none.
  std::uint64_t word_at(std::uint64_t offset) const {
    return segment_.at<segment::Word>(offset)->load(std::memory_order_relaxed);
  }
  void set_word_at(std::uint64_t offset, std::uint64_t value) const {
    segment_.at<segment::Word>(offset)->store(value, std::memory_order_relaxed);
  }
  void stamp(Ref ref, std::uint64_t value) const {
    set_word_at(ref.offset(), value);
    set_word_at(ref.offset() + ref.bytes() - 8, value);
  }
  std::uint64_t stamp_of(Ref ref) const {
    const std::uint64_t first = word_at(ref.offset());
    return first == word_at(ref.offset() + ref.bytes() - 8) ? first : 0;
  }

  Status pin(Key key, std::uint64_t flags, Ref* ref) {
    for (;;) {
      Snapshot snapshot;
      IMSS_RETURN_IF_ERROR(table_.find(key, &snapshot));
      if (snapshot.entry == nullptr) {
        *ref = {};
        return {};
      }
      *ref = Ref(snapshot.values.value0);
      me_.pins[0].store(ref->with(flags).word(), std::memory_order_seq_cst);
      if (table_.unchanged(snapshot)) return {};
      me_.pins[0].store(0, std::memory_order_release);
    }
  }

  Segment& segment_;
  Participant& me_;
  Table table_;
  std::mt19937_64 random_;
};

}  // namespace imss::segment_test
