// Clients and servers killed at each fault point of changes over several metadata servers: the whole change is there
// afterwards or nothing of it, for whoever comes next, and nothing stays claimed or leaks.
//
// ThreadSanitizer does not follow a fork of a process with threads: these tests are left out of its builds.
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>

#include "cross_test_util.h"
#include "segment/fault.h"

#if !defined(__SANITIZE_THREAD__)

using namespace cross;

namespace {

struct Place {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::uint64_t fixed_id = 0;  // for a directory that is made
};

struct Operation {
  std::string name;
  std::function<void(Cluster&, const Place&)> prepare;    // in the parent; REQUIREs
  std::function<Status(Cluster&, const Place&)> run;      // in the child
  Code expected = Code::kOk;
  std::string victim{};                                   // path of a dataset that is replaced
};

// Path and id of everything.
std::map<std::string, std::uint64_t> picture(Cluster& all) {
  std::map<std::string, std::uint64_t> ids;
  for (const auto& [path, entry] : all.tree()) ids[path] = entry.id;
  return ids;
}

int in_child(const char* variable, const std::string& value, const std::function<Status()>& work, Code expected) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv(variable, value.c_str(), 1);
    imss::segment::fault_reload();
    const Status status = work();
    if (status.code() != expected) ::fprintf(stderr, "%s\n", status.message().c_str());
    ::_exit(status.code() == expected ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

struct Stage {
  explicit Stage(const Operation& operation) : all(3) {
    place.from = all.make_directory(all.root(), "from", 0);
    place.to = all.make_directory(all.root(), "to", 1);
    REQUIRE(all.view().create(place.from, "kept").ok());
    do {
      place.fixed_id = *all.part(2).names.new_id();
    } while (all.view().home(place.fixed_id) != 2);
    operation.prepare(all, place);
    before = picture(all);
  }
  Cluster all;
  Place place;
  std::map<std::string, std::uint64_t> before;
};

void settle(Cluster& all) {
  const Status settled = all.upkeep();
  INFO(settled.message());
  REQUIRE(settled.ok());
}

// Others look around before anybody has noticed the death; what they meet they settle. A change that the dead had
// committed may take effect between two of their looks.
void look_around(Cluster& all, const Place& place) {
  View names = all.view();
  for (int round = 0; round < 2; ++round) {
    for (const std::uint64_t directory : {place.to, place.from}) {
      const auto entries = names.list(directory);
      INFO(entries.status().message());
      REQUIRE(entries.ok());
      for (const EntryInfo& entry : *entries) {
        const auto found = names.lookup(directory, entry.name);
        CHECK((found.ok() || found.code() == Code::kNotFound));
        if (entry.type != NodeType::kDirectory) continue;
        const auto inside = names.directory(entry.id);
        CHECK((inside.ok() || inside.code() == Code::kNotFound));
      }
    }
  }
  for (std::uint32_t i = 0; i < all.count(); ++i) (*all.part(i).hosted).clean_up();
}

struct Traced {
  std::map<std::string, int> passes;
  std::map<std::string, std::uint64_t> after;
};

Traced trace(const Operation& operation) {
  Stage stage(operation);
  const std::string file = "/tmp/imss_cross_trace_" + std::to_string(::getpid());
  ::unlink(file.c_str());
  REQUIRE(in_child("IMSS_FAULT_TRACE", file, [&] { return operation.run(stage.all, stage.place); },
                   operation.expected) == 0);
  settle(stage.all);
  Traced traced;
  traced.after = picture(stage.all);
  CHECK((traced.after == stage.before) == (operation.expected != Code::kOk));
  stage.all.require_sound();
  std::ifstream lines(file);
  for (std::string point; std::getline(lines, point);) ++traced.passes[point];
  ::unlink(file.c_str());
  return traced;
}

// All passes where they are few; else the first ones, the last ones and some between.
std::set<int> chosen(int passes) {
  constexpr int kFew = 24;
  std::set<int> numbers;
  const int step = passes <= kFew ? 1 : passes / 12;
  for (int number = 1; number <= passes; number += step) numbers.insert(number);
  for (const int number : {2, 3, passes - 1, passes}) {
    if (number >= 1 && number <= passes) numbers.insert(number);
  }
  return numbers;
}

void kill_everywhere(const Operation& operation) {
  const Traced traced = trace(operation);
  REQUIRE(!traced.passes.empty());
  for (const auto& [point, count] : traced.passes) {
    for (const int number : chosen(count)) {
      const std::string fault = point + ":" + std::to_string(number) + ":kill";
      INFO(operation.name << " killed at " << fault);
      Stage stage(operation);
      const int status = in_child("IMSS_FAULT", fault, [&] { return operation.run(stage.all, stage.place); },
                                  operation.expected);
      const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
      CHECK((killed || status == 0));
      // Once by those who come next and meet what it left, once by the servers.
      if (number % 2 == 0) settle(stage.all);
      look_around(stage.all, stage.place);
      const auto seen = picture(stage.all);
      CHECK((seen == stage.before || seen == traced.after));
      if (!killed) CHECK(seen == traced.after);
      settle(stage.all);
      CHECK(picture(stage.all) == seen);
      stage.all.require_sound();
      if (!operation.victim.empty()) {
        std::set<std::uint64_t> dropped;
        if (seen == traced.after) dropped.insert(stage.before.at(operation.victim));
        CHECK(stage.all.reaped() == dropped);
      }
      // And it can be done still.
      if (operation.expected == Code::kOk && seen == stage.before) {
        const Status again = operation.run(stage.all, stage.place);
        INFO(again.message());
        CHECK(again.ok());
        CHECK(picture(stage.all) == traced.after);
      }
    }
  }
}

Status rename(Cluster& all, std::uint64_t from, const char* name, std::uint64_t to, const char* new_name) {
  // What it replaced is left to the reaper, so that one can see who dropped it.
  return all.view().cross().rename(from, name, to, new_name, false).status();
}

std::vector<Operation> directories() {
  return {
      {"making a directory", [](Cluster&, const Place&) {},
       [](Cluster& all, const Place& place) {
         std::uint64_t id = place.fixed_id;
         return all.view().make_directory(place.from, "new", &id);
       }},
      {"removing a directory",
       [](Cluster& all, const Place& place) { all.make_directory(place.from, "gone", 2); },
       [](Cluster& all, const Place& place) { return all.view().remove_directory(place.from, "gone"); }},
      {"removing a directory that is not empty",
       [](Cluster& all, const Place& place) {
         const auto id = all.make_directory(place.from, "full", 2);
         REQUIRE(all.view().create(id, "inside").ok());
       },
       [](Cluster& all, const Place& place) { return all.view().remove_directory(place.from, "full"); },
       Code::kNotEmpty},
  };
}

std::vector<Operation> files() {
  return {
      {"moving a file", [](Cluster&, const Place&) {},
       [](Cluster& all, const Place& place) { return rename(all, place.from, "kept", place.to, "moved"); }},
      {"moving a file over another",
       [](Cluster& all, const Place& place) { REQUIRE(all.view().create(place.to, "target").ok()); },
       [](Cluster& all, const Place& place) { return rename(all, place.from, "kept", place.to, "target"); },
       Code::kOk, "to/target"},
      {"moving a file over a directory",
       [](Cluster& all, const Place& place) { all.make_directory(place.to, "target", 0); },
       [](Cluster& all, const Place& place) { return rename(all, place.from, "kept", place.to, "target"); },
       Code::kIsDirectory},
  };
}

std::vector<Operation> moved_directories() {
  const auto make = [](Cluster& all, const Place& place) {
    const auto id = all.make_directory(place.from, "moved", 2);
    REQUIRE(all.view().create(id, "inside").ok());
  };
  return {
      {"moving a directory", make,
       [](Cluster& all, const Place& place) { return rename(all, place.from, "moved", place.to, "fresh"); }},
      {"moving a directory over an empty one",
       [make](Cluster& all, const Place& place) {
         make(all, place);
         all.make_directory(place.to, "empty", 0);
       },
       [](Cluster& all, const Place& place) { return rename(all, place.from, "moved", place.to, "empty"); }},
      {"moving a directory over one that is not empty",
       [make](Cluster& all, const Place& place) {
         make(all, place);
         const auto id = all.make_directory(place.to, "full", 2);
         REQUIRE(all.view().create(id, "inside").ok());
       },
       [](Cluster& all, const Place& place) { return rename(all, place.from, "moved", place.to, "full"); },
       Code::kNotEmpty},
      {"renaming a directory over an empty one beside it",
       [make](Cluster& all, const Place& place) {
         make(all, place);
         all.make_directory(place.from, "empty", 1);
       },
       [](Cluster& all, const Place& place) { return rename(all, place.from, "moved", place.from, "empty"); }},
      {"moving a directory below itself",
       [make](Cluster& all, const Place& place) {
         make(all, place);
         all.make_directory(all.id_of(place.from, "moved"), "below", 1);
       },
       [](Cluster& all, const Place& place) {
         const auto moved = all.id_of(place.from, "moved");
         return rename(all, place.from, "moved", all.id_of(moved, "below"), "x");
       },
       Code::kWouldCycle},
  };
}

}  // namespace

TEST_CASE("a client killed at any fault point of a change over servers leaves all or nothing of it", "[kill]") {
  for (const auto& operations : {directories(), files(), moved_directories()}) {
    for (const Operation& operation : operations) {
      DYNAMIC_SECTION(operation.name) { kill_everywhere(operation); }
    }
  }
}

TEST_CASE("whoever finishes a change of the dead may be killed as well", "[kill]") {
  const Operation none{"", [](Cluster& all, const Place& place) {
                         const auto id = all.make_directory(place.from, "moved", 2);
                         REQUIRE(all.view().create(id, "inside").ok());
                         all.make_directory(place.to, "empty", 0);
                       },
                       {}};
  const bool decided = GENERATE(true, false);
  const bool by_upkeep = GENERATE(true, false);
  const auto leave = [&](Stage& stage) {
    const std::string fault = decided ? "cross.decided:1:kill" : "cross.directory_claimed:2:kill";
    const int status = in_child(
        "IMSS_FAULT", fault,
        [&] { return rename(stage.all, stage.place.from, "moved", stage.place.to, "empty"); }, Code::kOk);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(stage.all.open_changes() != 0);
    for (std::uint32_t i = 0; i < stage.all.count(); ++i) (*stage.all.part(i).hosted).clean_up();
  };
  const auto finish = [&](Stage& stage) -> Status {
    if (by_upkeep) {
      std::vector<std::unique_ptr<ChangeUpkeep>> all;
      for (std::uint32_t i = 0; i < stage.all.count(); ++i) {
        all.push_back(std::make_unique<ChangeUpkeep>(stage.all.part(i).hosted.segment()));
      }
      for (int round = 0; round < 2; ++round) {
        for (const auto& one : all) IMSS_RETURN_IF_ERROR(one->run(stage.all.services()));
      }
      return {};
    }
    View names = stage.all.view();
    IMSS_RETURN_IF_ERROR(names.list(stage.place.to).status());
    const auto moved = names.lookup(decided ? stage.place.to : stage.place.from, decided ? "empty" : "moved");
    IMSS_RETURN_IF_ERROR(moved.status());
    return names.directory(moved->id).status();
  };
  std::map<std::string, int> passes;
  std::map<std::string, std::uint64_t> after;
  {
    Stage stage(none);
    leave(stage);
    const std::string file = "/tmp/imss_cross_trace_" + std::to_string(::getpid());
    ::unlink(file.c_str());
    REQUIRE(in_child("IMSS_FAULT_TRACE", file, [&] { return finish(stage); }, Code::kOk) == 0);
    settle(stage.all);
    after = picture(stage.all);
    CHECK((after == stage.before) == !decided);
    std::ifstream lines(file);
    for (std::string point; std::getline(lines, point);) ++passes[point];
    ::unlink(file.c_str());
  }
  for (const auto& [point, count] : passes) {
    for (const int number : chosen(count)) {
      const std::string fault = point + ":" + std::to_string(number) + ":kill";
      INFO("killed at " << fault);
      Stage stage(none);
      leave(stage);
      const int status = in_child("IMSS_FAULT", fault, [&] { return finish(stage); }, Code::kOk);
      CHECK((WIFSIGNALED(status) || status == 0));
      if (number % 2 == 0) settle(stage.all);
      look_around(stage.all, stage.place);
      CHECK(picture(stage.all) == after);
      settle(stage.all);
      CHECK(picture(stage.all) == after);
      stage.all.require_sound();
    }
  }
}
#endif
