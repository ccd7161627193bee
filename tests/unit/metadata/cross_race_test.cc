// Clients that change one namespace over several metadata servers at the same time: no name is lost or doubled, no
// directories make a circle, and the counters are right in the end.
#include <sys/wait.h>

#include <atomic>
#include <random>
#include <thread>

#include "cross_test_util.h"

using namespace cross;

namespace {

// Codes with which an operation among others may end.
bool acceptable(Code code) {
  switch (code) {
    case Code::kOk:
    case Code::kNotFound:
    case Code::kExists:
    case Code::kNotEmpty:
    case Code::kIsDirectory:
    case Code::kNotDirectory:
    case Code::kWouldCycle:
      return true;
    default:
      return false;
  }
}

// Files that a client has made and that nobody removes have ids of their own: they must be there in the end.
struct Client {
  Client(Cluster& cluster, std::vector<std::uint64_t> directories, unsigned seed)
      : all(cluster), names(cluster.view()), known(std::move(directories)), random(seed) {}

  std::uint64_t any_directory() { return known[random() % known.size()]; }
  std::string any_name() { return std::string(1, static_cast<char>('a' + random() % 6)); }

  // Returns a code that may not be, or kOk.
  Code step() {
    const std::uint64_t from = any_directory();
    const std::uint64_t to = any_directory();
    Status status;
    switch (random() % 10) {
      case 0:
      case 1: {
        std::uint64_t id = 0;
        status = names.make_directory(from, any_name(), &id);
        if (status.ok() && known.size() < 40) known.push_back(id);
        break;
      }
      case 2:
        status = names.remove_directory(from, any_name());
        break;
      case 3:
        status = names.create(from, any_name());
        break;
      case 4:
        status = names.remove(from, any_name());
        break;
      case 5:
        status = names.list(from).status();
        break;
      default:
        status = names.rename(from, any_name(), to, any_name(), random() % 4 == 0);
        break;
    }
    if (acceptable(status.code())) return Code::kOk;
    message = status.message();
    return status.code();
  }

  Cluster& all;
  View names;
  std::vector<std::uint64_t> known;
  std::mt19937 random;
  std::string message;
};

std::vector<std::uint64_t> first_directories(Cluster& all) {
  std::vector<std::uint64_t> ids{all.root()};
  for (std::uint32_t i = 0; i < 2 * all.count(); ++i) {
    ids.push_back(all.make_directory(all.root(), "d" + std::to_string(i), i % all.count()));
  }
  return ids;
}

}  // namespace

TEST_CASE("threads that change a namespace over servers at random leave it whole", "[cross]") {
  const std::uint32_t servers = GENERATE(2U, 3U);
  Cluster all(servers);
  const auto directories = first_directories(all);
  constexpr unsigned kThreads = 4;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  std::vector<std::string> messages(kThreads);
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Client client(all, directories, 100 * servers + t);
      for (int i = 0; i < 1500; ++i) {
        const Code code = client.step();
        if (code == Code::kOk) continue;
        ++wrong;
        messages[t] = std::string(imss::name_of(code)) + ": " + client.message;
        break;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& message : messages) {
    INFO(message);
    CHECK(message.empty());
  }
  REQUIRE(all.upkeep().ok());
  CHECK(all.open_changes() == 0);
  all.tree();
  all.require_sound();
}

TEST_CASE("a directory that is renamed onto itself while others replace it stays", "[cross]") {
  Cluster all(2);
  all.make_directory(all.root(), "d", 0);
  std::atomic<bool> done{false};
  std::thread replacer([&] {
    View names = all.view();
    for (int i = 0; i < 2000; ++i) {
      if (names.make_directory(all.root(), "e", nullptr).ok()) {
        [[maybe_unused]] const Status replaced = names.rename(all.root(), "e", all.root(), "d", false);
      }
    }
    done = true;
  });
  Status status;
  {
    View names = all.view();
    while (!done && status.ok()) status = names.rename(all.root(), "d", all.root(), "d", false);
  }
  replacer.join();
  INFO(status.message());
  CHECK(status.ok());
  CHECK(all.view().rename(all.root(), "d", all.root(), "d", true).code() == Code::kExists);
  CHECK(all.view().rename(all.root(), "none", all.root(), "none", false).code() == Code::kNotFound);
  all.require_sound();
}

