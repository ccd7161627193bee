// What is done by entries, for callers that have just looked them up.
#include "posix/file_system.h"

namespace imss::posix {

using metadata::NodeType;

Result<struct stat> FileSystem::lookup_once(InodeNumber parent, std::string_view name) {
  auto status = lookup(parent, name);
  if (status.ok()) forget(status->st_ino, 1);
  return status;
}

Result<std::string> FileSystem::target_of(const EntryInfo& entry) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance_));
  return session_.target_of(entry, *servers);
}

Status FileSystem::link_entry(const EntryInfo& entry, InodeNumber parent, std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(const Place where, place(parent, name));
  return session_.link_at(entry, where);
}

Result<struct stat> FileSystem::change_entry(const EntryInfo& entry, const AttributeChange& change) {
  remember(entry);
  auto status = set_attributes(entry.id, change);
  forget(entry.id, 1);
  return status;
}

Status FileSystem::change_directory(InodeNumber number, const AttributeChange& change) {
  EntryInfo directory;
  directory.id = number;
  directory.type = NodeType::kDirectory;
  return change_entry(directory, change).status();
}

}  // namespace imss::posix
