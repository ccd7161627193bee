#include "metadata/reach.h"

#include "metadata/records.h"
#include "segment/table.h"

namespace imss::metadata {

using segment::Key;
using segment::Ref;
using segment::Values;

Status visit_owned(segment::Segment& segment, const std::function<void(Ref owned)>& owns) {
  for (const std::uint32_t table :
       {segment::kEntryTable, segment::kDirectoryTable, segment::kServiceTable}) {
    IMSS_RETURN_IF_ERROR(segment::Table(segment, table).for_each([&](Key, const Values& values) {
      owns(Ref(values.value0).bare());
      return true;
    }));
  }
  const auto& root = segment.super().service_root;
  const std::uint64_t ring = root[kRingOffset].load();
  if (ring == 0) return {};
  const std::uint64_t bytes = root[kRingPlaces].load() * sizeof(DirtyKey);
  if (bytes <= segment::kMaxExtentBytes) owns(Ref(ring, segment::class_for(bytes), false));
  return {};
}

}  // namespace imss::metadata
