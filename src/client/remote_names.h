// A metadata server on another node: every call is a request to it. Concurrent; any thread. Common
// errors: see metadata/name_service.h.
//
// A name that is prepared or removed is a record that the server keeps for the connection of the
// calling thread, so what becomes of it must be said by the same thread. Its number stands where a
// local record has its place.
#pragma once

#include "metadata/name_service.h"
#include "net/remote_server.h"

#include "base/thread_annotations.h"

namespace imss::client {

class RemoteNames final : public metadata::NameService {
 public:
  // `nonce`: of the server's segment.
  RemoteNames(std::shared_ptr<net::Peers> peers, const std::string& host, std::uint16_t port,
              std::uint64_t nonce)
      : server_(std::move(peers), host, port, nonce) {}

  bool serving() const override { return server_.answers(); }
  Result<std::uint64_t> new_id() override;
  // --- names ---
  Result<metadata::EntryInfo> lookup(std::uint64_t parent, std::string_view name) override;
  Result<metadata::PendingEntry> prepare(const metadata::EntryInfo& info) override;
  Status publish(metadata::PendingEntry& pending) override;
  void abandon(metadata::PendingEntry& pending) override;
  Status make_directory(std::uint64_t parent, std::string_view name,
                        const metadata::Permissions& permissions, std::uint64_t* id = nullptr) override;
  Result<metadata::RemovedEntry> remove(std::uint64_t parent, std::string_view name) override;
  void forget(metadata::RemovedEntry& removed) override;
  void leave_to_reaper(const metadata::RemovedEntry& removed) override;
  Status remove_directory(std::uint64_t parent, std::string_view name) override;
  Result<metadata::RenameResult> rename(std::uint64_t from_parent, std::string_view from_name,
                                        std::uint64_t to_parent, std::string_view to_name,
                                        bool no_replace = false) override;
  Status exchange(std::uint64_t from_parent, std::string_view from_name, std::uint64_t to_parent,
                  std::string_view to_name) override;
  // --- directories ---
  Result<metadata::DirectoryInfo> directory(std::uint64_t id) override;
  Status change_directory(std::uint64_t id, const store::AttributeChange& change) override;
  Result<store::XattrValue> directory_xattr(std::uint64_t id, std::string_view name) override;
  Status change_directory_xattr(std::uint64_t id, const store::XattrChange& change) override;
  Result<bool> list(std::uint64_t directory, std::uint64_t cookie, std::size_t limit,
                    std::vector<metadata::EntryInfo>* out) override;
  // --- inodes ---
  Status store_attributes(std::span<const metadata::InodeState> states) override;
  Result<metadata::InodeState> last_inode(std::uint64_t dataset) override;
  // --- parts of a change over several servers ---
  Result<std::uint64_t> begin_change() override;
  Result<metadata::ClaimedName> claim_name(const metadata::NameClaim& claim) override;
  Status claim_directory(const metadata::DirectoryClaim& claim) override;
  Status decide_change(const metadata::Decision& decision) override;
  Result<metadata::ChangeOutcome> change_outcome(std::uint64_t change, bool give_up) override;
  Result<metadata::RenameResult> finish_change(std::uint64_t change, bool committed) override;
  Status forget_change(std::uint64_t change) override;
  // --- instances and servers ---
  Status create_instance(const metadata::InstanceInfo& info,
                         const metadata::Permissions& root = {}) override;
  Result<metadata::InstanceInfo> instance(std::string_view name) override;
  Result<std::vector<metadata::InstanceInfo>> instances() override;
  Result<metadata::InstanceInfo> leave_instance(std::string_view name,
                                                std::uint32_t server_id) override;
  Status remove_instance(std::string_view name) override;
  Result<std::uint32_t> join_server(metadata::ServerInfo info) override;
  Status leave_server(std::uint32_t id) override;
  Result<std::vector<metadata::ServerInfo>> servers() override;
  // --- the cluster map ---
  Result<metadata::ClusterMap> map() override;
  Result<std::uint64_t> join_map(const metadata::MapServer& server, std::uint32_t count) override;

 private:
  net::RemoteServer server_;
  Mutex ids_mutex_;
  std::uint64_t next_id_ IMSS_GUARDED_BY(ids_mutex_) = 0;
  std::uint64_t ids_left_ IMSS_GUARDED_BY(ids_mutex_) = 0;
};

}  // namespace imss::client
