// One namespace over several metadata servers: each call goes to the server that is responsible for
// its directory, and what has parties on several is one change over them.
//
// A server is reached by its mapped segment or by messages; which one serves an index may change
// with the cluster map, which is fetched anew when somebody says that it has a newer epoch. Servers
// that do not answer are waited for within the deadline, as they are started again. A deployment of
// one server has no router. Concurrent; owned by a session.
//
// Invariant: a record that was prepared or removed at a server is only ever given back to that very
// server: what is kept of servers that were replaced lives as long as the router.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/thread_annotations.h"
#include "metadata/namespace.h"

namespace imss::client {

// A metadata server, and the same once more where its segment is mapped.
struct ReachedNames {
  std::shared_ptr<metadata::NameService> names;  // null: cannot be reached now
  std::shared_ptr<metadata::Namespace> local;
};

class NameRouter final : public metadata::NameService {
 public:
  struct Options {
    ReachedNames first;
    metadata::ClusterMap map;  // complete
    std::function<ReachedNames(const metadata::MapServer&)> reach;
    // The newest epoch that servers on other nodes have told of.
    std::function<std::uint64_t()> newest_epoch;
    bool patient = true;  // servers that are not there are waited for
  };
  explicit NameRouter(Options options);
  ~NameRouter() override;

  // As lookup() below; of a server that is mapped, the id may be known earlier than the rest.
  Result<metadata::EntryInfo> lookup(std::uint64_t parent, std::string_view name,
                                     const metadata::Namespace::IdKnown& id_known);
  // Whether the server that holds a name in the making is executed on by this process itself.
  bool is_mapped(const metadata::PendingEntry& pending) const;
  // Those that are mapped now.
  std::vector<std::shared_ptr<metadata::Namespace>> mapped();
  // By index; null: cannot be reached now. They live as long as the router.
  std::vector<metadata::NameService*> services() const;
  metadata::ClusterMap known_map();
  void lock_for_fork() IMSS_ACQUIRE(mutex_) { mutex_.lock(); }
  void unlock_after_fork() IMSS_RELEASE(mutex_) { mutex_.unlock(); }

  bool serving() const override;
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
  // --- inodes: the server that gave a dataset's id out keeps what its inode says, wherever its names are ---
  Status store_attributes(std::span<const metadata::InodeState> states) override;
  Result<metadata::InodeState> last_inode(std::uint64_t dataset) override;
  // --- parts of a change over several servers: each is asked of one server, not of all ---
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
  // One index. What it points to is in kept_.
  struct Seat {
    std::atomic<metadata::NameService*> names{nullptr};
    std::atomic<metadata::Namespace*> local{nullptr};
    // Grows before and after another server takes the index: what is read between two looks at the same even turn
    // belongs together.
    std::atomic<std::uint32_t> turn{0};
  };
  // A server to ask, as it was when the call began.
  struct Asked {
    metadata::NameService* names = nullptr;
    metadata::Namespace* local = nullptr;
    std::uint32_t turn = 0;
  };
  std::uint32_t authority(std::uint64_t directory) const;
  Asked asked(std::uint32_t index) const;
  template <typename Call>
  auto at(std::uint32_t index, Call&& call);
  template <typename Call>
  auto across(Call&& call);
  Status resolve(const Status& claimed, std::uint32_t index);
  bool try_again(const Status& status, Deadline deadline, int* pause_ms);
  void look_for_news();
  void refresh();
  void seat(const metadata::MapServer& server);

  const std::uint32_t count_;
  const bool patient_;
  const std::function<ReachedNames(const metadata::MapServer&)> reach_;
  const std::function<std::uint64_t()> newest_epoch_;
  const std::unique_ptr<Seat[]> seats_;
  std::atomic<std::uint64_t> epoch_;           // of map_
  std::atomic<std::uint32_t> refreshing_pid_{0};  // the process one thread of which fetches the map
  Mutex mutex_;
  metadata::ClusterMap map_ IMSS_GUARDED_BY(mutex_);
  std::vector<ReachedNames> kept_ IMSS_GUARDED_BY(mutex_);
};

}  // namespace imss::client
