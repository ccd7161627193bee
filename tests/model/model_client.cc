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

std::string in_hex(const Bytes& bytes, std::uint64_t from) {
  std::string text;
  for (std::uint64_t at = from; at < std::min<std::uint64_t>(from + 12, bytes.size()); ++at) {
    char digits[4];
    std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned>(bytes[at]));
    text += digits;
  }
  return text;
}

bool is_data(Kind kind) {
  return kind == Kind::kPut || kind == Kind::kWrite || kind == Kind::kAppend ||
         kind == Kind::kTruncate;
}

}  // namespace

DatasetOptions options_of(std::uint32_t number) {
  const Shape shape = shape_of(number);
  DatasetOptions options;
  options.policy = static_cast<imss::Policy>(shape.policy);
  options.block_bytes = shape.block_bytes;
  options.block_count = shape.grows ? 0 : kBlocks;
  options.replicas = shape.copies;
  return options;
}

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

// Errors that say nothing about what is stored.
bool is_trouble(const Status& status) {
  return status.code() == Code::kIo || status.code() == Code::kTimedOut ||
         status.code() == Code::kUnknownOutcome;
}

bool Client::fail(const std::string& what, const Status& why) {
  if (!trouble_expected_ || !is_trouble(why)) return fail(what + ": " + why.message());
  troubled_ = true;
  std::snprintf(journal_.trouble, sizeof(journal_.trouble), "%s: %s", what.c_str(),
                why.message().c_str());
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

// Where something begins or ends: anywhere, or where a block or a page does.
std::uint64_t Client::draw_offset(std::uint64_t block_bytes, std::uint64_t most) {
  const std::uint64_t offset = random(most + 1);
  const std::uint64_t unit = random(4) != 0 ? 1 : random(2) == 0 ? block_bytes : 4096;
  return offset - offset % unit;
}

// A range of a file for what the change does. Ranges end where a file of this shape may end.
void Client::draw_range(Change& change) {
  const File& now = file(change.at);
  const Shape shape = shape_of(now.shape);
  const std::uint64_t most = shape.most_bytes();
  if (change.kind == Kind::kAppend) {
    if (!shape.grows) change.kind = Kind::kWrite;
    if (shape.grows && now.size == most) change.kind = Kind::kTruncate;
  }
  switch (change.kind) {
    case Kind::kPut:
      change.offset = random(kBlocks) * shape.block_bytes;
      change.bytes = 1 + draw_offset(shape.block_bytes, shape.block_bytes - 1);
      return;
    case Kind::kWrite: {
      change.offset = draw_offset(shape.block_bytes, most - 1);
      // Only ranges of datasets that grow may reach into the next block.
      const std::uint64_t block_rest = shape.block_bytes - change.offset % shape.block_bytes;
      change.bytes = 1 + random(shape.grows ? std::min(most - change.offset, 3 * shape.block_bytes)
                                            : block_rest);
      return;
    }
    case Kind::kAppend:
      change.bytes = 1 + random(std::min(most - now.size, 2 * shape.block_bytes));
      return;
    case Kind::kTruncate:
      change.offset = draw_offset(shape.block_bytes, random(3) == 0 ? most : now.size);
      return;
    default:
      return;
  }
}

Change Client::draw_change() {
  constexpr Kind kOften[] = {Kind::kPut,      Kind::kPut,      Kind::kWrite,  Kind::kWrite,
                             Kind::kWrite,    Kind::kWrite,    Kind::kAppend, Kind::kAppend,
                             Kind::kTruncate, Kind::kTruncate, Kind::kCreate, Kind::kCreate,
                             Kind::kUnlink,   Kind::kRename,   Kind::kRename, Kind::kMakeDirectory};
  constexpr Kind kSeldom[] = {Kind::kRemoveDirectory, Kind::kRenameDirectory, Kind::kMakeDirectory};
  Change change;
  change.kind =
      random(16) == 0 ? kSeldom[random(std::size(kSeldom))] : kOften[random(std::size(kOften))];
  change.at = {static_cast<std::uint32_t>(random(kDirectories)),
               static_cast<std::uint32_t>(random(kFiles))};
  change.to = {static_cast<std::uint32_t>(random(kDirectories)),
               static_cast<std::uint32_t>(random(kFiles))};
  change.stamp = static_cast<std::uint32_t>(random(0xffffffff)) + 1;
  change.shape = static_cast<std::uint32_t>(random(1000));
  if (is_data(change.kind) && !file(change.at).has_room()) change.kind = Kind::kUnlink;
  draw_range(change);
  return change;
}

Status Client::write_data(const Change& change) {
  Opened dataset(session_, session_.open(uri(change.at)));
  IMSS_RETURN_IF_ERROR(dataset.status());
  const File& before = file(change.at);
  const Shape shape = shape_of(before.shape);
  State after = state();
  apply(after, change);
  const File& now = after.directories[change.at.directory].files[change.at.file];
  const std::uint64_t block = 1 + change.offset / shape.block_bytes;
  const std::uint64_t within = change.offset % shape.block_bytes;
  switch (change.kind) {
    case Kind::kTruncate:
      return session_.truncate(*dataset, change.offset);
    case Kind::kAppend: {
      const auto at = session_.append(*dataset, content_of(now, before.size, change.bytes));
      if (at.ok() && *at != before.size) return Code::kCorrupt;  // which no append answers
      return at.status();
    }
    case Kind::kPut:
      return session_.put(*dataset, block, content_of(now, change.offset, change.bytes));
    default:
      break;
  }
  const auto content = content_of(now, change.offset, change.bytes);
  const bool one_block = within + change.bytes <= shape.block_bytes;
  if (!shape.grows || (one_block && change.stamp % 2 == 0))
    return session_.write(*dataset, block, within, content);
  return session_.write_at(*dataset, change.offset, content);
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
    case Kind::kAppend:
    case Kind::kTruncate:
      return write_data(change);
  }
  return {};
}

