#include "server/leftover.h"

#include "base/text.h"
#include "segment/segment.h"
#include "segment/segment_files.h"

namespace imss::server {

Status remove_segment(const std::string& name) {
  auto segment = segment::Segment::open(name);
  if (segment.code() == Code::kNotFound) return {};
  if (!segment.ok()) return segment.status();
  if ((*segment)->probe(0) == segment::Segment::Liveness::kAlive) {
    return Status(Code::kBusy, concat("segment ", segment::path_of(name), " is still served"));
  }
  (*segment)->super().state.store(static_cast<std::uint64_t>(segment::State::kRetired));
  (*segment)->unlink_name();
  return {};
}

}  // namespace imss::server
