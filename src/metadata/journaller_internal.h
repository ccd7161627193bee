// Shared by the files of the journaller: the namespace as the metadata file tells it. Thread-owned.
#pragma once

#include <map>
#include <unordered_map>

#include "base/result.h"
#include "metadata/journaller.h"
#include "metadata/state_records.h"

namespace imss::metadata {

struct KeyOrder {
  bool operator()(const segment::Key& a, const segment::Key& b) const {
    return a.first != b.first ? a.first < b.first : a.second < b.second;
  }
};

// The namespace as the file tells it.
struct Journaller::Remembered {
  std::map<segment::Key, EntryInfo, KeyOrder> names;
  std::unordered_map<std::uint64_t, segment::Key> key_of_link;
  std::map<segment::Key, InstanceInfo, KeyOrder> instances;
  std::unordered_map<std::uint64_t, InodeState> inodes;  // by dataset, also of those without a name
  std::unordered_map<std::uint64_t, DirectoryInfo> directories;
  std::unordered_map<std::uint64_t, DirectoryXattrs> xattrs;
  PlaceState place_state;
  std::map<std::uint64_t, ParentState> parents;  // of the directories of a part
  std::map<segment::Key, ChangeState, KeyOrder> changes;

  Status apply(std::uint16_t kind, std::span<const std::byte> payload) {
    switch (kind) {
      case kNameState: {
        IMSS_ASSIGN_OR_RETURN(NameState state, decode_name(payload));
        // A renamed entry leaves its old key, also when the file ends before saying so.
        const auto old = key_of_link.find(state.info.link);
        if (old != key_of_link.end() && !(old->second == state.key)) {
          const auto place = names.find(old->second);
          if (place != names.end() && place->second.link == state.info.link) names.erase(place);
        }
        key_of_link[state.info.link] = state.key;
        names[state.key] = std::move(state.info);
        return {};
      }
      case kNameGone: {
        IMSS_ASSIGN_OR_RETURN(const segment::Key key, decode_key(payload));
        names.erase(key);
        return {};
      }
      case kInstanceState: {
        IMSS_ASSIGN_OR_RETURN(InstanceInfo info, decode_instance(payload));
        const segment::Key key{info.root, kInstanceKind};
        instances[key] = std::move(info);
        return {};
      }
      case kInstanceGone: {
        IMSS_ASSIGN_OR_RETURN(const segment::Key key, decode_key(payload));
        instances.erase(key);
        return {};
      }
      case kInodeState: {
        IMSS_ASSIGN_OR_RETURN(InodeState state, decode_inode(payload));
        inodes[state.dataset] = std::move(state);
        return {};
      }
      case kDirectoryState: {
        IMSS_ASSIGN_OR_RETURN(const DirectoryInfo info, decode_directory(payload));
        directories[info.id] = info;
        return {};
      }
      case kDirectoryXattrs: {
        IMSS_ASSIGN_OR_RETURN(DirectoryXattrs said, decode_xattrs(payload));
        xattrs[said.directory] = std::move(said);
        return {};
      }
      default:
        return apply_of_part(kind, payload);
    }
  }

  // What only one of several servers writes, but for its place.
  Status apply_of_part(std::uint16_t kind, std::span<const std::byte> payload) {
    switch (kind) {
      case kParentState: {
        IMSS_ASSIGN_OR_RETURN(const ParentState state, decode_parent(payload));
        parents[state.directory] = state;
        return {};
      }
      case kDirectoryGone: {
        IMSS_ASSIGN_OR_RETURN(const segment::Key key, decode_key(payload));
        parents.erase(key.first);
        directories.erase(key.first);
        xattrs.erase(key.first);
        return {};
      }
      case kInodeGone: {
        IMSS_ASSIGN_OR_RETURN(const segment::Key key, decode_key(payload));
        inodes.erase(key.first);
        return {};
      }
      case kChangeState: {
        IMSS_ASSIGN_OR_RETURN(ChangeState state, decode_change(payload));
        const segment::Key key{state.change, state.kind};
        changes[key] = std::move(state);
        return {};
      }
      case kChangeGone: {
        IMSS_ASSIGN_OR_RETURN(const segment::Key key, decode_key(payload));
        changes.erase(key);
        return {};
      }
      case kPlaceState: {
        IMSS_ASSIGN_OR_RETURN(place_state, decode_place(payload));
        return {};
      }
      default:
        return Status(Code::kCorrupt, "the metadata file holds a record of an unknown kind");
    }
  }
};

}  // namespace imss::metadata