bool Client::change(const Change& change) {
  const Code wanted = expected(state(), change);
  journal_.announce(change);
  const Status status = execute(change);
  if (status.code() != wanted) {
    if (trouble_expected_ && is_trouble(status)) return fail(describe(change), status);
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
    if (dataset.status().ok()) return fail(format_uri(uri(place)) + " is there and should not");
    return dataset.status().code() == Code::kNotFound || fail("open", dataset.status());
  }
  if (!dataset.status().ok()) return fail("open", dataset.status());
  const auto attributes = session_.attributes(*dataset);
  if (!attributes.ok()) return fail("attributes", attributes.status());
  if (attributes->size != known.size) {
    return fail(format_uri(uri(place)) + " has " + std::to_string(attributes->size) +
                " bytes instead of " + std::to_string(known.size));
  }
  return check_content(*dataset, place);
}

// Every block as a whole, also beyond the end, and some range.
bool Client::check_content(Dataset& dataset, Place place) {
  const File& known = file(place);
  const Shape shape = shape_of(known.shape);
  const auto compare = [&](const Status& status, std::uint64_t offset, const Bytes& content) {
    if (!status.ok()) return fail("read", status);
    const Bytes wanted = content_of(known, offset, content.size());
    if (content == wanted) return true;
    const auto at = std::mismatch(content.begin(), content.end(), wanted.begin()).first;
    const auto first = static_cast<std::uint64_t>(at - content.begin());
    const auto last = content.size() - static_cast<std::uint64_t>(
        std::mismatch(content.rbegin(), content.rend(), wanted.rbegin()).first - content.rbegin());
    return fail(format_uri(uri(place)) + " differs in bytes " + std::to_string(offset + first) + " to " +
                std::to_string(offset + last) + " of " + std::to_string(known.size) + ", block size " +
                std::to_string(shape.block_bytes) + ", there are " + in_hex(content, first) + " instead of " +
                in_hex(wanted, first));
  };
  for (std::uint32_t block = 0; block < kBlocks; ++block) {
    Bytes content(shape.block_bytes);
    const Status status = session_.get(dataset, block + 1, 0, content);
    if (!compare(status, block * shape.block_bytes, content)) return false;
  }
  const std::uint64_t offset = random(shape.most_bytes());
  if (!shape.grows) {
    const std::uint64_t within = offset % shape.block_bytes;
    Bytes content(1 + random(shape.block_bytes - within));
    const Status status = session_.get(dataset, 1 + offset / shape.block_bytes, within, content);
    return compare(status, offset, content);
  }
  Bytes content(1 + random(2 * shape.block_bytes));
  const auto count = session_.read_at(dataset, offset, content);
  const std::uint64_t there = known.size > offset ? known.size - offset : 0;
  if (count.ok() && *count != std::min<std::uint64_t>(there, content.size())) {
    return fail("of " + std::to_string(content.size()) + " bytes at " + std::to_string(offset) +
                " " + std::to_string(*count) + " were read, of a file of " +
                std::to_string(known.size));
  }
  content.resize(count.ok() ? *count : 0);
  return compare(count.status(), offset, content);
}

