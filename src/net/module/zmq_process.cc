#include "net/module/zmq_process.h"

#include <pthread.h>
#include <unistd.h>
#include <zmq.h>

#include <array>
#include <atomic>

namespace imss::net {
namespace {

constexpr int kNoFd = -1;

// Mutable globals, because fork handlers take no argument. Atomic and without a lock, because a
// fork can happen between any two instructions of another thread.
std::atomic<void*> shared_context{nullptr};
std::atomic<int> generation{0};
// Descriptors plus one, so that zeros are free places.
std::array<std::atomic<int>, kMaxClosedInChild> closed_in_child{};

void enter_fork_child() {
  shared_context.store(nullptr,
                       std::memory_order_relaxed);  // the parent's; it is leaked on purpose
  generation.fetch_add(1, std::memory_order_relaxed);
  for (std::atomic<int>& place : closed_in_child) {
    const int fd = place.exchange(0, std::memory_order_relaxed) - 1;
    if (fd != kNoFd) close(fd);
  }
}

[[maybe_unused]] const int fork_handler_result = pthread_atfork(nullptr, nullptr, enter_fork_child);

}  // namespace

void* shared_zmq_context() {
  void* context = shared_context.load(std::memory_order_acquire);
  if (context != nullptr) return context;
  void* fresh = zmq_ctx_new();
  if (fresh == nullptr) return nullptr;
  // A process may have many clients with a socket per server each.
  zmq_ctx_set(fresh, ZMQ_MAX_SOCKETS, zmq_ctx_get(fresh, ZMQ_SOCKET_LIMIT));
  // Publishes the context; pairs with the acquire above and with the failing exchange of the loser.
  if (shared_context.compare_exchange_strong(context, fresh, std::memory_order_acq_rel))
    return fresh;
  zmq_ctx_term(fresh);
  return context;
}

int fork_generation() { return generation.load(std::memory_order_relaxed); }

void close_in_fork_child(int fd) {
  for (std::atomic<int>& place : closed_in_child) {
    int free_place = 0;
    if (place.compare_exchange_strong(free_place, fd + 1, std::memory_order_relaxed)) return;
  }
}

void keep_in_fork_child(int fd) {
  for (std::atomic<int>& place : closed_in_child) {
    int noted = fd + 1;
    if (place.compare_exchange_strong(noted, 0, std::memory_order_relaxed)) return;
  }
}

}  // namespace imss::net
