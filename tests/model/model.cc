#include "model.h"

#include <algorithm>
#include <cstring>

#include "policies/policy.h"

namespace model {

using imss::Code;

bool Directory::empty() const {
  return std::none_of(std::begin(files), std::end(files),
                      [](const File& file) { return file.exists != 0; });
}

Shape shape_of(std::uint32_t shape) {
  constexpr std::uint64_t kPieceBytes[] = {125, 2560, 12'800, 51};
  const auto& policies = imss::kAllPolicies;
  return {kPieceBytes[shape % 4], shape % 3 != 0,
          static_cast<std::uint8_t>(policies[shape % std::size(policies)]),
          shape % 5 == 0 ? 2U : 1U};
}

Code expected(const State& state, const Change& change) {
  const Directory& directory = state.directories[change.at.directory];
  const File& file = directory.files[change.at.file];
  const Directory& target = state.directories[change.to.directory];
  switch (change.kind) {
    case Kind::kCreate:
      return directory.exists == 0 ? Code::kNotFound : file.exists != 0 ? Code::kExists : Code::kOk;
    case Kind::kRename:
      if (directory.exists == 0 || file.exists == 0 || target.exists == 0) return Code::kNotFound;
      return Code::kOk;
    case Kind::kMakeDirectory:
      return directory.exists != 0 ? Code::kExists : Code::kOk;
    case Kind::kRemoveDirectory:
      return directory.exists == 0 ? Code::kNotFound
             : directory.empty()   ? Code::kOk
                                   : Code::kNotEmpty;
    case Kind::kRenameDirectory:
      if (directory.exists == 0) return Code::kNotFound;
      return target.exists != 0 && !target.empty() && &target != &directory ? Code::kNotEmpty
                                                                            : Code::kOk;
    case Kind::kUnlink:
    case Kind::kPut:
    case Kind::kWrite:
      return directory.exists == 0 || file.exists == 0 ? Code::kNotFound : Code::kOk;
  }
  return Code::kOk;
}

void apply(State& state, const Change& change) {
  Directory& directory = state.directories[change.at.directory];
  File& file = directory.files[change.at.file];
  const Shape shape = shape_of(file.shape);
  switch (change.kind) {
    case Kind::kCreate:
      file = {};
      file.exists = 1;
      file.shape = change.shape;
      if (!shape_of(change.shape).grows) file.size = kBlocks * shape_of(change.shape).block_bytes();
      return;
    case Kind::kUnlink:
      file = {};
      return;
    case Kind::kRename:
      if (change.at == change.to) return;
      state.directories[change.to.directory].files[change.to.file] = file;
      file = {};
      return;
    case Kind::kMakeDirectory:
      directory.exists = 1;
      return;
    case Kind::kRemoveDirectory:
      directory = {};
      return;
    case Kind::kRenameDirectory:
      if (change.at.directory == change.to.directory) return;
      state.directories[change.to.directory] = directory;
      directory = {};
      return;
    case Kind::kPut:
      std::fill(std::begin(file.pieces[change.block]), std::end(file.pieces[change.block]), 0);
      [[fallthrough]];
    case Kind::kWrite:
      for (std::uint32_t i = 0; i < change.count; ++i)
        file.pieces[change.block][change.first + i] = change.stamp;
      file.size = std::max(file.size, change.block * shape.block_bytes() +
                                          (change.first + change.count) * shape.piece_bytes);
      return;
  }
}

std::vector<std::byte> content_of(const File& file, std::uint32_t block, std::uint32_t first,
                                  std::uint32_t count) {
  const std::uint64_t piece_bytes = shape_of(file.shape).piece_bytes;
  std::vector<std::byte> content(count * piece_bytes);
  for (std::size_t at = 0; at < content.size(); ++at) {
    const std::uint32_t stamp = file.pieces[block][first + at / piece_bytes];
    content[at] = static_cast<std::byte>(stamp >> 8 * (at % piece_bytes % 4));
  }
  return content;
}

std::string describe(const Change& change) {
  constexpr const char* kNames[] = {
      "create", "unlink", "rename", "mkdir", "rmdir", "rename of directory", "put", "write"};
  return std::string(kNames[static_cast<std::uint32_t>(change.kind)]) + " d" +
         std::to_string(change.at.directory) + "/f" + std::to_string(change.at.file) + " to d" +
         std::to_string(change.to.directory) + "/f" + std::to_string(change.to.file) + ", block " +
         std::to_string(change.block + 1) + ", pieces " + std::to_string(change.first) + "+" +
         std::to_string(change.count);
}

void Journal::announce(const Change& next) {
  change = next;
  change_number.store(state().changes + 1);
}

void Journal::decide(bool happened) {
  const std::uint32_t now = current.load();
  State& next = states[1 - now];
  next = states[now];
  next.changes = change_number.load();
  if (happened) apply(next, change);
  current.store(1 - now);
}

}  // namespace model