bool Client::check_directory(std::uint32_t number) {
  const Directory& directory = state().directories[number];
  std::vector<imss::metadata::EntryInfo> entries;
  const auto listed = session_.list(uri(number), 0, 1000, &entries);
  if (directory.exists == 0) {
    if (listed.ok()) return fail("a removed directory is listed");
    return listed.code() == Code::kNotFound || fail("list", listed.status());
  }
  if (!listed.ok()) return fail("list", listed.status());
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

// A put is there as a whole or not; of a write each byte may be the old or the new one, and the
// size may have come as far as the write. An append and a truncation have their new size or did not
// begin. What was begun is then done again, so that all that goes with it (copies, the size) is
// certain.
bool Client::resolve_data(const Change& change) {
  const File& before = file(change.at);
  const Shape shape = shape_of(before.shape);
  State after = state();
  apply(after, change);
  const File& now = after.directories[change.at.directory].files[change.at.file];
  const Bytes old_content = content_of(before, 0, shape.most_bytes());
  const Bytes new_content = content_of(now, 0, shape.most_bytes());
  Bytes content(shape.most_bytes());
  Opened dataset(session_, session_.open(uri(change.at)));
  if (!dataset.status().ok()) return fail("open", dataset.status());
  const auto attributes = session_.attributes(*dataset);
  if (!attributes.ok()) return fail("attributes", attributes.status());
  const std::uint64_t size = attributes->size;
  const bool between = change.kind == Kind::kWrite && size > before.size && size < now.size;
  if (size != before.size && size != now.size && !between)
    return fail("an interrupted " + describe(change) + " has left " + std::to_string(size) +
                " bytes");
  for (std::uint32_t block = 0; block < kBlocks; ++block) {
    const auto part = std::span(content).subspan(block * shape.block_bytes, shape.block_bytes);
    const Status status = session_.get(*dataset, block + 1, 0, part);
    if (!status.ok()) return fail("read", status);
  }
  if (change.kind == Kind::kPut && content != old_content && content != new_content) {
    return fail("half of an interrupted " + describe(change) + " is there");
  }
  for (std::size_t at = 0; at < content.size(); ++at) {
    if (content[at] == old_content[at] || content[at] == new_content[at]) continue;
    return fail("an interrupted " + describe(change) + " has damaged byte " + std::to_string(at));
  }
  // An append that has its place is completed there.
  Status again;
  bool happened = true;
  if (change.kind != Kind::kAppend) {
    again = write_data(change);
  } else if (size == now.size) {
    again = session_.write_at(*dataset, before.size, content_of(now, before.size, change.bytes));
  } else {
    happened = false;
  }
  if (!again.ok()) return fail("after an interrupted " + describe(change), again);
  journal_.decide(happened, true);
  return true;
}

bool Client::look(const Uri& path, bool* there) {
  const auto node = session_.resolve(path);
  *there = node.ok();
  return node.ok() || node.code() == Code::kNotFound ||
         fail("looking at " + format_uri(path), node.status());
}

bool Client::resolve() {
  const Change change = journal_.change;
  if (expected(state(), change) != Code::kOk) {
    journal_.decide(false, true);
    return true;
  }
  bool there = false;
  switch (change.kind) {
    case Kind::kCreate:
      if (!look(uri(change.at), &there)) return false;
      journal_.decide(there, true);
      return true;
    case Kind::kUnlink:
    case Kind::kRename:
      if (!look(uri(change.at), &there)) return false;
      journal_.decide(!there || (change.kind == Kind::kRename && change.at == change.to), true);
      return true;
    case Kind::kMakeDirectory:
      if (!look(uri(change.at.directory), &there)) return false;
      journal_.decide(there, true);
      return true;
    case Kind::kRemoveDirectory:
    case Kind::kRenameDirectory:
      if (!look(uri(change.at.directory), &there)) return false;
      journal_.decide(!there || (change.kind == Kind::kRenameDirectory &&
                                 change.at.directory == change.to.directory), true);
      return true;
    case Kind::kPut:
    case Kind::kWrite:
    case Kind::kAppend:
    case Kind::kTruncate:
      return resolve_data(change);
  }
  return true;
}

bool Client::take_over() {
  const Status made =
      session_.make_directory({kInstance, "p" + std::to_string(number_)}, 0755, true);
  if (!made.ok()) return fail("mkdir", made);
  if (const Status shared = make_shared(session_); !shared.ok())
    return fail("what all share", shared);
  if (journal_.undecided() && !resolve()) return false;
  return verify();
}

bool Client::recover(imss::Deadline patience) {
  do {
    troubled_ = false;
    if (take_over()) return true;
    if (!troubled_) return false;
  } while (!patience.expired());
  return fail(std::string("the trouble does not end: ") + journal_.trouble);
}

// --- one step
// ------------------------------------------------------------------------------------------------

// Death at a fault point, or at whatever instruction is executed a moment from now.
void Client::arm() {
  constexpr const char* kPoints[] = {"transaction.prepared",
                                     "transaction.committed",
                                     "transaction.applying",
                                     "transaction.applied",
                                     "put.filled",
                                     "put.published",
                                     "write.filled",
                                     "write.range_made",
                                     "pages.claimed",
                                     "pages.filled",
                                     "move.announced",
                                     "move.copied",
                                     "extents.refilled",
                                     "table.split",
                                     "names.prepared",
                                     "names.removed",
                                     "names.renamed",
                                     "names.rename_prepared",
                                     "create.inode_made",
                                     "create.published",
                                     "unlink.links_changed",
                                     "drop.blocks_erased",
                                     "inode.filled",
                                     "inode.block_announced",
                                     "replicas.one_written",
                                     "names.directory_removed",
                                     "append.reserved",
                                     "truncate.begun",
                                     "truncation.begun",
                                     "truncation.intended",
                                     "truncate.blocks_erased"};
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
