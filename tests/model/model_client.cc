#include "model_client.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "base/hash.h"
#include "segment/fault.h"

namespace model {

using imss::Code;
using imss::Status;
using imss::Uri;
using imss::client::Dataset;
using imss::client::DatasetOptions;
using imss::client::Session;

namespace {

constexpr std::uint32_t kSharedNames = 8;

// Closes the dataset at the end.
class Opened {
 public:
  Opened(Session& session, imss::Result<std::int32_t> handle)
      : session_(session), handle_(std::move(handle)) {
    if (!handle_.ok()) return;
    auto dataset = session.dataset(*handle_);
    if (dataset.ok()) dataset_ = *dataset;
  }
  ~Opened() {
    if (handle_.ok()) [[maybe_unused]]
      const Status status = session_.release(*handle_);
  }
  Status status() const { return handle_.status(); }
  Dataset& operator*() const { return *dataset_; }

 private:
  Session& session_;
  imss::Result<std::int32_t> handle_;
  std::shared_ptr<Dataset> dataset_;
};

DatasetOptions options_of(std::uint32_t number) {
  const Shape shape = shape_of(number);
  DatasetOptions options;
  options.policy = static_cast<imss::Policy>(shape.policy);
  options.block_bytes = shape.block_bytes();
  options.block_count = shape.grows ? 0 : kBlocks;
  options.replicas = shape.copies;
  return options;
}

Uri shared(const std::string& name) { return {kInstance, "shared/" + name}; }

bool one_stamp(const std::vector<std::byte>& content) {
  return std::all_of(content.begin(), content.end(),
                     [&](std::byte byte) { return byte == content.front(); });
}

}  // namespace

std::uint64_t Client::random(std::uint64_t below) {
  random_ += 0x9e3779b97f4a7c15ULL;
  return imss::mix64(random_) % below;
}

bool Client::fail(const std::string& what) {
  const std::string text = "client " + std::to_string(number_) + ", operation " +
                           std::to_string(journal_.operations.load()) + ": " + what;
  std::snprintf(journal_.failure, sizeof(journal_.failure), "%s", text.c_str());
  return false;
}

Uri Client::uri(std::uint32_t directory) const {
  return {kInstance, "p" + std::to_string(number_) + "/d" + std::to_string(directory)};
}

Uri Client::uri(Place place) const {
  Uri file = uri(place.directory);
  file.path += "/f" + std::to_string(place.file);
  return file;
}

// --- changes
// -------------------------------------------------------------------------------------------

Change Client::draw_change() {
  constexpr Kind kOften[] = {Kind::kPut,    Kind::kPut,    Kind::kPut,    Kind::kWrite,
                             Kind::kWrite,  Kind::kWrite,  Kind::kCreate, Kind::kCreate,
                             Kind::kUnlink, Kind::kRename, Kind::kRename, Kind::kMakeDirectory};
  constexpr Kind kSeldom[] = {Kind::kRemoveDirectory, Kind::kRenameDirectory, Kind::kMakeDirectory};
  Change change;
  change.kind =
      random(16) == 0 ? kSeldom[random(std::size(kSeldom))] : kOften[random(std::size(kOften))];
  change.at = {static_cast<std::uint32_t>(random(kDirectories)),
               static_cast<std::uint32_t>(random(kFiles))};
  change.to = {static_cast<std::uint32_t>(random(kDirectories)),
               static_cast<std::uint32_t>(random(kFiles))};
  change.block = static_cast<std::uint32_t>(random(kBlocks));
  change.first = change.kind == Kind::kWrite ? static_cast<std::uint32_t>(random(kPieces)) : 0;
  change.count = 1 + static_cast<std::uint32_t>(random(kPieces - change.first));
  change.stamp = static_cast<std::uint32_t>(random(0xffffffff)) + 1;
  change.shape = static_cast<std::uint32_t>(random(1000));
  return change;
}

Status Client::write_data(const Change& change) {
  Opened dataset(session_, session_.open(uri(change.at)));
  IMSS_RETURN_IF_ERROR(dataset.status());
  State after = state();
  apply(after, change);
  const File& now = after.directories[change.at.directory].files[change.at.file];
  const auto content = content_of(now, change.block, change.first, change.count);
  if (change.kind == Kind::kPut) return session_.put(*dataset, change.block + 1, content);
  const std::uint64_t offset = change.first * shape_of(now.shape).piece_bytes;
  return session_.write(*dataset, change.block + 1, offset, content);
}

Status Client::execute(const Change& change) {
  switch (change.kind) {
    case Kind::kCreate: {
      // The store would make the directory too, which the model has as a change of its own.
      if (state().directories[change.at.directory].exists == 0) return Code::kNotFound;
      return Opened(session_, session_.create(uri(change.at), options_of(change.shape))).status();
    }
    case Kind::kUnlink: {
      if (change.stamp % 3 != 0) return session_.unlink(uri(change.at));
      Opened dataset(session_, session_.open(uri(change.at)));
      IMSS_RETURN_IF_ERROR(dataset.status());
      return session_.unlink(uri(change.at));
    }
    case Kind::kRename:
      return session_.rename(uri(change.at), uri(change.to));
    case Kind::kMakeDirectory:
      return session_.make_directory(uri(change.at.directory), 0755, false);
    case Kind::kRemoveDirectory:
      return session_.remove_directory(uri(change.at.directory));
    case Kind::kRenameDirectory:
      return session_.rename(uri(change.at.directory), uri(change.to.directory));
    case Kind::kPut:
    case Kind::kWrite:
      return write_data(change);
  }
  return {};
}

bool Client::change(const Change& change) {
  const Code wanted = expected(state(), change);
  journal_.announce(change);
  const Status status = execute(change);
  if (status.code() != wanted) {
    return fail(describe(change) + " answered " + std::string(imss::name_of(status.code())) + " (" +
                status.message() + ") instead of " + std::string(imss::name_of(wanted)));
  }
  journal_.decide(status.ok());
  return true;
}

// --- comparisons
// -----------------------------------------------------------------------------------------

bool Client::check_file(Place place) {
  const File& known = file(place);
  const bool there = state().directories[place.directory].exists != 0 && known.exists != 0;
  Opened dataset(session_, session_.open(uri(place)));
  if (!there) {
    return dataset.status().code() == Code::kNotFound ||
           fail(format_uri(uri(place)) + " is there and should not");
  }
  if (!dataset.status().ok()) return fail(dataset.status().message());
  const auto attributes = session_.attributes(*dataset);
  if (!attributes.ok()) return fail(attributes.status().message());
  if (attributes->size != known.size) {
    return fail(format_uri(uri(place)) + " has " + std::to_string(attributes->size) +
                " bytes instead of " + std::to_string(known.size));
  }
  for (std::uint32_t block = 0; block < kBlocks; ++block) {
    const auto wanted = content_of(known, block, 0, kPieces);
    std::vector<std::byte> content(wanted.size());
    const Status status = session_.get(*dataset, block + 1, 0, content);
    if (!status.ok()) return fail(status.message());
    if (content == wanted) continue;
    const auto at =
        std::mismatch(content.begin(), content.end(), wanted.begin()).first - content.begin();
    return fail(format_uri(uri(place)) + ": block " + std::to_string(block + 1) +
                " differs at byte " + std::to_string(at));
  }
  return true;
}

bool Client::check_directory(std::uint32_t number) {
  const Directory& directory = state().directories[number];
  std::vector<imss::metadata::EntryInfo> entries;
  const auto listed = session_.list(uri(number), 0, 1000, &entries);
  if (directory.exists == 0)
    return listed.code() == Code::kNotFound || fail("a removed directory is listed");
  if (!listed.ok()) return fail(listed.status().message());
  std::set<std::string> names;
  for (const auto& entry : entries) names.insert(entry.name);
  std::set<std::string> wanted;
  for (std::uint32_t i = 0; i < kFiles; ++i) {
    if (directory.files[i].exists != 0) wanted.insert("f" + std::to_string(i));
  }
  return (names == wanted && names.size() == entries.size()) ||
         fail(format_uri(uri(number)) + " lists other names");
}

bool Client::verify() {
  for (std::uint32_t directory = 0; directory < kDirectories; ++directory) {
    if (!check_directory(directory)) return false;
    for (std::uint32_t i = 0; i < kFiles; ++i) {
      if (!check_file({directory, i})) return false;
    }
  }
  return true;
}

// --- after a death
// -----------------------------------------------------------------------------------------

// A put is there as a whole or not; of a write each byte may be the old or the new one. What was
// begun is then done again, so that all that goes with it (copies, the size) is certain.
bool Client::resolve_data(const Change& change) {
  const File& before = file(change.at);
  State after = state();
  apply(after, change);
  const File& now = after.directories[change.at.directory].files[change.at.file];
  const auto old_content = content_of(before, change.block, 0, kPieces);
  const auto new_content = content_of(now, change.block, 0, kPieces);
  std::vector<std::byte> content(old_content.size());
  {
    Opened dataset(session_, session_.open(uri(change.at)));
    if (!dataset.status().ok()) return fail(dataset.status().message());
    const Status status = session_.get(*dataset, change.block + 1, 0, content);
    if (!status.ok()) return fail(status.message());
  }
  if (change.kind == Kind::kPut && content != old_content && content != new_content) {
    return fail("half of an interrupted " + describe(change) + " is there");
  }
  for (std::size_t at = 0; at < content.size(); ++at) {
    if (content[at] == old_content[at] || content[at] == new_content[at]) continue;
    return fail("an interrupted " + describe(change) + " has damaged byte " + std::to_string(at));
  }
  const Status again = write_data(change);
  if (!again.ok()) return fail("after an interrupted " + describe(change) + ": " + again.message());
  journal_.decide(true);
  return true;
}

bool Client::resolve() {
  const Change change = journal_.change;
  if (expected(state(), change) != Code::kOk) {
    journal_.decide(false);
    return true;
  }
  const auto exists = [&](const Uri& path) { return session_.resolve(path).ok(); };
  switch (change.kind) {
    case Kind::kCreate:
      journal_.decide(exists(uri(change.at)));
      return true;
    case Kind::kUnlink:
      journal_.decide(!exists(uri(change.at)));
      return true;
    case Kind::kRename:
      journal_.decide(change.at == change.to || !exists(uri(change.at)));
      return true;
    case Kind::kMakeDirectory:
      journal_.decide(exists(uri(change.at.directory)));
      return true;
    case Kind::kRemoveDirectory:
      journal_.decide(!exists(uri(change.at.directory)));
      return true;
    case Kind::kRenameDirectory:
      journal_.decide(change.at.directory == change.to.directory ||
                      !exists(uri(change.at.directory)));
      return true;
    case Kind::kPut:
    case Kind::kWrite:
      return resolve_data(change);
  }
  return true;
}

bool Client::take_over() {
  for (const char* path : {"shared/x", "shared/y"}) {
    const Status made = session_.make_directory({kInstance, path}, 0755, true);
    if (!made.ok()) return fail(made.message());
  }
  const Status made =
      session_.make_directory({kInstance, "p" + std::to_string(number_)}, 0755, true);
  if (!made.ok()) return fail(made.message());
  DatasetOptions options;
  options.block_bytes = kSharedBlockBytes;
  options.block_count = kSharedBlocks;
  Opened data(session_, session_.create(shared("data"), options));
  if (!data.status().ok() && data.status().code() != Code::kExists)
    return fail(data.status().message());
  if (journal_.undecided() && !resolve()) return false;
  return verify();
}

// --- what all share
// --------------------------------------------------------------------------------------

bool Client::share() {
  const std::uint64_t which = random(4);
  if (which == 0) {
    Opened dataset(session_, session_.open(shared("data")));
    if (!dataset.status().ok()) return fail(dataset.status().message());
    std::vector<std::byte> content(kSharedBlockBytes, static_cast<std::byte>(random(256)));
    const std::uint64_t block = 1 + random(kSharedBlocks);
    if (random(2) == 0) {
      const Status put = session_.put(*dataset, block, content);
      if (!put.ok()) return fail("put of a shared block: " + put.message());
    }
    const Status got = session_.get(*dataset, block, 0, content);
    if (!got.ok()) return fail("get of a shared block: " + got.message());
    return one_stamp(content) || fail("a shared block is a mixture of two");
  }
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
         fail("a shared name: " + status.message());
}

std::string verify_shared(Session& session) {
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

// --- one step
// ------------------------------------------------------------------------------------------------

// Death at a fault point, or at whatever instruction is executed a moment from now.
void Client::arm() {
  constexpr const char* kPoints[] = {"transaction.prepared", "transaction.committed",
                                     "transaction.applying", "transaction.applied",
                                     "put.filled",           "put.published",
                                     "write.filled",         "write.range_made",
                                     "pages.claimed",        "pages.filled",
                                     "move.announced",       "move.copied",
                                     "extents.refilled",     "table.split",
                                     "names.prepared",       "names.removed",
                                     "names.renamed",        "names.rename_prepared",
                                     "create.inode_made",    "create.published",
                                     "unlink.links_changed", "drop.blocks_erased",
                                     "inode.filled",         "inode.block_announced",
                                     "replicas.one_written", "names.directory_removed"};
  if (random(3) == 0) {
    ::ualarm(static_cast<useconds_t>(1 + random(3000)), 0);
    return;
  }
  const std::string fault = std::string(kPoints[random(std::size(kPoints))]) + ":" +
                            std::to_string(1 + random(4)) + ":kill";
  ::setenv("IMSS_FAULT", fault.c_str(), 1);
  imss::segment::fault_reload();
}

bool Client::step(bool deadly) {
  if (deadly) arm();
  journal_.operations.fetch_add(1);
  const std::uint64_t what = random(16);
  if (what < 9) return change(draw_change());
  if (what < 13) {
    return check_file({static_cast<std::uint32_t>(random(kDirectories)),
                       static_cast<std::uint32_t>(random(kFiles))});
  }
  if (what < 14) return check_directory(static_cast<std::uint32_t>(random(kDirectories)));
  return share();
}

}  // namespace model
