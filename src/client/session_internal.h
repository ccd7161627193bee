// Shared by the files of the session that deal with names: sentences of errors, and short texts of a dataset.
// Stateless; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "client/session.h"

namespace imss::client {

inline Status gone(const Uri& uri) { return Status(Code::kNotFound, "there is no " + format_uri(uri)); }

inline Status with_uri(const Status& status, const Uri& uri) {
  if (status.ok() || status.code() == Code::kTimedOut) return status;
  return Status(status.code(), format_uri(uri) + ": " + status.message());
}

// The answer to who would open what is no dataset.
inline Status no_dataset(metadata::NodeType type, const Uri& uri) {
  if (!store::is_special(type)) return with_uri(Code::kIsDirectory, uri);
  return Status::from_errno(ENXIO, format_uri(uri) + " has no data: it is a fifo, a socket or a device");
}

// Does once more what ends with kBadHandle, until the deadline: the metadata server has lost a name in the making, and
// nothing is left of it.
template <typename Outcome, typename Make>
Outcome again_while_lost(Make&& make) {
  const Deadline deadline = Deadline::from_now(segment::deadline_ms());
  for (;;) {
    Outcome made = make();
    if (made.code() != Code::kBadHandle) return made;
    if (deadline.expired()) return Status(Code::kIo, "the metadata server lost the name while it was made");
  }
}

// Whether the server is gone, or another one is in its place.
inline bool unreachable(const Status& status) { return status.code() == Code::kIo || status.code() == Code::kFenced; }

inline Status out_of_reach(const Dataset& dataset, std::uint32_t position) {
  const auto& server = dataset.instance->servers[position];
  return Status(Code::kIo, "data server " + std::to_string(position) + " (" +
                               (server.host.empty() ? "unknown" : server.host) + ") of " +
                               format_uri(dataset.uri) + " is gone");
}

// What is to be removed has stayed in part.
inline Status out_of_reach() {
  return Status(Code::kIo, "a data server that may come back is out of reach; what it has is removed later");
}

// Whether a change that ended like this may have happened, or happen yet.
inline bool may_be_applied(const Status& status) {
  return status.code() == Code::kUnknownOutcome || status.code() == Code::kTimedOut;
}

// A text of up to kMaxUriBytes that a dataset has on its home server: the URI it was created with, or, of a symbolic
// link, the target.
Status write_text(store::DataService& home, std::uint64_t dataset, std::string_view text);
// Errors: kNotFound without a text.
Result<std::string> read_text(store::DataService& home, std::uint64_t dataset);

}  // namespace imss::client
