#include "store/reach.h"

#include "segment/table.h"
#include "store/inode.h"

namespace imss::store {

using segment::Key;
using segment::Ref;
using segment::Values;

Status visit(segment::Segment& segment, const segment::EngineFindings& findings) {
  const auto& root = segment.super().service_root;
  const std::uint64_t ring = root[kDirtyRing].load();
  const std::uint64_t ring_bytes = root[kDirtyPlaces].load() * sizeof(DirtyInode);
  if (ring != 0 && ring_bytes <= segment::kMaxExtentBytes) findings.owns(Ref(ring, segment::class_for(ring_bytes), false));
  return segment::Table(segment, segment::kBlockTable).for_each([&](Key, const Values& values) {
    findings.owns(Ref(values.value0).bare());
    return true;
  });
}

}  // namespace imss::store
