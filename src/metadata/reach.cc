#include "metadata/reach.h"

#include "metadata/check_names.h"
#include "metadata/records.h"
#include "segment/table.h"

namespace imss::metadata {

using segment::Key;
using segment::Ref;
using segment::Values;

namespace {

bool of_change(Key key) { return key.second >= kIntentKind && key.second <= kMovedDirectoryKind; }

}  // namespace

Status visit(segment::Segment& segment, const segment::EngineFindings& findings) {
  for (const std::uint32_t table : {segment::kEntryTable, segment::kDirectoryTable, segment::kServiceTable,
                                    segment::kAttributeTable}) {
    IMSS_RETURN_IF_ERROR(segment::Table(segment, table).for_each([&](Key key, const Values& values) {
      // The record of a reservation belongs to the claim; intents and claims of directories have none.
      const bool of_claim = table == segment::kEntryTable && (values.value1 & kReservation) != 0;
      const bool none = table == segment::kServiceTable && of_change(key) && key.second != kNameClaimKind;
      if (!of_claim && !none) findings.owns(Ref(values.value0).bare());
      return true;
    }));
  }
  IMSS_RETURN_IF_ERROR(check_names(segment, findings.wrong));
  const auto& root = segment.super().service_root;
  const std::uint64_t ring = root[kRingOffset].load();
  if (ring == 0) return {};
  const std::uint64_t bytes = root[kRingPlaces].load() * sizeof(DirtyKey);
  if (bytes <= segment::kMaxExtentBytes) findings.owns(Ref(ring, segment::class_for(bytes), false));
  return {};
}

}  // namespace imss::metadata
