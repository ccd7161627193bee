#include "names_model.h"

#include <algorithm>

namespace model {

using imss::Code;

std::uint32_t NameTree::at(const NamePlace& place) const {
  const auto& names = node(place.directory).names;
  const auto found = names.find(place.name);
  return found == names.end() ? 0 : found->second;
}

std::uint64_t NameTree::id_at(const NamePlace& place) const {
  const std::uint32_t number = at(place);
  return number == 0 ? 0 : node(number).id;
}

std::vector<std::uint32_t> NameTree::directories() const {
  std::vector<std::uint32_t> all;
  for (const auto& [number, node] : nodes_) {
    if (node.directory) all.push_back(number);
  }
  return all;
}

std::size_t NameTree::depth(std::uint32_t directory) const {
  std::size_t depth = 0;
  for (; directory != kRoot; directory = node(directory).parent) ++depth;
  return depth;
}

std::string NameTree::path(std::uint32_t directory) const {
  std::string path;
  for (; directory != kRoot; directory = node(directory).parent) {
    const auto& names = node(node(directory).parent).names;
    const auto name = std::ranges::find_if(names, [&](const auto& entry) { return entry.second == directory; });
    path = "/" + name->first + path;
  }
  return path;
}

std::string NameTree::path(const NamePlace& place) const { return path(place.directory) + "/" + place.name; }

std::uint64_t NameTree::names_of(std::uint32_t number) const {
  std::uint64_t count = 0;
  for (const auto& [other, node] : nodes_) {
    for (const auto& [name, named] : node.names) count += named == number ? 1 : 0;
  }
  return count;
}

bool NameTree::below(std::uint32_t directory, std::uint32_t ancestor) const {
  while (directory != kRoot && directory != ancestor) directory = node(directory).parent;
  return directory == ancestor;
}

std::vector<Code> NameTree::expected(const NameChange& change) const {
  const std::uint32_t from = at(change.from);
  switch (change.kind) {
    case NameKind::kCreate:
    case NameKind::kMakeDirectory:
      return {from != 0 ? Code::kExists : Code::kOk};
    case NameKind::kUnlink:
      if (from == 0) return {Code::kNotFound};
      return {node(from).directory ? Code::kIsDirectory : Code::kOk};
    case NameKind::kRemoveDirectory:
      if (from == 0) return {Code::kNotFound};
      if (!node(from).directory) return {Code::kNotDirectory};
      return {node(from).names.empty() ? Code::kOk : Code::kNotEmpty};
    case NameKind::kLink:
      if (from == 0) return {Code::kNotFound};
      if (node(from).directory) return {Code::kIsDirectory};
      return {at(change.to) != 0 ? Code::kExists : Code::kOk};
    case NameKind::kRename:
    case NameKind::kRenameToNew:
      return expected_of_rename(change);
  }
  return {};
}

std::vector<Code> NameTree::expected_of_rename(const NameChange& change) const {
  const std::uint32_t from = at(change.from);
  const std::uint32_t to = at(change.to);
  if (from == 0) return {Code::kNotFound};
  std::vector<Code> wrong;
  if (to != 0 && change.kind == NameKind::kRenameToNew) wrong.push_back(Code::kExists);
  const bool directory = node(from).directory;
  if (directory && from != to && below(change.to.directory, from)) wrong.push_back(Code::kWouldCycle);
  if (to != 0 && to != from) {
    if (directory && !node(to).directory) wrong.push_back(Code::kNotDirectory);
    if (!directory && node(to).directory) wrong.push_back(Code::kIsDirectory);
    if (directory && node(to).directory && !node(to).names.empty()) wrong.push_back(Code::kNotEmpty);
  }
  if (wrong.empty()) wrong.push_back(Code::kOk);
  return wrong;
}

std::uint32_t NameTree::add(const NamePlace& place, bool directory) {
  const std::uint32_t number = next_++;
  nodes_[number].directory = directory;
  nodes_[number].parent = directory ? place.directory : 0;
  node(place.directory).names[place.name] = number;
  return number;
}

void NameTree::drop_name(std::uint32_t number) {
  if (number != 0 && names_of(number) == 0) nodes_.erase(number);
}

void NameTree::apply(const NameChange& change) {
  const std::uint32_t from = at(change.from);
  switch (change.kind) {
    case NameKind::kCreate:
    case NameKind::kMakeDirectory:
      add(change.from, change.kind == NameKind::kMakeDirectory);
      return;
    case NameKind::kUnlink:
    case NameKind::kRemoveDirectory:
      node(change.from.directory).names.erase(change.from.name);
      drop_name(from);
      return;
    case NameKind::kLink:
      node(change.to.directory).names[change.to.name] = from;
      return;
    case NameKind::kRename:
    case NameKind::kRenameToNew:
      apply_rename(change);
      return;
  }
}

// Two names of one dataset stay, as POSIX has it.
void NameTree::apply_rename(const NameChange& change) {
  const std::uint32_t from = at(change.from);
  const std::uint32_t to = at(change.to);
  if (from == to) return;
  node(change.from.directory).names.erase(change.from.name);
  node(change.to.directory).names[change.to.name] = from;
  if (node(from).directory) node(from).parent = change.to.directory;
  drop_name(to);
}

std::string describe(const NameTree& tree, const NameChange& change) {
  constexpr const char* kNames[] = {"create", "mkdir", "unlink", "rmdir", "link", "rename", "rename to new"};
  std::string text = std::string(kNames[static_cast<std::uint32_t>(change.kind)]) + " " + tree.path(change.from);
  if (change.kind >= NameKind::kLink) text += " to " + tree.path(change.to);
  return text;
}

}  // namespace model
