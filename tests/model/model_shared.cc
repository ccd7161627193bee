// What all clients of the model test share: a dataset of whole blocks, a log that all append to,
// and names that all make, move and remove.
#include <algorithm>
#include <cstring>

#include "model_client.h"

namespace model {

using imss::Code;
using imss::Status;
using imss::Uri;
using imss::client::DatasetOptions;
using imss::client::Session;

namespace {

constexpr std::uint32_t kSharedNames = 8;
constexpr std::uint64_t kMostRecords = 300;  // then a new log begins

Uri shared(const std::string& name) { return {kInstance, "shared/" + name}; }

bool one_stamp(const Bytes& content) {
  return std::all_of(content.begin(), content.end(),
                     [&](std::byte byte) { return byte == content.front(); });
}

// A log of whole records, each of one stamp; those of killed clients may be there in part.
std::string verify_log(Session& session) {
  const Opened log(session, session.open(shared("log")));
  if (log.status().code() == Code::kNotFound) return "";
  if (!log.status().ok()) return log.status().message();
  const auto attributes = session.attributes(*log);
  if (!attributes.ok()) return attributes.status().message();
  if (attributes->size % kSharedRecordBytes != 0) return "the log ends within a record";
  for (std::uint64_t at = 0; at < attributes->size; at += kSharedRecordBytes) {
    Bytes record(kSharedRecordBytes);
    const auto count = session.read_at(*log, at, record);
    if (!count.ok()) return count.status().message();
    if (*count != record.size()) return "a record of the log is short";
    std::erase(record, std::byte{0});
    if (!record.empty() && !one_stamp(record)) return "two records of the log overlap";
  }
  return "";
}

}  // namespace

Status make_shared(Session& session) {
  for (const char* path : {"shared/x", "shared/y"})
    IMSS_RETURN_IF_ERROR(session.make_directory({kInstance, path}, 0755, true));
  DatasetOptions options;
  options.block_bytes = kSharedBlockBytes;
  options.block_count = kSharedBlocks;
  const Opened data(session, session.create(shared("data"), options));
  return data.status().code() == Code::kExists ? Status() : data.status();
}

// Whole blocks that all put and get.
bool Client::share_block() {
  const Opened dataset(session_, session_.open(shared("data")));
  if (!dataset.status().ok()) return fail("opening the shared data", dataset.status());
  Bytes content(kSharedBlockBytes, static_cast<std::byte>(random(256)));
  const std::uint64_t block = 1 + random(kSharedBlocks);
  if (random(2) == 0) {
    const Status put = session_.put(*dataset, block, content);
    if (!put.ok()) return fail("put of a shared block", put);
  }
  const Status got = session_.get(*dataset, block, 0, content);
  if (!got.ok()) return fail("get of a shared block", got);
  return one_stamp(content) || fail("a shared block is a mixture of two");
}

// What this client appends is at a place of its own and stays.
bool Client::share_log() {
  DatasetOptions options;
  options.block_count = 0;
  options.block_bytes = 4 * kSharedRecordBytes + 100;  // records lie across block boundaries
  const Opened made(session_, session_.create(shared("log"), options));
  if (!made.status().ok() && made.status().code() != Code::kExists)
    return fail("creating the log", made.status());
  const Opened log(session_, session_.open(shared("log")));
  if (log.status().code() == Code::kNotFound) return true;  // somebody begins a new one
  if (!log.status().ok()) return fail("opening the log", log.status());
  const Bytes record(kSharedRecordBytes, static_cast<std::byte>(1 + random(255)));
  const auto at = session_.append(*log, record);
  if (!at.ok()) return fail("append to the log", at.status());
  if (*at % kSharedRecordBytes != 0) return fail("an append begins within another one");
  Bytes content(kSharedRecordBytes);
  const auto count = session_.read_at(*log, *at, content);
  if (!count.ok()) return fail("reading the log", count.status());
  if (*count != content.size() || content != record)
    return fail("a record of the log is another one's");
  if (*at / kSharedRecordBytes < kMostRecords) return true;
  const Status removed = session_.unlink(shared("log"));
  return removed.ok() || removed.code() == Code::kNotFound || fail("removing the log", removed);
}

bool Client::share() {
  const std::uint64_t which = random(8);
  return which < 2 ? share_block() : which < 4 ? share_log() : share_name();
}

bool Client::share_name() {
  const auto name = [&] {
    constexpr const char* kWhere[] = {"", "x/", "y/"};
    return shared(kWhere[random(3)] + ("n" + std::to_string(random(kSharedNames))));
  };
  const Uri from = name();
  const Uri to = name();
  Status status;
  switch (random(6)) {
    case 0:
      status = Opened(session_, session_.create(from, options_of(1))).status();
      break;
    case 1:
      status = session_.unlink(from);
      break;
    case 2:
      status = session_.make_directory(from, 0755, false);
      break;
    case 3:
      status = session_.remove_directory(from);
      break;
    default:
      status = session_.rename(from, to);
      break;
  }
  constexpr Code kPossible[] = {Code::kOk,          Code::kNotFound, Code::kExists,
                                Code::kIsDirectory, Code::kNotEmpty, Code::kNotDirectory,
                                Code::kWouldCycle};
  return std::find(std::begin(kPossible), std::end(kPossible), status.code()) !=
             std::end(kPossible) ||
         fail("a shared name", status);
}

std::string verify_shared(Session& session) {
  if (const std::string wrong = verify_log(session); !wrong.empty()) return wrong;
  std::vector<Uri> directories = {{kInstance, "shared"}};
  while (!directories.empty()) {
    const Uri directory = directories.back();
    directories.pop_back();
    std::vector<imss::metadata::EntryInfo> entries;
    const auto listed = session.list(directory, 0, 1000, &entries);
    if (!listed.ok()) return listed.status().message();
    if (session.attributes(directory)->size != entries.size())
      return format_uri(directory) + " counts its names wrong";
    for (const auto& entry : entries) {
      const Uri path{kInstance, directory.path + "/" + entry.name};
      if (entry.type == imss::metadata::NodeType::kDirectory) {
        directories.push_back(path);
      } else if (const Opened opened(session, session.open(path)); !opened.status().ok()) {
        return opened.status().message();
      }
    }
  }
  return "";
}

}  // namespace model
