#include "store/reach.h"

#include "segment/table.h"
#include "store/inode.h"

namespace imss::store {

using segment::Key;
using segment::Ref;
using segment::Values;

Status visit_owned(segment::Segment& segment, const std::function<void(Ref owned)>& owns) {
  return segment::Table(segment, segment::kBlockTable).for_each([&](Key key, const Values& values) {
    const Ref ref = Ref(values.value0).bare();
    owns(ref);
    if (key.second != 0 || !segment.valid_ref(ref) || ref.bytes() < sizeof(Inode)) return true;
    const Ref extended = Ref(segment.at<Inode>(ref.offset())->extended.load()).bare();
    if (!extended.none()) owns(extended);
    return true;
  });
}

}  // namespace imss::store
