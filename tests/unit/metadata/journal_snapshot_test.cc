// Compaction of the metadata file, and what a crash at each of its steps leaves.
#include <algorithm>

#include "segment/fault.h"
#include "unit/metadata/journal_test_util.h"

namespace imss::journal_test {

TEST_CASE("a snapshot replaces the journal before it and makes the file smaller") {
  const Directory directory;
  {
    Journal journal = open_or_fail(directory.file());
    for (int i = 0; i < 100; ++i) commit_group(journal, {"version " + std::to_string(i)}, false);
    const std::uint64_t before = journal.bytes();
    require_ok(journal.begin_snapshot());
    require_ok(journal.append_snapshot(1, bytes_of("version 99")));
    require_ok(journal.finish_snapshot());
    CHECK(journal.generation() == 2);
    CHECK(journal.bytes() < before);
    CHECK(journal.bytes() == journal.snapshot_bytes());
    commit_group(journal, {"version 100"});
    CHECK(journal.bytes() > journal.snapshot_bytes());
    CHECK(journal.bytes() == std::filesystem::file_size(directory.file()));
  }
  CHECK(replayed(directory.file()) == Records{{1, "version 99"}, {1, "version 100"}});
  CHECK(open_or_fail(directory.file()).generation() == 2);
}

TEST_CASE("what is committed while a snapshot is streamed is in the old file and in the new one") {
  const Directory directory;
  const std::string copy = directory.path() + "/copy";
  {
    Journal journal = open_or_fail(directory.file());
    commit_group(journal, {"a1"});
    require_ok(journal.append(1, bytes_of("pending")));
    require_ok(journal.begin_snapshot());
    require_ok(journal.append_snapshot(1, bytes_of("a1")));
    commit_group(journal, {"b1"});
    require_ok(journal.append_snapshot(1, bytes_of("c1")));
    std::filesystem::copy_file(directory.file(), copy);
    require_ok(journal.append(1, bytes_of("a2")));
    require_ok(journal.finish_snapshot());
    CHECK(journal.pending_bytes() == 0);
  }
  CHECK(replayed(copy) == Records{{1, "a1"}, {1, "pending"}, {1, "b1"}});
  CHECK(replayed(directory.file()) ==
        Records{{1, "pending"}, {1, "a1"}, {1, "b1"}, {1, "c1"}, {1, "a2"}});
}

TEST_CASE("a snapshot much larger than its buffer is streamed and replayed whole") {
  const Directory directory;
  const std::string payload(60000, 's');
  Records expected;
  {
    Journal journal = open_or_fail(directory.file());
    require_ok(journal.begin_snapshot());
    for (std::uint16_t i = 0; i < 200; ++i) {
      require_ok(journal.append_snapshot(i, bytes_of(payload)));
      expected.emplace_back(i, payload);
    }
    require_ok(journal.finish_snapshot());
  }
  CHECK(replayed(directory.file()) == expected);
}

TEST_CASE("an abandoned snapshot leaves the old file in use and nothing beside it") {
  const Directory directory;
  {
    Journal journal = open_or_fail(directory.file());
    commit_group(journal, {"a"});
    require_ok(journal.begin_snapshot());
    CHECK(std::filesystem::exists(directory.snapshot_file()));
    CHECK(journal.begin_snapshot().code() == Code::kBusy);
    require_ok(journal.append_snapshot(1, bytes_of("x")));
    require_ok(journal.abandon_snapshot());
    CHECK_FALSE(std::filesystem::exists(directory.snapshot_file()));
    commit_group(journal, {"b"});
    CHECK(journal.generation() == 1);
    CHECK(journal.append_snapshot(1, {}).code() == Code::kInvalidArgument);
    CHECK(journal.finish_snapshot().code() == Code::kInvalidArgument);
    CHECK(journal.abandon_snapshot().code() == Code::kInvalidArgument);
    require_ok(journal.begin_snapshot());
  }
  CHECK_FALSE(std::filesystem::exists(directory.snapshot_file()));
  CHECK(replayed(directory.file()) == Records{{1, "a"}, {1, "b"}});
}

TEST_CASE("what a crash left of a snapshot is removed when the file is opened") {
  const Directory directory;
  commit_group(*std::make_unique<Journal>(open_or_fail(directory.file())), {"a"});
  write_file(directory.snapshot_file(), read_file(directory.file()).substr(0, 90));
  CHECK(replayed(directory.file()) == Records{{1, "a"}});
  CHECK_FALSE(std::filesystem::exists(directory.snapshot_file()));
  // Also when the crash was in the making of the first file.
  write_file(directory.snapshot_file(), "part");
  write_file(directory.file(), "");
  CHECK(replayed(directory.file()).empty());
  CHECK_FALSE(std::filesystem::exists(directory.snapshot_file()));
}

// Commits, writes a snapshot and commits again; ends the process at the step named, exit status 7.
void run_and_die_at(const std::string& path, std::string_view death, int occurrence) {
  int seen = 0;
  const auto die = [&](std::string_view step) {
    if (step == death && ++seen == occurrence) ::_exit(7);
    return 0;
  };
  Result<Journal> journal = Journal::open(path, ignore_record, die);
  if (!journal.ok() || !journal->append(1, bytes_of("new")).ok() || !journal->commit(true).ok())
    ::_exit(1);
  if (!journal->begin_snapshot().ok() || !journal->append_snapshot(1, bytes_of("old")).ok())
    ::_exit(2);
  if (!journal->append_snapshot(1, bytes_of("new")).ok() || !journal->finish_snapshot().ok())
    ::_exit(3);
  if (!journal->append(1, bytes_of("last")).ok() || !journal->commit(true).ok()) ::_exit(4);
}

TEST_CASE("a process that dies at any step leaves a file that has all it had committed") {
  const Records before = {{1, "old"}};
  const Records committed = {{1, "old"}, {1, "new"}};
  const Records last = {{1, "old"}, {1, "new"}, {1, "last"}};
  for (const std::string_view death : journal_steps()) {
    for (int occurrence = 1; occurrence <= 3; ++occurrence) {
      CAPTURE(death, occurrence);
      const Directory directory;
      commit_group(*std::make_unique<Journal>(open_or_fail(directory.file())), {"old"});
      // A torn tail, so that opening has something to cut.
      write_file(directory.file(), read_file(directory.file()) + "torn");
      const int status =
          exit_status_of([&] { run_and_die_at(directory.file(), death, occurrence); });
      CHECK((status == 7 || (occurrence > 1 && status == 0)));
      const Records after = replayed(directory.file());
      CHECK((after == before || after == committed || after == last));
      if (status == 0) CHECK(after == last);
      const bool in_snapshot = death.substr(0, 17) == "journal.snapshot." && occurrence == 1;
      if (in_snapshot) CHECK(after == committed);
      CHECK_FALSE(std::filesystem::exists(directory.snapshot_file()));
      Journal journal = open_or_fail(directory.file());
      CHECK(journal.cut_bytes() == 0);
      commit_group(journal, {"more"});
    }
  }
}

TEST_CASE("every step is a fault point at which a process can be killed") {
  for (const std::string_view step : journal_steps()) {
    CAPTURE(step);
    const Directory directory;
    commit_group(*std::make_unique<Journal>(open_or_fail(directory.file())), {"old"});
    write_file(directory.file(), read_file(directory.file()) + "torn");
    const int status = exit_status_of([&] {
      ::setenv("IMSS_FAULT", std::string(step).c_str(), 1);
      segment::fault_reload();
      run_and_die_at(directory.file(), "", 1);
    });
    CHECK(status == -1);
    CHECK(replayed(directory.file()).front() == std::pair<std::uint16_t, std::string>(1, "old"));
  }
}

TEST_CASE(
    "a step of a snapshot that fails before the new file has the name leaves the old one in use") {
  for (const std::string_view failing :
       {"journal.snapshot.created", "journal.snapshot.streamed", "journal.snapshot.synced"}) {
    CAPTURE(failing);
    const Directory directory;
    bool armed = false;
    {
      Journal journal = open_or_fail(directory.file(), [&](std::string_view step) {
        return armed && step == failing ? ENOSPC : 0;
      });
      commit_group(journal, {"a", "b"});
      armed = true;
      Status status = journal.begin_snapshot();
      if (status.ok()) status = journal.finish_snapshot();
      CHECK(status.code() == Code::kNoSpace);
      CHECK_FALSE(journal.in_snapshot());
      CHECK_FALSE(std::filesystem::exists(directory.snapshot_file()));
      commit_group(journal, {"c"});
    }
    CHECK(replayed(directory.file()) == Records{{1, "a"}, {1, "b"}, {1, "c"}});
  }
}

TEST_CASE(
    "a new name that may not be durable is reported and stops commits until the next snapshot") {
  const Directory directory;
  bool armed = false;
  {
    Journal journal = open_or_fail(directory.file(), [&](std::string_view step) {
      return armed && step == "journal.snapshot.renamed" ? EIO : 0;
    });
    commit_group(journal, {"a"});
    armed = true;
    require_ok(journal.begin_snapshot());
    require_ok(journal.append_snapshot(1, bytes_of("a")));
    CHECK(journal.finish_snapshot().code() == Code::kUnknownOutcome);
    require_ok(journal.append(1, bytes_of("b")));
    CHECK(journal.commit(true).code() == Code::kIo);
    armed = false;
    require_ok(journal.begin_snapshot());
    require_ok(journal.append_snapshot(1, bytes_of("a")));
    require_ok(journal.finish_snapshot());
  }
  CHECK(replayed(directory.file()) == Records{{1, "b"}, {1, "a"}});
}

}  // namespace imss::journal_test
