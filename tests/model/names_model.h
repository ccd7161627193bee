// A tree of names as one client was told it is: directories, datasets, and datasets with several
// names, each with the id that the store gave it.
//
// A value: what is there before a change and after it are two trees. Owned by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace model {

constexpr std::uint32_t kRoot = 1;  // the directory that the client has for itself
constexpr std::uint32_t kNamesEach = 5;
constexpr std::size_t kMostDirectories = 14;
constexpr std::size_t kMostDepth = 4;

struct Node {
  bool directory = false;
  std::uint64_t id = 0;     // in the store; 0 before it was seen
  std::uint32_t stamp = 0;  // what a dataset has stored; 0: nothing
  std::uint32_t parent = 0;
  std::map<std::string, std::uint32_t> names;
};

// A name in a directory, whether it is there or not.
struct NamePlace {
  std::uint32_t directory = kRoot;
  std::string name;
  bool operator==(const NamePlace&) const = default;
};

enum class NameKind : std::uint32_t {
  kCreate,
  kMakeDirectory,
  kUnlink,
  kRemoveDirectory,
  kLink,
  kRename,
  kRenameToNew
};

struct NameChange {
  NameKind kind = NameKind::kCreate;
  NamePlace from;
  NamePlace to;  // of links and renames
};

class NameTree {
 public:
  NameTree() { nodes_[kRoot].directory = true; }

  const std::map<std::uint32_t, Node>& nodes() const { return nodes_; }
  const Node& node(std::uint32_t number) const { return nodes_.at(number); }
  Node& node(std::uint32_t number) { return nodes_.at(number); }
  // 0: there is no such name.
  std::uint32_t at(const NamePlace& place) const;
  std::uint64_t id_at(const NamePlace& place) const;
  std::vector<std::uint32_t> directories() const;
  std::size_t depth(std::uint32_t directory) const;
  // From the client's directory; empty for that itself.
  std::string path(std::uint32_t directory) const;
  std::string path(const NamePlace& place) const;
  std::uint64_t names_of(std::uint32_t number) const;

  // The codes that the store may answer with: one where only one thing is wrong.
  std::vector<imss::Code> expected(const NameChange& change) const;
  // What the change makes. REQUIRES: it is expected to succeed.
  void apply(const NameChange& change);

 private:
  bool below(std::uint32_t directory, std::uint32_t ancestor) const;
  std::vector<imss::Code> expected_of_rename(const NameChange& change) const;
  void apply_rename(const NameChange& change);
  void drop_name(std::uint32_t number);
  std::uint32_t add(const NamePlace& place, bool directory);

  std::map<std::uint32_t, Node> nodes_;
  std::uint32_t next_ = kRoot + 1;
};

std::string describe(const NameTree& tree, const NameChange& change);

}  // namespace model
