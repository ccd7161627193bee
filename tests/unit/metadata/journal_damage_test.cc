// Torn and corrupted metadata files: what is cut, what is refused, and that nothing crashes.
#include <algorithm>
#include <cstring>

#include "unit/metadata/journal_test_util.h"

namespace imss::journal_test {
namespace {

// Where records begin in a sound file.
std::vector<std::size_t> record_offsets(const std::string& content) {
  std::vector<std::size_t> offsets;
  for (std::size_t at = sizeof(JournalFileHeader); at < content.size();) {
    offsets.push_back(at);
    const auto bytes = journal_claimed_bytes(bytes_of(content).subspan(at));
    REQUIRE(bytes);
    at += *bytes;
  }
  return offsets;
}

std::string flipped(std::string content, std::size_t at) {
  content[at] = static_cast<char>(content[at] ^ 0x10);
  return content;
}

// Puts a value into the record that begins at `record`, `at` bytes into it, and makes its checksum
// right again.
template <typename T>
void set_in_record(std::string& content, std::size_t record, std::size_t at, T value) {
  JournalFileHeader header;
  std::memcpy(&header, content.data(), sizeof header);
  std::memcpy(content.data() + record + at, &value, sizeof value);
  const auto rest = bytes_of(content).subspan(record);
  const std::uint32_t length = static_cast<std::uint32_t>(rest[0]);
  const std::uint32_t checksum =
      journal_record_checksum(rest.first(journal_record_bytes(length)), header.checksum_seed);
  std::memcpy(content.data() + record + offsetof(JournalRecordHeader, checksum), &checksum,
              sizeof checksum);
}

// Sets what the commit record at `record` says about the groups before it.
void set_commit(std::string& content, std::size_t record, std::uint64_t durable_bytes,
                std::uint64_t boot) {
  constexpr std::size_t kPayload = sizeof(JournalRecordHeader);
  set_in_record(content, record, kPayload + offsetof(JournalCommitPayload, durable_bytes),
                durable_bytes);
  set_in_record(content, record, kPayload + offsetof(JournalCommitPayload, boot), boot);
}

void check_refused(const Directory& directory, const std::string& content, std::size_t offset) {
  write_file(directory.file(), content);
  Records records;
  const Result<Journal> journal = Journal::open(directory.file(), collect(records));
  CHECK(journal.code() == Code::kCorrupt);
  CHECK_THAT(journal.status().message(), Catch::Contains("offset " + std::to_string(offset) + ":"));
  CHECK_THAT(journal.status().message(), Catch::Contains(directory.file()));
  CHECK(records.empty());
  CHECK(read_file(directory.file()) == content);
}

void check_cut(const Directory& directory, const std::string& content, const Records& left,
               std::size_t whole_bytes) {
  write_file(directory.file(), content);
  Records records;
  Result<Journal> journal = Journal::open(directory.file(), collect(records));
  INFO(journal.status().message());
  REQUIRE(journal.ok());
  CHECK(records == left);
  CHECK(journal->cut_bytes() == content.size() - whole_bytes);
  CHECK(journal->bytes() == whole_bytes);
  CHECK(read_file(directory.file()) == content.substr(0, whole_bytes));
}

// Three groups {a}, {b, c}, {d, e}; returns the file, sets where the last group begins.
std::string three_groups(const Directory& directory, std::size_t& last_group, bool sync = true) {
  {
    Journal journal = open_or_fail(directory.file());
    commit_group(journal, {"a"}, sync);
    commit_group(journal, {"b", "c"}, sync);
    last_group = journal.bytes();
    commit_group(journal, {"d", std::string(77, 'e')}, sync);
  }
  return read_file(directory.file());
}

const Records kTwoGroups = {{1, "a"}, {1, "b"}, {1, "c"}};

}  // namespace

TEST_CASE("a file torn at any byte of its last group loses that group and nothing else") {
  const Directory directory;
  std::size_t last_group = 0;
  const std::string whole = three_groups(directory, last_group);
  for (std::size_t bytes = last_group; bytes < whole.size(); ++bytes) {
    CAPTURE(bytes);
    check_cut(directory, whole.substr(0, bytes), kTwoGroups, last_group);
    // The size may have reached the disk before the contents did.
    std::string zeros = whole.substr(0, bytes);
    zeros.resize(whole.size());
    if (zeros != whole) check_cut(directory, zeros, kTwoGroups, last_group);
  }
  // The file is in use again behind the cut.
  Journal journal = open_or_fail(directory.file());
  commit_group(journal, {"f"});
}

TEST_CASE("a commit record that is damaged at the end of the file is a tail and is cut") {
  const Directory directory;
  std::size_t last_group = 0;
  const std::string whole = three_groups(directory, last_group);
  for (std::size_t at = record_offsets(whole).back(); at < whole.size(); ++at) {
    CAPTURE(at);
    check_cut(directory, flipped(whole, at), kTwoGroups, last_group);
  }
}

TEST_CASE("garbage behind the last group is cut") {
  const Directory directory;
  std::size_t last_group = 0;
  const std::string whole = three_groups(directory, last_group);
  Records all = kTwoGroups;
  all.emplace_back(1, "d");
  all.emplace_back(1, std::string(77, 'e'));
  for (const std::string& garbage :
       {std::string("x"), std::string(100000, '\0'), std::string(333, '\xFF')}) {
    check_cut(directory, whole + garbage, all, whole.size());
  }
}

TEST_CASE(
    "any byte damaged before the last commit record is refused with the offset of its record") {
  const Directory directory;
  std::size_t last_group = 0;
  const bool sync = GENERATE(true, false);
  const std::string whole = three_groups(directory, last_group, sync);
  const std::vector<std::size_t> offsets = record_offsets(whole);
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    for (std::size_t at = offsets[i]; at < offsets[i + 1]; ++at) {
      CAPTURE(at);
      check_refused(directory, flipped(whole, at), offsets[i]);
    }
  }
}

