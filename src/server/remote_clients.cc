#include "server/remote_clients.h"

#include <sys/random.h>

#include "base/clock.h"

namespace imss::server {

RemoteClients::RemoteClients() : RemoteClients(Times(), [] { return monotonic_ns(); }) {}

RemoteClients::RemoteClients(const Times& times, std::function<std::int64_t()> now_ns)
    : times_(times), now_ns_(std::move(now_ns)), started_ns_(now_ns_()) {}

std::uint64_t RemoteClients::add(std::uint64_t client, bool reads_only) {
  const MutexLock lock(mutex_);
  if (client == 0 || sessions_.size() >= times_.most_clients) return 0;
  for (;;) {
    std::uint64_t token = 0;
    if (::getrandom(&token, sizeof(token), 0) != sizeof(token) || token == 0) continue;
    if (!sessions_.try_emplace(token, Session{client, now_ns_(), 0, reads_only}).second) continue;
    ++tokens_of_[client];
    return token;
  }
}

void RemoteClients::drop(std::uint64_t token) {
  const MutexLock lock(mutex_);
  const auto session = sessions_.find(token);
  if (session == sessions_.end()) return;
  if (--tokens_of_[session->second.client] == 0) tokens_of_.erase(session->second.client);
  sessions_.erase(session);
  ++changes_;
}

std::uint64_t RemoteClients::client_of(std::uint64_t token) {
  const MutexLock lock(mutex_);
  const auto session = sessions_.find(token);
  return session == sessions_.end() ? 0 : session->second.client;
}

bool RemoteClients::reads_only(std::uint64_t token) {
  const MutexLock lock(mutex_);
  const auto session = sessions_.find(token);
  return session == sessions_.end() || session->second.reads_only;
}

bool RemoteClients::touch(std::uint64_t token) {
  const MutexLock lock(mutex_);
  const auto session = sessions_.find(token);
  if (session == sessions_.end()) return false;
  session->second.heard_ns = now_ns_();
  return true;
}

void RemoteClients::connected(std::uint64_t token) {
  const MutexLock lock(mutex_);
  if (const auto session = sessions_.find(token); session != sessions_.end())
    ++session->second.connections;
}

void RemoteClients::disconnected(std::uint64_t token) {
  const MutexLock lock(mutex_);
  const auto session = sessions_.find(token);
  if (session != sessions_.end() && session->second.connections > 0) --session->second.connections;
}

void RemoteClients::expire() {
  const MutexLock lock(mutex_);
  const std::int64_t now = now_ns_();
  for (auto item = sessions_.begin(); item != sessions_.end();) {
    const Session& session = item->second;
    const std::int64_t limit_ms = session.connections > 0 ? times_.lease_ms : times_.lost_ms;
    if (now - session.heard_ns < limit_ms * 1'000'000) {
      ++item;
      continue;
    }
    if (--tokens_of_[session.client] == 0) tokens_of_.erase(session.client);
    ++changes_;
    item = sessions_.erase(item);
  }
  if (in_grace_ && now - started_ns_ >= times_.grace_ms * 1'000'000) {
    in_grace_ = false;
    ++changes_;
  }
}

bool RemoteClients::lives(std::uint64_t client) {
  const MutexLock lock(mutex_);
  return in_grace_ || tokens_of_.contains(client);
}

std::uint64_t RemoteClients::changes() {
  const MutexLock lock(mutex_);
  return changes_;
}

std::size_t RemoteClients::count() {
  const MutexLock lock(mutex_);
  return sessions_.size();
}

}  // namespace imss::server
