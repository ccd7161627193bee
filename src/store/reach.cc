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
  return segment::Table(segment, segment::kBlockTable).for_each([&](Key key, const Values& values) {
    const Ref ref = Ref(values.value0).bare();
    findings.owns(ref);
    if (key.second != 0 || !segment.valid_ref(ref) || ref.bytes() < sizeof(Inode)) return true;
    const Ref extended = Ref(segment.at<Inode>(ref.offset())->extended.load()).bare();
    if (!extended.none()) findings.owns(extended);
    return true;
  });
}

}  // namespace imss::store
