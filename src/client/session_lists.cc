// Lists of blocks: everything for servers on other nodes is sent before the local part is executed,
// and waited for at the end.
#include <algorithm>
#include <deque>

#include "client/remote_store.h"
#include "client/session.h"
#include "segment/segment.h"

namespace imss::client {
namespace {

// Requests under way at once; beyond that the oldest is waited for.
constexpr std::size_t kMostUnderWay = 32;

// Requests for items of a list, finished in the order in which they were begun.
template <typename Item>
class UnderWay {
 public:
  using Finish = Status (RemoteStore::*)(RemoteStore::Request&);
  explicit UnderWay(Finish finish)
      : finish_(finish), deadline_(Deadline::from_now(segment::deadline_ms())) {}
  ~UnderWay() { finish_all(); }

  template <typename Begin>
  void add(RemoteStore& server, Item& item, Begin&& begin) {
    if (requests_.size() == kMostUnderWay) finish_oldest();
    Entry& entry = requests_.emplace_back(server, item, deadline_);
    begin(server, entry.request);
  }
  void finish_all() {
    while (!requests_.empty()) finish_oldest();
  }

 private:
  struct Entry {
    Entry(RemoteStore& store, Item& of, Deadline deadline)
        : server(store), item(of), request(deadline) {}
    RemoteStore& server;
    Item& item;
    RemoteStore::Request request;
  };
  void finish_oldest() {
    Entry& oldest = requests_.front();
    oldest.item.status = (oldest.server.*finish_)(oldest.request);
    requests_.pop_front();
  }

  const Finish finish_;
  const Deadline deadline_;
  std::deque<Entry> requests_;
};

template <typename Item>
Status first_failure(std::span<Item> list) {
  const auto failed =
      std::ranges::find_if(list, [](const Item& item) { return !item.status.ok(); });
  return failed == list.end() ? Status() : failed->status;
}

}  // namespace

// The server on another node that has the first copy of the block; null when it is here or cannot
// be told.
RemoteStore* Session::elsewhere(const Dataset& dataset, std::uint64_t block, bool writing) {
  Status status;
  std::uint32_t positions[3];
  if (block < 1 || block >= kLocationBit) return nullptr;
  if (replicas_of(dataset, block, writing, positions, &status) == 0 || !status.ok()) return nullptr;
  RemoteStore* const server = dataset.instance->remote[positions[0]];
  return server != nullptr && server->serving() ? server : nullptr;
}

Status Session::get_list(Dataset& dataset, std::span<BlockRange> list) {
  const std::uint64_t block_bytes = dataset.layout.block_bytes;
  const std::uint64_t last =
      dataset.layout.block_count == 0 ? kLocationBit - 1 : dataset.layout.block_count;
  UnderWay<BlockRange> under_way(&RemoteStore::finish_get);
  std::vector<BlockRange*> one_by_one;
  for (BlockRange& item : list) {
    const bool sound = item.block <= last && item.offset <= block_bytes &&
                       item.out.size() <= block_bytes - item.offset;
    RemoteStore* const server =
        sound && !item.out.empty() ? elsewhere(dataset, item.block, false) : nullptr;
    if (server == nullptr) {
      one_by_one.push_back(&item);
      continue;
    }
    under_way.add(*server, item, [&](RemoteStore& store, RemoteStore::Request& request) {
      store.begin_get(request, {dataset.id, item.block}, item.offset, item.out);
    });
  }
  for (BlockRange* const item : one_by_one)
    item->status = get(dataset, item->block, item->offset, item->out);
  under_way.finish_all();
  // Changed on its way, or perhaps another copy can be had.
  for (BlockRange& item : list) {
    const bool other_copy = item.status.code() == Code::kIo && dataset.layout.replicas > 1;
    if (other_copy || item.status.code() == Code::kAgain)
      item.status = get(dataset, item.block, item.offset, item.out);
  }
  return first_failure(list);
}

Status Session::put_list(Dataset& dataset, std::span<BlockContent> list) {
  // What has copies, or a size that grows, takes more than one step for each block.
  const bool one_step = dataset.layout.block_count != 0 && dataset.layout.replicas == 1;
  UnderWay<BlockContent> under_way(&RemoteStore::finish_put);
  std::vector<BlockContent*> one_by_one;
  for (BlockContent& item : list) {
    const bool sound = one_step && item.block <= dataset.layout.block_count &&
                       !item.content.empty() && item.content.size() <= dataset.layout.block_bytes;
    RemoteStore* const server = sound ? elsewhere(dataset, item.block, true) : nullptr;
    if (server == nullptr) {
      one_by_one.push_back(&item);
      continue;
    }
    dataset.wrote.store(true, std::memory_order_relaxed);
    under_way.add(*server, item, [&](RemoteStore& store, RemoteStore::Request& request) {
      store.begin_put(request, {dataset.id, item.block}, item.content, {});
    });
  }
  for (BlockContent* const item : one_by_one)
    item->status = put(dataset, item->block, item->content);
  under_way.finish_all();
  return first_failure(list);
}

}  // namespace imss::client
