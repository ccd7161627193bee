#include "names_client.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/hash.h"
#include "metadata/authority.h"
#include "model_client.h"
#include "segment/segment.h"

namespace model {

using imss::Code;
using imss::Deadline;
using imss::Status;
using imss::Uri;
using imss::client::Session;
using imss::metadata::EntryInfo;

namespace {

constexpr std::uint32_t kServers = 2;
constexpr std::uint64_t kBlockBytes = 64;
constexpr std::int64_t kHeldUpMs = 100;  // longer than anything takes when all servers are there
constexpr std::uint32_t kSharedNames = 6;

// What ends like this says nothing about names.
bool is_trouble(const Status& status) {
  return status.code() == Code::kIo || status.code() == Code::kTimedOut || status.code() == Code::kUnknownOutcome;
}

std::uint32_t authority(std::uint64_t directory) { return imss::metadata::authority_of(directory, kServers); }

Status differs(const std::string& what) { return Status(Code::kCorrupt, what); }

// Calls until there is another answer than that a server cannot be reached.
template <typename Call>
Status until_answered(Deadline patience, Call&& call) {
  for (;;) {
    const Status status = call();
    if (!is_trouble(status) || patience.expired()) return status;
    std::this_thread::yield();
  }
}

imss::client::DatasetOptions dataset_options() {
  imss::client::DatasetOptions options;
  options.block_bytes = kBlockBytes;
  options.block_count = 1;
  return options;
}

}  // namespace

std::uint64_t NamesClient::random(std::uint64_t below) {
  random_ += 0x9e3779b97f4a7c15ULL;
  return imss::mix64(random_) % below;
}

bool NamesClient::fail(const std::string& what) {
  failure_ = "operation " + std::to_string(report_.operations) + ": " + what;
  return false;
}

Uri NamesClient::uri(const std::string& path) const { return {kInstance, "p" + std::to_string(number_) + path}; }

template <typename Call>
Status NamesClient::timed(const std::string& what, Call&& call) {
  const std::int64_t begun = imss::monotonic_ns();
  const imss::segment::OneDeadline deadline;  // as a call of the C API has it
  const Status status = call();
  took_ms_ = (imss::monotonic_ns() - begun) / 1'000'000;
  if (took_ms_ > report_.longest_ms) {
    report_.longest_ms = took_ms_;
    report_.longest = what + " (" + (status.ok() ? "done" : status.message()) + ")";
  }
  return status;
}

// --- changes -----------------------------------------------------------------------------------------------------

NamePlace NamesClient::draw_place(bool present) {
  const auto directories = tree_.directories();
  NamePlace place{directories[random(directories.size())], std::string(1, static_cast<char>('a' + random(kNamesEach)))};
  for (int attempt = 0; present && tree_.at(place) == 0 && attempt < 20; ++attempt) place = draw_place(false);
  return place;
}

NameChange NamesClient::draw_change() {
  constexpr NameKind kOften[] = {NameKind::kCreate,          NameKind::kMakeDirectory,   NameKind::kMakeDirectory,
                                 NameKind::kMakeDirectory,   NameKind::kMakeDirectory,   NameKind::kRemoveDirectory,
                                 NameKind::kRemoveDirectory, NameKind::kRemoveDirectory, NameKind::kRemoveDirectory,
                                 NameKind::kUnlink,          NameKind::kUnlink,          NameKind::kLink,
                                 NameKind::kRename,          NameKind::kRename,          NameKind::kRenameToNew};
  for (;;) {
    NameChange change;
    change.kind = kOften[random(std::size(kOften))];
    const bool makes = change.kind == NameKind::kCreate || change.kind == NameKind::kMakeDirectory;
    change.from = draw_place(!makes && random(16) != 0);
    change.to = draw_place(random(3) == 0);
    const bool deep = tree_.depth(change.from.directory) >= kMostDepth || tree_.depth(change.to.directory) >= kMostDepth;
    const bool many = tree_.directories().size() >= kMostDirectories;
    if (change.kind == NameKind::kMakeDirectory && (deep || many)) continue;
    if (change.kind == NameKind::kRename && deep && random(4) != 0) continue;
    // Which of two mistakes is answered depends on what is looked at first.
    if (change.from == change.to && change.kind != NameKind::kRename) continue;
    // Mostly what succeeds and has parties on both servers.
    if (tree_.expected(change).front() != Code::kOk && random(8) != 0) continue;
    const bool apart = change.kind == NameKind::kMakeDirectory || crossing_of(change, tree_, tree_) != Crossing::kNone;
    if (!apart && random(3) != 0) continue;
    return change;
  }
}

Status NamesClient::execute(const NameChange& change, const NameTree& after) {
  const Uri from = uri(tree_.path(change.from));
  const Uri to = uri(tree_.path(change.to));
  switch (change.kind) {
    case NameKind::kCreate: {
      const Opened made(session_, session_.create(from, dataset_options()));
      IMSS_RETURN_IF_ERROR(made.status());
      const std::uint32_t stamp = after.at(change.from);
      const Status put = session_.put(*made, 1, std::as_bytes(std::span(&stamp, 1)));
      return put.ok() ? put : differs("put: " + put.message());  // the data servers are all there
    }
    case NameKind::kMakeDirectory:
      return session_.make_directory(from, 0755, false);
    case NameKind::kUnlink:
      return session_.unlink(from);
    case NameKind::kRemoveDirectory:
      return session_.remove_directory(from);
    case NameKind::kLink:
      return session_.link(from, to);
    case NameKind::kRename:
      return session_.rename(from, to);
    case NameKind::kRenameToNew:
      return session_.rename(from, to, true);
  }
  return {};
}

Crossing NamesClient::crossing_of(const NameChange& change, const NameTree& before, const NameTree& after) const {
  const std::uint32_t home = authority(before.node(change.from.directory).id);
  const std::uint32_t goal = authority(before.node(change.to.directory).id);
  switch (change.kind) {
    case NameKind::kMakeDirectory: {
      const std::uint64_t made = after.id_at(change.from);
      return made != 0 && authority(made) != home ? Crossing::kMakeDirectory : Crossing::kNone;
    }
    case NameKind::kRemoveDirectory:
      return authority(before.id_at(change.from)) != home ? Crossing::kRemoveDirectory : Crossing::kNone;
    case NameKind::kLink:
      return goal != home ? Crossing::kLink : Crossing::kNone;
    case NameKind::kRename:
    case NameKind::kRenameToNew: {
      const std::uint32_t moved = before.at(change.from);
      if (moved == 0) return Crossing::kNone;
      if (!before.node(moved).directory) return goal != home ? Crossing::kMoveFile : Crossing::kNone;
      const bool apart = goal != home || authority(before.node(moved).id) != home;
      return apart && change.from.directory != change.to.directory ? Crossing::kMoveDirectory : Crossing::kNone;
    }
    default:
      return Crossing::kNone;
  }
}

bool NamesClient::change(const NameChange& change) {
  const auto wanted = tree_.expected(change);
  NameTree after = tree_;
  const bool succeeds = wanted.front() == Code::kOk;
  if (succeeds) after.apply(change);
  const std::string text = describe(tree_, change);
  const Status status = timed(text, [&] { return execute(change, after); });
  const bool trouble = is_trouble(status);
  if (!trouble && std::ranges::find(wanted, status.code()) == wanted.end()) {
    return fail(text + " answered " + std::string(imss::name_of(status.code())) + " (" + status.message() +
                ") instead of " + std::string(imss::name_of(wanted.front())));
  }
  const NameTree before = tree_;
  const bool held_up = took_ms_ >= kHeldUpMs || trouble;
  if (trouble) {
    // kIo says that it was not applied.
    const bool open = succeeds && status.code() != Code::kIo;
    ++(open ? report_.uncertain : report_.not_applied);
    if (!settle(change, open, after)) {
      failure_ += ", after: " + status.message();
      return false;
    }
  } else if (succeeds) {
    const bool makes = change.kind == NameKind::kCreate || change.kind == NameKind::kMakeDirectory;
    if (makes && change.kind == NameKind::kCreate) after.node(after.at(change.from)).stamp = after.at(change.from);
    if (makes && !learn(after, change.from)) return false;
    tree_ = after;
  }
  if (succeeds) {
    const auto crossing = static_cast<std::size_t>(crossing_of(change, before, tree_));
    if (!trouble) ++report_.crossed[crossing];
    if (held_up) ++report_.held_up[crossing];
  }
  return true;
}

Status NamesClient::look(const std::string& path, std::uint64_t* id) {
  const auto node = session_.resolve(uri(path));
  *id = node.ok() ? node->entry.id : 0;
  return node.code() == Code::kNotFound ? Status() : node.status();
}

// The id of what was made.
bool NamesClient::learn(NameTree& tree, const NamePlace& place) {
  std::uint64_t id = 0;
  const Status status =
      until_answered(Deadline::from_now(60'000), [&] { return look(tree.path(place), &id); });
  if (!status.ok() || id == 0) return fail(tree.path(place) + " was made and is not there: " + status.message());
  tree.node(tree.at(place)).id = id;
  return true;
}

// A change that ended with an error happened as a whole or not at all, and not at all if that was said.
bool NamesClient::settle(const NameChange& change, bool open, NameTree after) {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  const Status looked = until_answered(Deadline::from_now(60'000), [&]() -> Status {
    IMSS_RETURN_IF_ERROR(look(tree_.path(change.from), &from));
    return look(tree_.path(change.to), &to);
  });
  const std::string text = "an interrupted " + describe(tree_, change);
  if (!looked.ok()) return fail(text + " cannot be looked at: " + looked.message());
  const bool makes = change.kind == NameKind::kCreate || change.kind == NameKind::kMakeDirectory;
  if (makes) to = tree_.id_at(change.to);
  if (from == tree_.id_at(change.from) && to == tree_.id_at(change.to)) return true;
  if (!open) return fail(text + " was applied, and the error says that it was not");
  if (makes && from != 0) {
    after.node(after.at(change.from)).id = from;
  } else if (makes || from != after.id_at(change.from) || to != after.id_at(change.to)) {
    return fail(text + " has left " + std::to_string(from) + " and " + std::to_string(to));
  }
  ++report_.happened;
  tree_ = std::move(after);
  return true;
}

// --- comparisons -------------------------------------------------------------------------------------------------

Status NamesClient::compare_directory(std::uint32_t directory) {
  const std::string path = tree_.path(directory);
  std::vector<EntryInfo> entries;
  const auto listed =
      timed("list " + path, [&] { return session_.list(uri(path), 0, 1000, &entries).status(); });
  if (is_trouble(listed)) return listed;
  if (!listed.ok()) return differs("listing " + path + ": " + listed.message());
  std::map<std::string, std::uint64_t> seen;
  for (const EntryInfo& entry : entries) seen[entry.name] = entry.id;
  std::map<std::string, std::uint64_t> wanted;
  for (const auto& [name, number] : tree_.node(directory).names) wanted[name] = tree_.node(number).id;
  if (seen == wanted && seen.size() == entries.size()) return {};
  std::string text = path + " lists";
  for (const EntryInfo& entry : entries) text += " " + entry.name + "=" + std::to_string(entry.id);
  text += " instead of";
  for (const auto& [name, id] : wanted) text += " " + name + "=" + std::to_string(id);
  return differs(text);
}

Status NamesClient::compare_dataset(const NamePlace& place) {
  const std::string path = tree_.path(place);
  const std::uint32_t number = tree_.at(place);
  std::uint32_t stamp = 0;
  const Status read = timed("read " + path, [&]() -> Status {
    const Opened dataset(session_, session_.open(uri(path)));
    IMSS_RETURN_IF_ERROR(dataset.status());
    return session_.get(*dataset, 1, 0, std::as_writable_bytes(std::span(&stamp, 1)));
  });
  if (is_trouble(read)) return read;
  if (number == 0 || tree_.node(number).directory) {
    const Code wanted = number == 0 ? Code::kNotFound : Code::kIsDirectory;
    return read.code() == wanted ? Status() : differs("reading " + path + " answered " + read.message());
  }
  if (!read.ok()) return differs("reading " + path + ": " + read.message());
  return stamp == tree_.node(number).stamp ? Status() : differs(path + " has the content of another dataset");
}

// `links`: also how many names the datasets count, which is certain once everything has been cleaned up.
Status NamesClient::compare_all(bool links) {
  for (const std::uint32_t directory : tree_.directories()) {
    IMSS_RETURN_IF_ERROR(compare_directory(directory));
    const auto attributes = session_.attributes(uri(tree_.path(directory)));
    if (is_trouble(attributes.status())) return attributes.status();
    if (!attributes.ok() || attributes->size != tree_.node(directory).names.size())
      return differs(tree_.path(directory) + " counts its names wrong");
    for (const auto& [name, number] : tree_.node(directory).names) {
      if (tree_.node(number).directory) continue;
      const NamePlace place{directory, name};
      IMSS_RETURN_IF_ERROR(compare_dataset(place));
      if (!links) continue;
      const auto inode = session_.attributes(uri(tree_.path(place)));
      if (!inode.ok()) return is_trouble(inode.status()) ? inode.status() : differs(inode.status().message());
      // To be asked again: what an interrupted change has left is being removed.
      if (inode->links != tree_.names_of(number))
        return Status(Code::kIo, tree_.path(place) + " counts " + std::to_string(inode->links) + " names instead of " +
                                     std::to_string(tree_.names_of(number)));
    }
  }
  return {};
}

bool NamesClient::verify(Deadline patience) {
  const Status status = until_answered(patience, [&] { return compare_all(true); });
  return status.ok() || fail(status.message());
}

// --- what all do -------------------------------------------------------------------------------------------------

bool NamesClient::begin(Deadline patience) {
  const Status made = until_answered(patience, [&]() -> Status {
    IMSS_RETURN_IF_ERROR(session_.make_directory(uri(""), 0755, true));
    for (const char* path : {"shared/x/z", "shared/y"})
      IMSS_RETURN_IF_ERROR(session_.make_directory({kInstance, path}, 0755, true));
    return look("", &tree_.node(kRoot).id);
  });
  return made.ok() || fail("at the beginning: " + made.message());
}

bool NamesClient::share() {
  const auto name = [&] {
    constexpr const char* kWhere[] = {"", "x/", "y/", "x/z/"};
    return Uri{kInstance, "shared/" + (kWhere[random(4)] + ("n" + std::to_string(random(kSharedNames))))};
  };
  const Uri from = name();
  Uri to = name();
  if (random(3) == 0) to.path += "/n" + std::to_string(random(kSharedNames));
  const Status status = timed("a shared name", [&]() -> Status {
    switch (random(8)) {
      case 0:
        return Opened(session_, session_.create(from, dataset_options())).status();
      case 1:
        return session_.unlink(from);
      case 2:
        return session_.make_directory(from, 0755, false);
      case 3:
        return session_.remove_directory(from);
      case 4:
        return session_.link(from, to);
      default:
        return session_.rename(from, to, random(4) == 0);
    }
  });
  constexpr Code kPossible[] = {Code::kOk,       Code::kNotFound,     Code::kExists,    Code::kIsDirectory,
                                Code::kNotEmpty, Code::kNotDirectory, Code::kWouldCycle};
  return is_trouble(status) || std::ranges::find(kPossible, status.code()) != std::end(kPossible) ||
         fail("a shared name: " + status.message());
}

bool NamesClient::step() {
  ++report_.operations;
  const std::uint64_t what = random(16);
  if (what < 12) return change(draw_change());
  if (what < 14) return share();
  const NamePlace place = draw_place(random(4) != 0);
  const Status status = what < 15 ? compare_dataset(place) : compare_directory(place.directory);
  return status.ok() || is_trouble(status) || fail(status.message());
}

bool NamesClient::remove_all(Deadline patience) {
  while (!tree_.node(kRoot).names.empty()) {
    for (const std::uint32_t directory : tree_.directories()) {
      // What was removed before took others of the list along.
      if (!tree_.nodes().contains(directory) || tree_.node(directory).names.empty()) continue;
      const auto& [name, number] = *tree_.node(directory).names.begin();
      const Node& node = tree_.node(number);
      if (node.directory && !node.names.empty()) continue;
      const NameKind kind = node.directory ? NameKind::kRemoveDirectory : NameKind::kUnlink;
      if (!change({kind, {directory, name}, {directory, name}})) return false;
    }
    if (patience.expired()) return fail("its names cannot be removed");
  }
  const Status status = until_answered(patience, [&] { return session_.remove_directory(uri("")); });
  return status.ok() || fail("its directory cannot be removed: " + status.message());
}

// --- what is shared ----------------------------------------------------------------------------------------------

namespace {

struct Names {
  Uri first;
  std::uint64_t count = 0;
};

Status compare_shared(Session& session) {
  std::map<std::uint64_t, Names> datasets;
  std::vector<Uri> directories = {{kInstance, "shared"}};
  while (!directories.empty()) {
    const Uri directory = directories.back();
    directories.pop_back();
    std::vector<EntryInfo> entries;
    IMSS_RETURN_IF_ERROR(session.list(directory, 0, 1000, &entries).status());
    const auto attributes = session.attributes(directory);
    IMSS_RETURN_IF_ERROR(attributes.status());
    if (attributes->size != entries.size()) return differs(format_uri(directory) + " counts its names wrong");
    for (const EntryInfo& entry : entries) {
      const Uri path{kInstance, directory.path + "/" + entry.name};
      if (entry.type == imss::metadata::NodeType::kDirectory) {
        directories.push_back(path);
        continue;
      }
      IMSS_RETURN_IF_ERROR(Opened(session, session.open(path)).status());
      Names& names = datasets[entry.id];
      names.first = path;
      ++names.count;
    }
  }
  for (const auto& [id, names] : datasets) {
    const auto attributes = session.attributes(names.first);
    IMSS_RETURN_IF_ERROR(attributes.status());
    if (attributes->links != names.count)
      return Status(Code::kIo, format_uri(names.first) + " counts " + std::to_string(attributes->links) +
                                   " names instead of " + std::to_string(names.count));
  }
  return {};
}

}  // namespace

std::string verify_shared_names(Session& session, Deadline patience) {
  const Status status = until_answered(patience, [&] { return compare_shared(session); });
  return status.message();
}

}  // namespace model