TEST_CASE("a record that is missing in the middle is refused with the offset of the gap") {
  const Directory directory;
  std::size_t last_group = 0;
  std::string whole = three_groups(directory, last_group);
  const std::vector<std::size_t> offsets = record_offsets(whole);
  whole.erase(offsets[4], offsets[5] - offsets[4]);
  check_refused(directory, whole, offsets[4]);
}

TEST_CASE("a record with the right checksum that cannot stand where it stands is damage") {
  constexpr std::size_t kPayload = sizeof(JournalRecordHeader);
  const Directory directory;
  std::size_t last_group = 0;
  const std::string whole = three_groups(directory, last_group);
  // begin, end, a, commit, b, c, commit, d, e, commit
  const std::vector<std::size_t> offsets = record_offsets(whole);
  const auto refused_with = [&](std::size_t record, std::size_t at, auto value) {
    std::string content = whole;
    set_in_record(content, offsets[record], at, value);
    check_refused(directory, content, offsets[record]);
  };
  refused_with(0, offsetof(JournalRecordHeader, kind), std::uint16_t{1});
  refused_with(1, kPayload, std::uint64_t{1});  // a record count that is not the snapshot's
  refused_with(2, offsetof(JournalRecordHeader, sequence), std::uint64_t{4});
  refused_with(2, offsetof(JournalRecordHeader, flags), std::uint16_t{1});
  refused_with(2, offsetof(JournalRecordHeader, reserved), std::uint32_t{1});
  refused_with(3, kPayload, std::uint64_t{offsets[1]});  // a group that begins elsewhere
  for (const std::uint16_t kind :
       {kJournalFirstOwnKind, kJournalNonce, kJournalSnapshotBegin, kJournalSnapshotEnd}) {
    refused_with(4, offsetof(JournalRecordHeader, kind), kind);
  }
}

TEST_CASE("after a restart of the machine, damage in groups that were never synced is a tail") {
  const Directory directory;
  std::size_t last_group = 0;
  std::string whole = three_groups(directory, last_group);
  const std::vector<std::size_t> offsets = record_offsets(whole);
  // begin, end, a, commit, b, c, commit, d, e, commit
  REQUIRE(offsets.size() == 10);
  constexpr std::uint64_t kOtherBoot = 12345;
  set_commit(whole, offsets[6], offsets[2], kOtherBoot);
  set_commit(whole, offsets[9], offsets[2], kOtherBoot);
  check_cut(directory, flipped(whole, offsets[4]), {{1, "a"}}, offsets[4]);
  check_cut(directory, flipped(whole, offsets[7]), kTwoGroups, last_group);
  // The same damage where a later commit knew that the bytes were on disk.
  set_commit(whole, offsets[9], last_group, kOtherBoot);
  check_refused(directory, flipped(whole, offsets[4]), offsets[4]);
  check_cut(directory, flipped(whole, offsets[7]), kTwoGroups, last_group);
}

