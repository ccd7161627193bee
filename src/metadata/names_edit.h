// Changing one or two names of the namespace in one transaction.
//
// A name's key is {parent, hash of the name}. Should two names of a directory have the same hash, the second one
// lives under a second key; from then on (kCollisions) both keys of a name are locked and looked at. A change over
// several servers also keeps a record of its own in the service table, in the same transaction; the chains of that
// table are locked after those of the names.
// Thread-owned.
#pragma once

#include "metadata/namespace_internal.h"
#include "segment/edit_one.h"
#include "segment/outcome.h"

namespace imss::metadata {

struct NameRef {
  std::uint64_t parent = 0;
  std::string_view name;
};

// Where the names are: the entry, or null and the key under which to insert.
struct NamePlaces {
  segment::Entry* entry[2] = {};
  segment::Key key[2];
  segment::Values values[2];
};

// Status::claimed() when a change over several servers holds the entry.
inline Status check_claim(const segment::Values& values) {
  return (values.value1 & kClaimedEntry) != 0 ? Status::claimed(values.value2) : Status();
}

inline Status place_name(segment::Segment& segment, segment::TableEdit& edit, const NameRef& name,
                         bool collisions, std::uint32_t index, NamePlaces* places) {
  segment::Word& flag = segment.super().service_root[kCollisions];
  bool first_taken = false;
  for (std::uint32_t salt = 0; salt < (collisions ? 2U : 1U); ++salt) {
    const segment::Key key = name_key(name.parent, name.name, salt);
    segment::Values values;
    segment::Entry* entry = edit.find(key, &values);
    if (entry != nullptr && entry_is(segment, segment::Ref(values.value0).bare(), name.name)) {
      places->entry[index] = entry;
      places->key[index] = key;
      places->values[index] = values;
      return {};
    }
    if (salt == 0) {
      first_taken = entry != nullptr;
      places->key[index] = key;
    } else if (first_taken) {
      if (entry != nullptr) return Status(Code::kNotSupported, "three names of one directory have the same hash");
      places->key[index] = key;
    }
  }
  if (first_taken && !collisions) {
    flag.store(1);  // before any name goes under its second key
    return Code::kFenced;
  }
  return {};
}

// `decide(change, edit, places)` as in edit_one.h; it sees claimed entries only if it asked for them. kFenced from
// place_name means: look again with both keys.
template <typename Decide>
Status Namespace::edit_names(segment::Participant& me, std::initializer_list<NameRef> names, Decide&& decide,
                             const EditOptions& options) {
  segment::Held spare;
  bool has_spare = false;
  segment::Word& flag = segment_->super().service_root[kCollisions];
  for (;;) {
    Status status;
    bool used = false;
    bool again = false;
    {
      segment::Transaction change(*segment_, me);
      segment::TableEdit edit(entries_, change);
      if (has_spare) edit.use_overflow(spare);
      if (options.lease != nullptr) status = change.lock(*options.lease);
      const bool collisions = flag.load() != 0;
      const NameRef* first = names.begin();
      const NameRef* last = names.end() - 1;
      if (!status.ok()) {
        // Nothing is locked, so there is nothing to look at.
      } else if (collisions) {
        status = edit.lock({name_key(first->parent, first->name, 0), name_key(first->parent, first->name, 1),
                            name_key(last->parent, last->name, 0), name_key(last->parent, last->name, 1)});
      } else {
        status = edit.lock({name_key(first->parent, first->name, 0), name_key(last->parent, last->name, 0)});
      }
      again = status.ok() && collisions != (flag.load() != 0);
      NamePlaces places;
      std::uint32_t index = 0;
      for (const NameRef& name : names) {
        if (!status.ok() || again) break;
        status = place_name(*segment_, edit, name, collisions, index, &places);
        again = !collisions && flag.load() != 0;
        if (status.ok() && !again && !options.claimed_too) status = check_claim(places.values[index]);
        ++index;
      }
      if (status.ok() && !again) status = decide(change, edit, places);
      if (status.ok() && !again) {
        edit.finish();
        status = change.commit();
      }
      used = edit.spare_used();
    }
    if (again) continue;
    if (status.code() == Code::kAgain && !has_spare) {
      IMSS_ASSIGN_OR_RETURN(spare, segment::TableEdit::provide_overflow(*segment_, me));
      has_spare = true;
      continue;
    }
    if (has_spare && !(status.ok() && used)) segment::Extents(*segment_).put_back(me, spare);
    IMSS_RETURN_IF_ERROR(status);
    entries_.grow_if_full(me);
    return {};
  }
}

// An overflow bucket for the service table's part of a change.
struct ServiceSpare {
  segment::Held held;
  bool has = false;
  bool used = false;
  bool wanted = false;
};

// The service table's part of a transaction over names or directories.
class ServiceEdit {
 public:
  ServiceEdit(segment::Table services, segment::Transaction& change, ServiceSpare& spare)
      : edit_(services, change), spare_(spare) {
    if (spare_.has) edit_.use_overflow(spare_.held);
  }
  Status lock(segment::Key key) { return edit_.lock({key}); }
  segment::Entry* find(segment::Key key, segment::Values* values) { return edit_.find(key, values); }
  // kRange: with_spare() provides an overflow bucket and tries again.
  Status insert(segment::Participant& me, segment::Key key, const segment::Values& values) {
    const Status status = edit_.insert(me, key, values);
    if (status.code() != Code::kAgain) return status;
    spare_.wanted = true;
    return Code::kRange;
  }
  void update(segment::Key key, segment::Entry* entry, const segment::Values& values) {
    edit_.update(key, entry, values);
  }
  void erase(segment::Key key, segment::Entry* entry) { edit_.erase(key, entry); }
  // REQUIRES: called once, after the last change.
  void finish() {
    edit_.finish();
    spare_.used = edit_.spare_used();
  }

 private:
  segment::TableEdit edit_;
  ServiceSpare& spare_;
};

// Calls `attempt(spare)` until it needs no further overflow bucket of the service table.
template <typename Attempt>
Status Namespace::with_spare(segment::Participant& me, Attempt&& attempt) {
  ServiceSpare spare;
  for (;;) {
    spare.used = spare.wanted = false;
    const Status status = attempt(spare);
    if (spare.wanted && !spare.has) {
      IMSS_ASSIGN_OR_RETURN(spare.held, segment::TableEdit::provide_overflow(*segment_, me));
      spare.has = true;
      continue;
    }
    if (spare.has && !(status.ok() && spare.used)) segment::Extents(*segment_).put_back(me, spare.held);
    if (status.ok()) services_.grow_if_full(me);
    return status;
  }
}

}  // namespace imss::metadata
