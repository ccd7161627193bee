// What the tests of the metadata file share: a directory of their own, files as bytes, records as
// text.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "metadata/journal.h"

namespace imss::journal_test {

using Records = std::vector<std::pair<std::uint16_t, std::string>>;

// Removed with everything in it at the end of the test; in memory, so that syncs cost nothing.
class Directory {
 public:
  Directory() {
    std::string name = (::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") +
                       std::string("/journal-test-XXXXXX");
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }
  std::string file() const { return path_ + "/metadata"; }
  std::string snapshot_file() const { return file() + ".snapshot.tmp"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_file(const std::string& path, const std::string& content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  REQUIRE(out.good());
}

inline ReplayCallback collect(Records& records) {
  return [&records](std::uint16_t kind, std::span<const std::byte> payload) {
    records.emplace_back(
        kind, std::string(reinterpret_cast<const char*>(payload.data()), payload.size()));
    return Status();
  };
}

inline Status ignore_record(std::uint16_t, std::span<const std::byte>) { return Status(); }

inline Journal open_or_fail(const std::string& path, JournalFault fault = {}) {
  Result<Journal> journal = Journal::open(path, ignore_record, std::move(fault));
  INFO(journal.status().message());
  REQUIRE(journal.ok());
  return std::move(*journal);
}

inline Records replayed(const std::string& path) {
  Records records;
  const Result<Journal> journal = Journal::open(path, collect(records));
  INFO(journal.status().message());
  REQUIRE(journal.ok());
  return records;
}

inline void require_ok(const Status& status) {
  INFO(status.message());
  REQUIRE(status.ok());
}

// Commits the texts as one group of records of kind 1.
inline void commit_group(Journal& journal, const std::vector<std::string>& texts,
                         bool sync = true) {
  for (const std::string& text : texts) require_ok(journal.append(1, bytes_of(text)));
  require_ok(journal.commit(sync));
}

// The exit status of a child that runs `body`; -1 when it did not exit.
inline int exit_status_of(const std::function<void()>& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace imss::journal_test
