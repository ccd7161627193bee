// What tests of one namespace share: a namespace with an instance, and calls that do what a client does.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "engines.h"

namespace names_test {

// A namespace with one instance, whose root the tests work in.
struct Names : engines::NameEngine {
  Names() {
    imss::metadata::InstanceInfo info;
    info.name = "w";
    info.servers = {1};
    REQUIRE(names.create_instance(info).ok());
    root = names.instance("w")->root;
  }

  imss::Status create(std::uint64_t parent, std::string_view name, std::uint64_t* id = nullptr) {
    imss::metadata::EntryInfo info;
    info.parent = parent;
    info.name = name;
    info.type = imss::metadata::NodeType::kDataset;
    auto pending = names.prepare(info);
    if (!pending.ok()) return pending.status();
    imss::Status status = names.publish(*pending);
    if (!status.ok()) names.abandon(*pending);
    if (status.ok() && id != nullptr) *id = pending->info.id;
    return status;
  }
  std::uint64_t make_directory(std::uint64_t parent, std::string_view name) {
    std::uint64_t id = 0;
    REQUIRE(names.make_directory(parent, name, {0755}, &id).ok());
    return id;
  }
  imss::Status remove(std::uint64_t parent, std::string_view name) {
    auto removed = names.remove(parent, name);
    if (removed.ok()) names.forget(*removed);
    return removed.status();
  }
  // Forgets the replaced name, as the caller of a rename does.
 imss::Code rename(std::uint64_t from, std::string_view name, std::uint64_t to,
              std::string_view new_name, bool no_replace = false) {
    auto renamed = names.rename(from, name, to, new_name, no_replace);
    if (renamed.ok() && renamed->replaced) names.forget(renamed->victim);
    return renamed.code();
  }
  std::uint64_t id_of(std::uint64_t parent, std::string_view name) {
    auto entry = names.lookup(parent, name);
    return entry.ok() ? entry->id : 0;
  }
  std::vector<std::string> list(std::uint64_t directory, std::size_t batch = 10) {
    std::vector<imss::metadata::EntryInfo> entries;
    std::uint64_t cookie = 0;
    for (bool more = true; more;) {
      auto listed = names.list(directory, cookie, batch, &entries);
      REQUIRE(listed.ok());
      more = *listed;
      if (!entries.empty()) cookie = entries.back().cookie;
    }
    std::vector<std::string> all;
    for (const auto& entry : entries) all.push_back(entry.name);
    std::sort(all.begin(), all.end());
    return all;
  }

  std::uint64_t root = 0;
};

}  // namespace names_test
