// Operations that are killed at each fault point they pass, and what must be true afterwards: all
// or nothing of the operation is there, everything else is as it was, nothing has leaked, and
// others go on.
//
// ThreadSanitizer does not follow a fork of a process with threads: these tests are left out of its
// builds.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "segment/fault.h"
#include "segment/table.h"
#include "session_test_util.h"

namespace kills {

using engines::is_stamped;
using engines::kKiB;
using engines::kMiB;
using engines::stamped;
using engines::World;
using imss::Code;
using imss::Status;
using imss::client::DatasetOptions;
using sessions::all_blocks;
using sessions::blocks_of;
using sessions::Bytes;
using sessions::exists;
using sessions::make;
using sessions::Opened;
using sessions::read;

enum class Outcome { kNothing, kDone, kBroken };

struct Operation {
  std::string name;
  std::function<void(World&)> prepare;  // in the parent; REQUIREs
  std::function<Status(World&)> run;    // in the child
  std::function<Outcome(World&)> look;  // in the parent, afterwards
  bool repeatable = true;               // run() again makes kDone out of kNothing
  std::uint32_t data_servers = 2;
};

constexpr std::uint64_t kKeptBlocks = 6;
constexpr std::uint64_t kNameless = 900;  // a dataset that only the store knows

// Runs `work` in a child with the environment variable set. Returns how the child ended.
inline int in_child(const char* variable, const std::string& value,
                    const std::function<Status()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv(variable, value.c_str(), 1);
    imss::segment::fault_reload();
    const Status status = work();
    if (!status.ok()) ::fprintf(stderr, "%s\n", status.message().c_str());
    ::_exit(status.ok() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

inline std::size_t directories(World& world) {
  std::set<std::uint64_t> known;
  imss::segment::Table table(*world.metadata().hosted, imss::segment::kDirectoryTable);
  REQUIRE(table
              .for_each([&](imss::segment::Key key, const imss::segment::Values&) {
                known.insert(key.first);
                return true;
              })
              .ok());
  return known.size();
}

inline void prepare_kept(World& world) {
  make(world, "kept/data", blocks_of(5000, kKeptBlocks), kKeptBlocks, 700);
}

inline void look_at_kept(World& world) {
  for (std::uint64_t block = 1; block <= kKeptBlocks; ++block) {
    REQUIRE(is_stamped(read(world, "kept/data", block, 5000), 700 + block));
  }
}

inline void go_on(World& world) {
  make(world, "kept/more", blocks_of(5000), 2, 800);
  REQUIRE(world.session().rename(World::uri("kept/more"), World::uri("kept/most")).ok());
  REQUIRE(is_stamped(read(world, "kept/most", 2, 5000), 802));
  REQUIRE(world.session().unlink(World::uri("kept/most")).ok());
  look_at_kept(world);
}

// The fault points that an operation passes, with how often.
inline std::map<std::string, int> trace(const Operation& operation) {
  World world(operation.data_servers);
  prepare_kept(world);
  operation.prepare(world);
  const std::string file = "/tmp/imss_trace_" + std::to_string(::getpid());
  ::unlink(file.c_str());
  REQUIRE(in_child("IMSS_FAULT_TRACE", file, [&] { return operation.run(world); }) == 0);
  world.upkeep();
  CHECK(operation.look(world) == Outcome::kDone);
  world.require_sound();
  std::map<std::string, int> passes;
  std::ifstream lines(file);
  for (std::string point; std::getline(lines, point);) ++passes[point];
  ::unlink(file.c_str());
  return passes;
}

// All passes where they are few, else the first three, the last two and one in the middle.
inline std::set<int> chosen(int passes) {
  constexpr int kFew = 16;
  std::set<int> numbers;
  for (int number = 1; number <= passes && passes <= kFew; ++number) numbers.insert(number);
  for (const int number : {1, 2, 3, passes / 2, passes - 1, passes}) {
    if (number >= 1 && number <= passes) numbers.insert(number);
  }
  return numbers;
}

inline void kill_everywhere(const Operation& operation) {
  const auto passes = trace(operation);
  REQUIRE(!passes.empty());
  for (const auto& [point, count] : passes) {
    for (const int number : chosen(count)) {
      const std::string fault = point + ":" + std::to_string(number) + ":kill";
      INFO(operation.name << " killed at " << fault);
      World world(operation.data_servers);
      prepare_kept(world);
      operation.prepare(world);
      const int status = in_child("IMSS_FAULT", fault, [&] { return operation.run(world); });
      const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
      CHECK((killed || status == 0));
      world.upkeep();
      Outcome outcome = operation.look(world);
      CHECK(outcome != Outcome::kBroken);
      if (!killed) CHECK(outcome == Outcome::kDone);
      look_at_kept(world);
      world.require_sound();
      go_on(world);
      if (operation.repeatable && outcome == Outcome::kNothing) {
        const Status again = operation.run(world);
        INFO(again.message());
        CHECK(again.ok());
        CHECK(operation.look(world) == Outcome::kDone);
      }
      world.upkeep();
      world.require_sound();
      const Status destroyed = world.session().destroy_instance("w");
      INFO(destroyed.message());
      REQUIRE(destroyed.ok());
      CHECK(all_blocks(world, kNameless) == 0);
      CHECK(directories(world) == 1 + world.names().instances()->size());
    }
  }
}

}  // namespace kills