TEST_CASE("a commit with sync vouches for the groups before it that were written without") {
  const Directory directory;
  {
    Journal journal = open_or_fail(directory.file());
    commit_group(journal, {"a"}, false);
    require_ok(journal.commit(true));
    require_ok(journal.commit(true));
  }
  std::string whole = read_file(directory.file());
  const std::vector<std::size_t> offsets = record_offsets(whole);
  // begin, end, a, commit, commit: the second one has nothing to say but that the first is on disk.
  REQUIRE(offsets.size() == 5);
  JournalCommitPayload commit;
  std::memcpy(&commit, whole.data() + offsets[4] + sizeof(JournalRecordHeader), sizeof commit);
  CHECK(commit.durable_bytes == offsets[4]);
  CHECK(commit.group_offset == offsets[4]);
  CHECK(replayed(directory.file()) == Records{{1, "a"}});
}

TEST_CASE("a record inside a payload never passes for one of the file") {
  const Directory directory;
  std::size_t last_group = 0;
  const std::string other = three_groups(directory, last_group);
  const std::vector<std::size_t> offsets = record_offsets(other);
  const Directory second;
  std::size_t group = 0;
  {
    Journal journal = open_or_fail(second.file());
    group = journal.bytes();
    // Bytes that are sound records, with plausible sequences, in another file.
    commit_group(journal, {other.substr(offsets[2])});
  }
  const std::string whole = read_file(second.file());
  for (std::size_t bytes = group; bytes < whole.size(); bytes += 8) {
    check_cut(second, whole.substr(0, bytes), {}, group);
  }
}

TEST_CASE("a snapshot that is not whole is refused, torn or damaged") {
  const Directory directory;
  {
    Journal journal = open_or_fail(directory.file());
    require_ok(journal.begin_snapshot());
    require_ok(journal.append_snapshot(1, bytes_of("a")));
    require_ok(journal.finish_snapshot());
  }
  const std::string whole = read_file(directory.file());
  const std::vector<std::size_t> offsets = record_offsets(whole);
  REQUIRE(offsets.size() == 3);
  for (std::size_t bytes = sizeof(JournalFileHeader); bytes < whole.size(); ++bytes) {
    const auto record = std::upper_bound(offsets.begin(), offsets.end(), bytes) - 1;
    check_refused(directory, whole.substr(0, bytes), *record);
    check_refused(directory, flipped(whole, bytes), *record);
  }
}

TEST_CASE("a damaged header is refused at offset 0 and one of another version with a sentence") {
  const Directory directory;
  std::size_t last_group = 0;
  const std::string whole = three_groups(directory, last_group);
  for (std::size_t at = offsetof(JournalFileHeader, header_bytes); at < sizeof(JournalFileHeader);
       ++at) {
    CAPTURE(at);
    check_refused(directory, flipped(whole, at), 0);
  }
  std::string newer = whole;
  newer[offsetof(JournalFileHeader, version)] = 9;
  write_file(directory.file(), newer);
  const Result<Journal> journal = Journal::open(directory.file(), ignore_record);
  CHECK(journal.code() == Code::kIncompatible);
  CHECK_THAT(journal.status().message(),
             Catch::Contains("format version 9") && Catch::Contains("reads version 1"));
  CHECK(read_file(directory.file()) == newer);
}

TEST_CASE("the checksum is CRC32C and leaves out its own field") {
  const std::string bytes = "1234????56789";
  CHECK(journal_record_checksum(bytes_of(bytes), 0) == 0xE3069283);
  CHECK(journal_record_checksum(bytes_of(bytes), 1) != 0xE3069283);
}

}  // namespace imss::journal_test
