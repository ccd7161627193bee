// The metadata file in ordinary use: what is committed is replayed, and one server has it at a
// time.
#include "metadata/journal.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <set>

#include "unit/metadata/journal_test_util.h"

namespace imss::journal_test {

TEST_CASE("records come back in order, with kinds and bytes, after the file is opened again") {
  const Directory directory;
  Records written;
  {
    Journal journal = open_or_fail(directory.file());
    for (std::uint16_t i = 0; i < 100; ++i) {
      written.emplace_back(i, std::string(i * 7, static_cast<char>(i)));
      require_ok(journal.append(i, bytes_of(written.back().second)));
      if (i % 10 == 9) require_ok(journal.commit(i % 20 == 9));
    }
  }
  CHECK(replayed(directory.file()) == written);
}

TEST_CASE("a new file has generation 1, no nonce, no records, and only its owner may read it") {
  const Directory directory;
  const Journal journal = open_or_fail(directory.file());
  CHECK(journal.generation() == 1);
  CHECK(journal.segment_nonce() == 0);
  CHECK(journal.bytes() == journal.snapshot_bytes());
  CHECK(journal.bytes() == std::filesystem::file_size(directory.file()));
  struct stat status {};
  REQUIRE(::stat(directory.file().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK_FALSE(std::filesystem::exists(directory.snapshot_file()));
}

TEST_CASE("an empty file that exists already is taken as a new one") {
  const Directory directory;
  write_file(directory.file(), "");
  commit_group(*std::make_unique<Journal>(open_or_fail(directory.file())), {"a"});
  CHECK(replayed(directory.file()) == Records{{1, "a"}});
}

TEST_CASE("what was appended but not committed is not replayed") {
  const Directory directory;
  {
    Journal journal = open_or_fail(directory.file());
    commit_group(journal, {"kept"});
    require_ok(journal.append(1, bytes_of("lost")));
    CHECK(journal.pending_bytes() > 0);
  }
  CHECK(replayed(directory.file()) == Records{{1, "kept"}});
}

TEST_CASE("a commit of nothing leaves the file as it is") {
  const Directory directory;
  Journal journal = open_or_fail(directory.file());
  const std::uint64_t before = journal.bytes();
  require_ok(journal.commit(true));
  require_ok(journal.commit(false));
  CHECK(journal.bytes() == before);
}

TEST_CASE("a commit goes on where an earlier owner of the file stopped") {
  const Directory directory;
  Records expected;
  for (int round = 0; round < 5; ++round) {
    Journal journal = open_or_fail(directory.file());
    CHECK(journal.cut_bytes() == 0);
    commit_group(journal, {std::to_string(round)}, round % 2 == 0);
    expected.emplace_back(1, std::to_string(round));
  }
  CHECK(replayed(directory.file()) == expected);
}

TEST_CASE(
    "payloads of 0 bytes and of 64 KiB are kept, larger ones and kinds of the file are refused") {
  const Directory directory;
  const std::string largest(kJournalMaxPayloadBytes, 'x');
  {
    Journal journal = open_or_fail(directory.file());
    require_ok(journal.append(1, {}));
    require_ok(journal.append(2, bytes_of(largest)));
    CHECK(journal.append(3, bytes_of(largest + "x")).code() == Code::kInvalidArgument);
    CHECK(journal.append(kJournalFirstOwnKind, {}).code() == Code::kInvalidArgument);
    CHECK(journal.append(kJournalCommit, {}).code() == Code::kInvalidArgument);
    require_ok(journal.commit(true));
  }
  CHECK(replayed(directory.file()) == Records{{1, ""}, {2, largest}});
}

TEST_CASE("the nonce of the segment survives reopening and compaction and is not replayed") {
  const Directory directory;
  {
    Journal journal = open_or_fail(directory.file());
    require_ok(journal.append(1, bytes_of("a")));
    require_ok(journal.set_segment_nonce(0x1122334455667788));
    require_ok(journal.set_segment_nonce(42));
    CHECK(journal.pending_bytes() == 0);
  }
  {
    Journal journal = open_or_fail(directory.file());
    CHECK(journal.segment_nonce() == 42);
    require_ok(journal.begin_snapshot());
    CHECK(journal.set_segment_nonce(43).code() == Code::kBusy);
    require_ok(journal.append_snapshot(1, bytes_of("a")));
    require_ok(journal.finish_snapshot());
    CHECK(journal.segment_nonce() == 42);
  }
  CHECK(open_or_fail(directory.file()).segment_nonce() == 42);
  CHECK(replayed(directory.file()) == Records{{1, "a"}});
}

TEST_CASE(
    "a second server is refused with a sentence that names the file, until the first is gone") {
  const Directory directory;
  auto first = std::make_unique<Journal>(open_or_fail(directory.file()));
  const auto refused = [&] {
    const Result<Journal> second = Journal::open(directory.file(), ignore_record);
    CHECK(second.code() == Code::kBusy);
    CHECK_THAT(second.status().message(), Catch::Contains(directory.file()));
  };
  refused();
  require_ok(first->begin_snapshot());
  refused();
  require_ok(first->finish_snapshot());
  refused();
  commit_group(*first, {"a"});
  first.reset();
  CHECK(replayed(directory.file()) == Records{{1, "a"}});
}

TEST_CASE("a server that opened the file just before its owner replaced it gets the new file") {
  const Directory directory;
  auto owner = std::make_unique<Journal>(open_or_fail(directory.file()));
  commit_group(*owner, {"old"});
  int attempts = 0;
  const auto replace_meanwhile = [&](std::string_view step) {
    if (step != "journal.open.opened" || ++attempts > 1) return 0;
    require_ok(owner->begin_snapshot());
    require_ok(owner->append_snapshot(1, bytes_of("new")));
    require_ok(owner->finish_snapshot());
    owner.reset();
    return 0;
  };
  Records records;
  Result<Journal> journal = Journal::open(directory.file(), collect(records), replace_meanwhile);
  INFO(journal.status().message());
  REQUIRE(journal.ok());
  CHECK(attempts == 2);
  CHECK(records == Records{{1, "new"}});
}

TEST_CASE("an error of the replay is what opening reports, and the file stays as it was") {
  const Directory directory;
  commit_group(*std::make_unique<Journal>(open_or_fail(directory.file())), {"a", "b"});
  const std::string before = read_file(directory.file());
  int seen = 0;
  const auto failing = [&](std::uint16_t, std::span<const std::byte>) {
    return ++seen == 2 ? Status(Code::kNoMemory) : Status();
  };
  CHECK(Journal::open(directory.file(), failing).code() == Code::kNoMemory);
  CHECK(seen == 2);
  CHECK(read_file(directory.file()) == before);
}

TEST_CASE("what is not a metadata file is refused and not touched") {
  const Directory directory;
  const std::string text = "node1\nnode2\n";
  for (const std::string& content :
       {text, std::string(4096, '\0'), std::string("I"), std::string(200, 'x')}) {
    write_file(directory.file(), content);
    const Result<Journal> journal = Journal::open(directory.file(), ignore_record);
    CHECK(journal.code() == Code::kCorrupt);
    CHECK_THAT(journal.status().message(), Catch::Contains("not a metadata file"));
    CHECK(read_file(directory.file()) == content);
  }
  CHECK_FALSE(Journal::open(directory.path(), ignore_record).ok());
  CHECK_FALSE(Journal::open(directory.path() + "/absent/metadata", ignore_record).ok());
  REQUIRE(::mkfifo((directory.path() + "/pipe").c_str(), 0600) == 0);
  CHECK(Journal::open(directory.path() + "/pipe", ignore_record).code() == Code::kInvalidArgument);
}

TEST_CASE("a file reached by a symbolic link keeps its place when it is replaced") {
  const Directory directory;
  const std::string link = directory.path() + "/link";
  std::filesystem::create_symlink("metadata", link);
  {
    Journal journal = open_or_fail(link);
    CHECK(journal.path() == std::filesystem::canonical(directory.file()));
    require_ok(journal.begin_snapshot());
    require_ok(journal.append_snapshot(1, bytes_of("a")));
    require_ok(journal.finish_snapshot());
  }
  CHECK(std::filesystem::is_symlink(link));
  CHECK(replayed(directory.file()) == Records{{1, "a"}});
}

// Limits the size of files this process may write, as a full file system would, and takes the limit
// back.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes) : old_handler_(::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &old_) == 0);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

TEST_CASE(
    "a commit without room leaves the file at the last commit and succeeds when there is room") {
  const Directory directory;
  {
    Journal journal = open_or_fail(directory.file());
    commit_group(journal, {"a"});
    const std::uint64_t before = journal.bytes();
    require_ok(journal.append(1, bytes_of(std::string(1000, 'b'))));
    {
      const FileSizeLimit limit(before + 100);
      CHECK(journal.commit(true).code() == Code::kNoSpace);
      CHECK(journal.set_segment_nonce(7).code() == Code::kNoSpace);
    }
    CHECK(journal.bytes() == before);
    CHECK(std::filesystem::file_size(directory.file()) == before);
    CHECK(journal.segment_nonce() == 0);
    require_ok(journal.commit(true));
    commit_group(journal, {"c"});
  }
  CHECK(replayed(directory.file()) == Records{{1, "a"}, {1, std::string(1000, 'b')}, {1, "c"}});
  CHECK(open_or_fail(directory.file()).segment_nonce() == 0);
}

TEST_CASE("a snapshot without room is reported, leaves no file behind, and the old file goes on") {
  const Directory directory;
  {
    Journal journal = open_or_fail(directory.file());
    commit_group(journal, {"a"});
    require_ok(journal.begin_snapshot());
    require_ok(journal.append_snapshot(1, bytes_of(std::string(60000, 'b'))));
    {
      const FileSizeLimit limit(10000);
      CHECK(journal.finish_snapshot().code() == Code::kNoSpace);
    }
    CHECK_FALSE(journal.in_snapshot());
    CHECK_FALSE(std::filesystem::exists(directory.snapshot_file()));
    commit_group(journal, {"c"});
  }
  CHECK(replayed(directory.file()) == Records{{1, "a"}, {1, "c"}});
}

TEST_CASE("after a failed sync nothing is committed until a snapshot has written everything anew") {
  const Directory directory;
  std::set<std::string> failing;
  {
    Journal journal = open_or_fail(directory.file(), [&](std::string_view step) {
      return failing.count(std::string(step)) != 0 ? EIO : 0;
    });
    commit_group(journal, {"a"});
    failing = {"journal.commit.synced"};
    require_ok(journal.append(1, bytes_of("b")));
    CHECK(journal.commit(true).code() == Code::kUnknownOutcome);
    failing.clear();
    require_ok(journal.append(1, bytes_of("c")));
    CHECK(journal.commit(true).code() == Code::kIo);
    CHECK(journal.commit(false).code() == Code::kIo);
    CHECK(journal.set_segment_nonce(1).code() == Code::kIo);
    require_ok(journal.begin_snapshot());
    require_ok(journal.append_snapshot(2, bytes_of("all")));
    require_ok(journal.finish_snapshot());
    commit_group(journal, {"d"});
  }
  CHECK(replayed(directory.file()) == Records{{1, "c"}, {2, "all"}, {1, "d"}});
}

TEST_CASE("a million records are replayed, each one once and in order") {
  const Directory directory;
  constexpr std::uint64_t kCount = 1000000;
  {
    Journal journal = open_or_fail(directory.file());
    for (std::uint64_t i = 0; i < kCount; ++i) {
      if (!journal.append(static_cast<std::uint16_t>(i % 5), journal_bytes_of(i)).ok())
        FAIL("append " << i);
      if (i % 1000 == 999) require_ok(journal.commit(false));
    }
    CHECK(journal.bytes() > kCount * journal_record_bytes(sizeof(std::uint64_t)));
  }
  std::uint64_t next = 0;
  const Result<Journal> journal =
      Journal::open(directory.file(), [&](std::uint16_t kind, std::span<const std::byte> payload) {
        const bool expected =
            kind == next % 5 && journal_payload_as<std::uint64_t>(payload) == next;
        ++next;
        return expected ? Status() : Status(Code::kCorrupt);
      });
  INFO(journal.status().message());
  CHECK(journal.ok());
  CHECK(next == kCount);
}

}  // namespace imss::journal_test