TEST_CASE("files that are only moved are all there once, whoever moves them at the same time", "[cross]") {
  Cluster all(3);
  const auto directories = first_directories(all);
  constexpr std::uint64_t kFiles = 24;
  std::map<std::string, std::uint64_t> ids;
  for (std::uint64_t i = 0; i < kFiles; ++i) {
    const std::string name = "f" + std::to_string(i);
    REQUIRE(all.view().create(directories[i % directories.size()], name).ok());
    ids[name] = all.id_of(directories[i % directories.size()], name);
  }
  std::vector<std::thread> threads;
  std::atomic<int> moves{0};
  std::atomic<int> wrong{0};
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      View names = all.view();
      std::mt19937 random(t);
      for (int i = 0; i < 600; ++i) {
        // A name belongs to a file, so that nobody replaces another's.
        const std::string name = "f" + std::to_string(random() % kFiles);
        const Status status = names.rename(directories[random() % directories.size()], name,
                                           directories[random() % directories.size()], name);
        if (status.ok()) ++moves;
        if (!status.ok() && status.code() != Code::kNotFound) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(moves > 100);
  CHECK(all.open_changes() == 0);
  std::map<std::string, std::uint64_t> found;
  for (const auto& [path, entry] : all.tree()) {
    if (entry.type == NodeType::kDataset) REQUIRE(found.emplace(entry.name, entry.id).second);
  }
  CHECK(found == ids);
  all.require_sound();
}

TEST_CASE("opposite moves of directories at the same time do not make a circle", "[cross]") {
  Cluster all(3);
  for (std::uint32_t round = 0; round < 60; ++round) {
    const std::string number = std::to_string(round);
    // a and b move below one another, along paths over all servers.
    const std::uint64_t a = all.make_directory(all.root(), "a" + number, round % 3);
    const std::uint64_t b = all.make_directory(all.root(), "b" + number, (round + 1) % 3);
    const std::uint64_t below_a = all.make_directory(all.make_directory(a, "x", 2), "y", 1);
    const std::uint64_t below_b = all.make_directory(all.make_directory(b, "x", 0), "y", 2);
    std::atomic<int> ready{0};
    Status first;
    Status second;
    const auto move = [&](const std::string& name, std::uint64_t to, Status* status) {
      View names = all.view();
      ++ready;
      while (ready < 2) {
      }
      *status = names.rename(all.root(), name, to, "moved");
    };
    std::thread one([&] { move("a" + number, below_b, &first); });
    std::thread two([&] { move("b" + number, below_a, &second); });
    one.join();
    two.join();
    INFO(first.message() << " / " << second.message());
    // Whoever comes second finds the new parent below what it moves.
    CHECK(first.ok() != second.ok());
    CHECK((first.ok() || first.code() == Code::kWouldCycle));
    CHECK((second.ok() || second.code() == Code::kWouldCycle));
  }
  CHECK(all.tree().size() == 60 * 6);
  CHECK(all.open_changes() == 0);
  all.require_sound();
}

#if !defined(__SANITIZE_THREAD__)
TEST_CASE("clients that are killed amid random changes over servers leave the namespace whole", "[kill]") {
  Cluster all(3);
  const auto directories = first_directories(all);
  for (int round = 0; round < 12; ++round) {
    std::vector<pid_t> children;
    for (unsigned c = 0; c < 3; ++c) {
      const pid_t child = ::fork();
      if (child == 0) {
        Client client(all, directories, static_cast<unsigned>(round) * 10 + c);
        for (;;) {
          if (client.step() == Code::kOk) continue;
          ::fprintf(stderr, "%s\n", client.message.c_str());
          ::_exit(1);
        }
      }
      children.push_back(child);
    }
    // Somebody works on meanwhile, so that claims of the dead are met.
    Client parent(all, directories, 7000 + static_cast<unsigned>(round));
    for (int i = 0; i < 150; ++i) {
      const Code code = parent.step();
      INFO(parent.message);
      REQUIRE(code == Code::kOk);
    }
    for (const pid_t child : children) {
      int status = 0;
      REQUIRE(::kill(child, SIGKILL) == 0);
      REQUIRE(::waitpid(child, &status, 0) == child);
      CHECK(WIFSIGNALED(status));
    }
    for (int i = 0; i < 50; ++i) {
      const Code code = parent.step();
      INFO(parent.message);
      REQUIRE(code == Code::kOk);
    }
    REQUIRE(all.upkeep().ok());
    CHECK(all.open_changes() == 0);
    all.tree();
    all.require_sound();
  }
}
#endif
