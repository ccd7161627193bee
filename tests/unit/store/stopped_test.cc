// Processes that are stopped in the middle of an operation: they hold back what they have pinned
// and nothing else, and what they find when they wake up is right.
#include <sys/wait.h>

#include <cstdlib>
#include <functional>

#include "engines.h"
#include "segment/fault.h"

#if !defined(__SANITIZE_THREAD__)  // which does not follow a fork of a process with threads

using engines::DataEngine;
using engines::is_stamped;
using engines::kKiB;
using engines::NameEngine;
using engines::stamped;

namespace {

// A child that stops itself at a fault point of `work`, and exits with 0 if `work` is content.
class Stopped {
 public:
  Stopped(const std::string& point, const std::function<bool()>& work) : child_(::fork()) {
    if (child_ == 0) {
      ::setenv("IMSS_FAULT", (point + ":1:stop").c_str(), 1);
      imss::segment::fault_reload();
      ::_exit(work() ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child_, &status, WUNTRACED) == child_);
    REQUIRE(WIFSTOPPED(status));
  }
  ~Stopped() {
    if (child_ > 0) ::kill(child_, SIGKILL);
  }
  bool is_content_when_it_wakes_up() {
    ::kill(child_, SIGCONT);
    int status = 0;
    REQUIRE(::waitpid(child_, &status, 0) == child_);
    child_ = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  pid_t child_;
};

constexpr std::size_t kBytes = 64 * kKiB;

// Other contents, which reuse whatever can be reused.
void put_others(DataEngine& engine) {
  for (std::uint64_t block = 2; block < 12; ++block)
    REQUIRE(engine.store.put({1, block}, stamped(kBytes, 90)).ok());
}

}  // namespace

TEST_CASE("a reader stopped before it pins reads what stands when it wakes up", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 1)).ok());
  Stopped reader("block.found", [&] {
    std::vector<std::byte> out(kBytes);
    return engine.store.get({1, 1}, 0, out).ok() && is_stamped(out, 3);
  });
  Stopped viewer("block.view_found", [&] {
    auto view = engine.store.view({1, 1}, kBytes);
    return view.ok() && is_stamped(view->bytes, 3);
  });
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 3)).ok());
  put_others(engine);
  CHECK(reader.is_content_when_it_wakes_up());
  CHECK(viewer.is_content_when_it_wakes_up());
  engine.hosted.require_sound();
}

TEST_CASE("a reader stopped with its pin reads the content that it pinned", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 1)).ok());
  Stopped reader("block.pinned", [&] {
    std::vector<std::byte> out(kBytes);
    return engine.store.get({1, 1}, 0, out).ok() && is_stamped(out, 1);
  });
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 3)).ok());
  put_others(engine);
  CHECK(reader.is_content_when_it_wakes_up());
  engine.hosted.require_sound();
}

TEST_CASE("a writer that was stopped does not write into what others have now", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 1)).ok());
  const std::string point = GENERATE("block.found", "block.pinned");
  Stopped writer(point, [&] {
    return engine.store.write({1, 1}, 0, stamped(kBytes, 66), kBytes).ok();
  });
  REQUIRE(engine.store.erase({1, 1}).ok());
  put_others(engine);
  CHECK(writer.is_content_when_it_wakes_up());
  for (std::uint64_t block = 2; block < 12; ++block) {
    std::vector<std::byte> out(kBytes);
    REQUIRE(engine.store.get({1, block}, 0, out).ok());
    INFO(point << ", block " << block);
    CHECK(is_stamped(out, 90));
  }
  engine.hosted.require_sound();
}

TEST_CASE("a first writer stopped with its claim costs others a timeout on those pages only",
          "[store]") {
  DataEngine engine;
  constexpr std::size_t kBlockBytes = 1024 * kKiB;
  REQUIRE(engine.store.write({1, 1}, 0, stamped(kBytes + 8, 1), kBlockBytes).ok());
  Stopped writer("pages.claimed", [&] {
    return engine.store.write({1, 1}, 512 * kKiB, stamped(kBytes, 2), kBlockBytes).ok();
  });
  imss::segment::set_thread_deadline_ms(50);
  CHECK(engine.store.write({1, 1}, 512 * kKiB, stamped(8, 3), kBlockBytes).code() ==
        imss::Code::kTimedOut);
  imss::segment::set_thread_deadline_ms(0);
  CHECK(engine.store.write({1, 1}, 900 * kKiB, stamped(kBytes, 4), kBlockBytes).ok());
  std::vector<std::byte> out(kBytes);
  CHECK(engine.store.get({1, 1}, 512 * kKiB, out).ok());
  CHECK(is_stamped(out, 0));
  CHECK(engine.store.put({1, 1}, stamped(kBlockBytes, 5)).ok());
  CHECK(writer.is_content_when_it_wakes_up());
  CHECK(engine.store.get({1, 1}, 512 * kKiB, out).ok());
  CHECK(is_stamped(out, 5));
  engine.hosted.require_sound();
}

TEST_CASE("whoever looks up a name and is stopped finds what the name stands for when it wakes up",
          "[namespace]") {
  NameEngine engine;
  const auto create = [&](const std::string& name) {
    imss::metadata::EntryInfo info;
    info.parent = imss::metadata::kInstancesDirectory;
    info.name = name;
    info.type = imss::metadata::NodeType::kDataset;
    auto pending = engine.names.prepare(info);
    REQUIRE(pending.ok());
    REQUIRE(engine.names.publish(*pending).ok());
    return pending->info.id;
  };
  create("name");
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  Stopped reader("names.found", [&] {
    std::uint64_t wanted = 0;
    auto found = engine.names.lookup(imss::metadata::kInstancesDirectory, "name");
    return ::read(ends[0], &wanted, sizeof(wanted)) == sizeof(wanted) && found.ok() &&
           found->id == wanted;
  });
  auto removed = engine.names.remove(imss::metadata::kInstancesDirectory, "name");
  REQUIRE(removed.ok());
  engine.names.forget(*removed);
  for (int i = 0; i < 20; ++i) create("nam" + std::to_string(i));
  const std::uint64_t now = create("name");
  REQUIRE(::write(ends[1], &now, sizeof(now)) == sizeof(now));
  CHECK(reader.is_content_when_it_wakes_up());
  ::close(ends[0]);
  ::close(ends[1]);
  engine.hosted.require_sound();
}

#endif
