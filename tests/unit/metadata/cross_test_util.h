// Several metadata servers in one process, a client's view of the namespace over them, and the check that the
// namespace is whole: every name in one place, no circle, counters right, nothing claimed, nothing leaked.
#pragma once

#include <map>
#include <set>

#include "engines.h"
#include "metadata/authority.h"
#include "metadata/change_upkeep.h"
#include "metadata/cross_names.h"
#include "metadata/journaller.h"
#include "metadata/records.h"

namespace cross {

using engines::HostedSegment;
using engines::kMiB;
using imss::Code;
using imss::Result;
using imss::Status;
using imss::metadata::authority_of;
using imss::metadata::ChangeUpkeep;
using imss::metadata::CrossNames;
using imss::metadata::EntryInfo;
using imss::metadata::InstanceInfo;
using imss::metadata::Namespace;
using imss::metadata::NameService;
using imss::metadata::NodeType;
using imss::metadata::RenameResult;

struct Part {
  Part(std::uint32_t index, std::uint32_t count)
      : hosted(imss::segment::Role::kMetadata, 64 * kMiB), names(hosted.segment()) {
    REQUIRE(names.format(index, count).ok());
    hosted.publish();
  }
  HostedSegment hosted;
  Namespace names;
};

// What a client does with a namespace over several servers: each name at the authority of its directory, and claims
// settled where they are met.
class View {
 public:
  explicit View(std::vector<NameService*> services) : services_(services), cross_(std::move(services)) {}

  std::uint32_t home(std::uint64_t directory) const {
    return authority_of(directory, static_cast<std::uint32_t>(services_.size()));
  }
  CrossNames& cross() { return cross_; }
  NameService& at(std::uint64_t directory) { return *services_[home(directory)]; }

  Result<EntryInfo> lookup(std::uint64_t parent, std::string_view name) {
    for (;;) {
      auto found = at(parent).lookup(parent, name);
      if (found.code() != Code::kClaimed) return found;
      IMSS_RETURN_IF_ERROR(cross_.resolve(found.status().claim(), home(parent)));
    }
  }
  Status create(std::uint64_t parent, std::string_view name, std::uint64_t id = 0) {
    EntryInfo info;
    info.parent = parent;
    info.name = name;
    info.id = id;
    info.type = NodeType::kDataset;
    IMSS_ASSIGN_OR_RETURN(auto pending, at(parent).prepare(info));
    for (;;) {
      const Status status = at(parent).publish(pending);
      if (status.ok()) return status;
      if (status.code() == Code::kClaimed) {
        const Status settled = cross_.resolve(status.claim(), home(parent));
        if (settled.ok()) continue;
      }
      at(parent).abandon(pending);
      return status;
    }
  }
  Status remove(std::uint64_t parent, std::string_view name) {
    for (;;) {
      auto removed = at(parent).remove(parent, name);
      if (removed.ok()) at(parent).forget(*removed);
      if (removed.code() != Code::kClaimed) return removed.status();
      IMSS_RETURN_IF_ERROR(cross_.resolve(removed.status().claim(), home(parent)));
    }
  }
  Result<imss::metadata::DirectoryInfo> directory(std::uint64_t id) {
    for (;;) {
      auto found = at(id).directory(id);
      if (found.code() != Code::kClaimed) return found;
      IMSS_RETURN_IF_ERROR(cross_.resolve(found.status().claim(), home(id)));
    }
  }
  Result<std::vector<EntryInfo>> list(std::uint64_t directory, std::size_t batch = 7) {
    std::vector<EntryInfo> all;
    for (bool more = true; more;) {
      const auto listed = at(directory).list(directory, all.empty() ? 0 : all.back().cookie, batch, &all);
      if (listed.code() == Code::kClaimed) {
        IMSS_RETURN_IF_ERROR(cross_.resolve(listed.status().claim(), home(directory)));
        continue;
      }
      IMSS_RETURN_IF_ERROR(listed.status());
      more = *listed;
    }
    return all;
  }
  Status rename(std::uint64_t from, std::string_view name, std::uint64_t to, std::string_view new_name,
                bool no_replace = false) {
    auto renamed = cross_.rename(from, name, to, new_name, no_replace);
    if (renamed.ok() && renamed->replaced) services_[renamed->victim.server]->forget(renamed->victim);
    return renamed.status();
  }
  Status make_directory(std::uint64_t parent, std::string_view name, std::uint64_t* id = nullptr) {
    return cross_.make_directory(parent, name, {0755}, id);
  }
  Status remove_directory(std::uint64_t parent, std::string_view name) {
    return cross_.remove_directory(parent, name);
  }

 private:
  std::vector<NameService*> services_;
  CrossNames cross_;
};

class Cluster {
 public:
  explicit Cluster(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) parts_.push_back(std::make_unique<Part>(i, count));
    InstanceInfo info;
    info.name = "w";
    info.servers = {1};
    do {
      info.root = *parts_[0]->names.new_id();
    } while (authority_of(info.root, count) != 0);
    REQUIRE(parts_[0]->names.create_instance(info).ok());
    root_ = info.root;
  }

