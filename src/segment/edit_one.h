// Changing one entry of a table as a transaction, with overflow buckets provided when needed.
//
// Thread-owned. `decide(change, edit, entry, values)` runs under the chain's lock, with `entry` null when the key
// is absent; it calls edit.insert/update/erase and may add stores and locks. It may run more than once, so it must
// not have effects of its own. Whatever error it returns is passed on, and then nothing was applied.
#pragma once

#include "segment/table.h"

namespace imss::segment {

template <typename Decide>
Status edit_one(Table& table, Participant& me, Key key, Decide&& decide) {
  Segment& segment = table.segment();
  Held spare;
  bool has_spare = false;
  for (;;) {
    bool inserted = false;
    bool used = false;
    Status status;
    {
      Transaction change(segment, me);
      TableEdit edit(table, change);
      if (has_spare) edit.use_overflow(spare);
      status = edit.lock({key});
      if (status.ok()) {
        Values values;
        Entry* entry = edit.find(key, &values);
        inserted = entry == nullptr;
        status = decide(change, edit, entry, values);
      }
      if (status.ok()) {
        edit.finish();
        status = change.commit();
      }
      used = edit.spare_used();
    }
    if (status.code() == Code::kAgain && !has_spare) {
      IMSS_ASSIGN_OR_RETURN(spare, TableEdit::provide_overflow(segment, me));
      has_spare = true;
      continue;
    }
    if (has_spare && !(status.ok() && used)) Extents(segment).put_back(me, spare);
    IMSS_RETURN_IF_ERROR(status);
    if (inserted) table.grow_if_full(me);
    return {};
  }
}

}  // namespace imss::segment