  std::uint64_t root() const { return root_; }
  std::uint32_t count() const { return static_cast<std::uint32_t>(parts_.size()); }
  Part& part(std::uint32_t index) { return *parts_[index]; }
  std::vector<NameService*> services() {
    std::vector<NameService*> all;
    for (const auto& part : parts_) all.push_back(&part->names);
    return all;
  }
  View view() { return View(services()); }

  // Instead of the segment of a server there is a new one, with what the metadata file says.
  void lose_segment(std::uint32_t index, const std::string& file) {
    parts_[index].reset();
    parts_[index] = std::make_unique<Part>(index, count());
    auto journaller = imss::metadata::Journaller::start(parts_[index]->hosted.segment(), file, false);
    INFO(journaller.status().message());
    REQUIRE(journaller.ok());
    (*journaller)->stop();
  }

  std::uint64_t id_with_home(std::uint32_t server) {
    std::uint64_t id = 0;
    do {
      id = *parts_[0]->names.new_id();
    } while (authority_of(id, count()) != server);
    return id;
  }
  // A directory whose record and entries `server` has.
  std::uint64_t make_directory(std::uint64_t parent, std::string_view name, std::uint32_t server) {
    std::uint64_t id = id_with_home(server);
    REQUIRE(view().make_directory(parent, name, &id).ok());
    return id;
  }
  bool exists(std::uint64_t parent, std::string_view name) { return view().lookup(parent, name).ok(); }
  std::uint64_t id_of(std::uint64_t parent, std::string_view name) {
    const auto found = view().lookup(parent, name);
    return found.ok() ? found->id : 0;
  }

  // What the servers do for changes that nobody drives.
  Status upkeep() {
    Status outcome;
    std::vector<std::unique_ptr<ChangeUpkeep>> all;
    for (const auto& part : parts_) {
      (*part->hosted).clean_up();
      all.push_back(std::make_unique<ChangeUpkeep>(part->hosted.segment()));
    }
    for (int round = 0; round < 3; ++round) {
      for (const auto& one : all) outcome = one->run(services());
    }
    for (const auto& part : parts_) {
      REQUIRE(part->names.reap_limbo([&](const EntryInfo& info) {
        reaped_.insert(info.id);
        return Status();
      }).ok());
    }
    return outcome;
  }
  // Datasets whose data upkeep has dropped.
  const std::set<std::uint64_t>& reaped() const { return reaped_; }
  std::size_t open_changes() {
    std::size_t open = 0;
    for (const auto& part : parts_) open += part->names.open_changes()->size();
    return open;
  }

  // The whole namespace by path, "d/" for directories. REQUIREs that it is whole.
  std::map<std::string, EntryInfo> tree() {
    std::map<std::string, EntryInfo> all;
    std::set<std::uint64_t> directories{imss::metadata::kInstancesDirectory};
    std::set<std::uint64_t> links;
    visit(root_, "", &all, &directories, &links);
    std::set<std::uint64_t> stored;
    for (const auto& part : parts_) {
      imss::segment::Table table(*part->hosted, imss::segment::kDirectoryTable);
      REQUIRE(table.for_each([&](imss::segment::Key key, const imss::segment::Values&) {
        stored.insert(key.first);
        return true;
      }).ok());
    }
    // Directories that nobody can meet any more stay until the servers drop them.
    CHECK(std::ranges::includes(stored, directories));
    if (open_changes() == 0) CHECK(stored == directories);
    return all;
  }
  void require_sound() {
    CHECK(open_changes() == 0);
    for (const auto& part : parts_) part->hosted.require_sound();
  }

 private:
  void visit(std::uint64_t id, const std::string& path, std::map<std::string, EntryInfo>* all,
             std::set<std::uint64_t>* directories, std::set<std::uint64_t>* links) {
    INFO("directory " << path);
    REQUIRE(directories->insert(id).second);
    View names = view();
    auto entries = names.list(id);
    INFO(entries.status().message());
    REQUIRE(entries.ok());
    const auto info = names.directory(id);
    INFO(info.status().message());
    REQUIRE(info.ok());
    std::size_t below = 0;
    for (const EntryInfo& entry : *entries) {
      INFO("entry " << entry.name);
      CHECK(entry.parent == id);
      CHECK(links->insert(entry.link).second);
      const auto found = names.lookup(id, entry.name);
      REQUIRE(found.ok());
      CHECK(found->id == entry.id);
      const bool directory = entry.type == NodeType::kDirectory;
      REQUIRE(all->emplace(path + entry.name + (directory ? "/" : ""), entry).second);
      if (!directory) continue;
      ++below;
      const auto inside = names.directory(entry.id);
      REQUIRE(inside.ok());
      CHECK(inside->parent == id);
      visit(entry.id, path + entry.name + "/", all, directories, links);
    }
    CHECK(info->entries == entries->size());
    CHECK(info->subdirectories == below);
  }

  std::vector<std::unique_ptr<Part>> parts_;
  std::uint64_t root_ = 0;
  std::set<std::uint64_t> reaped_;
};

}  // namespace cross
