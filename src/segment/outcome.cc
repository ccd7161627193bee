#include "segment/outcome.h"

#include <sys/random.h>

#include <unordered_set>
#include <vector>

#include "segment/edit_one.h"
#include "segment/fault.h"

namespace imss::segment {
namespace {

constexpr std::uint32_t kCodeShift = 48;  // of the word {code, number}
// Under {client, this} is which record the client has.
constexpr std::uint64_t kRecordPlace = ~0ULL;

__attribute__((tls_model("initial-exec"))) thread_local RequestScope* current_scope = nullptr;

std::uint64_t number_of(const Values& values) { return values.value1 & ((1ULL << kCodeShift) - 1); }

Outcome outcome_of(const Values& values) {
  return {static_cast<Code>(values.value1 >> kCodeShift), values.value0, values.value2};
}

Status overtaken_error() {
  return Status(Code::kTimedOut, "the request was executed already or its client has given it up");
}

}  // namespace

RequestScope::RequestScope(Segment& segment, const RequestId& id) : segment_(segment), id_(id) {
  current_scope = this;
}

RequestScope::~RequestScope() { current_scope = nullptr; }

Status store_outcome(Transaction& change, const Outcome& outcome) {
  RequestScope* const scope = current_scope;
  if (scope == nullptr || !scope->id_.kept() || !change.is_in(scope->segment_)) return {};
  const RequestId& id = scope->id_;
  const Key key{id.record, id.place};
  TableEdit edit(Table(scope->segment_, kOutcomeTable), change);
  if (!edit.lock({key}).ok())
    return Status(Code::kTimedOut, "the outcomes of a client cannot be reached");
  Values values;
  Entry* const entry = edit.find(key, &values);
  // Without an entry the client is gone, and nothing would tell a second execution of this one.
  if (entry == nullptr || number_of(values) >= id.number) {
    scope->overtaken_ = true;
    return overtaken_error();
  }
  const auto code = static_cast<std::uint64_t>(outcome.code);
  edit.update(key, entry, {outcome.word0, code << kCodeShift | id.number, outcome.word1});
  edit.finish();
  return {};
}

Result<std::uint64_t> Outcomes::record_of(std::uint64_t client) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_.self());
  const Key key{client, kRecordPlace};
  for (;;) {
    Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(table_.find(key, &snapshot));
    if (snapshot.entry != nullptr) return snapshot.values.value0;
    std::uint64_t fresh = 0;
    if (::getrandom(&fresh, sizeof(fresh), 0) != sizeof(fresh) || fresh == 0) continue;
    const Status made = table_.put(*me, key, {fresh, 1, 0}, false);
    if (!made.ok() && made.code() != Code::kExists) return made;
  }
}

Result<bool> Outcomes::is_record_of(std::uint64_t client, std::uint64_t record) const {
  Snapshot snapshot;
  IMSS_RETURN_IF_ERROR(table_.find({client, kRecordPlace}, &snapshot));
  return snapshot.entry != nullptr && snapshot.values.value0 == record;
}

Result<std::optional<Outcome>> Outcomes::begin(const RequestId& id) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_.self());
  const Key key{id.record, id.place};
  for (;;) {
    Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(table_.find(key, &snapshot));
    if (snapshot.entry != nullptr) {
      const std::uint64_t stored = number_of(snapshot.values);
      if (stored > id.number) return overtaken_error();
      if (stored == id.number) return std::optional(outcome_of(snapshot.values));
      return std::optional<Outcome>();
    }
    const Status made = table_.put(*me, key, {0, 0, 0}, false);
    if (!made.ok() && made.code() != Code::kExists) return made;
  }
}

Status Outcomes::store(const Outcome& outcome) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_.self());
  Transaction change(segment_, *me);
  IMSS_RETURN_IF_ERROR(store_outcome(change, outcome));
  return change.commit();
}

// First what gives a client its record and then, if the client has not come back meanwhile, what is
// stored under it. Whoever hands a record out says first that the client lives and then looks
// whether it is still its record: either that sees the record gone, or this sees the client.
Status Outcomes::forget(const std::function<bool(std::uint64_t record)>& lives,
                        const std::function<void(std::uint64_t record)>& keep) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_.self());
  std::vector<Key> keys;
  std::vector<std::pair<Key, std::uint64_t>> records;
  IMSS_RETURN_IF_ERROR(table_.for_each([&](Key key, const Values& values) {
    if (key.second == kRecordPlace) {
      records.emplace_back(key, values.value0);
    } else {
      keys.push_back(key);
    }
    return true;
  }));
  std::unordered_set<std::uint64_t> kept;
  for (const auto& [key, record] : records) {
    if (lives(record)) {
      kept.insert(record);
      keep(record);
      continue;
    }
    const Status erased = table_.erase(*me, key);
    if (!erased.ok() && erased.code() != Code::kNotFound) return erased;
    fault_point("outcomes.record_forgotten");
  }
  for (const Key& key : keys) {
    if (kept.contains(key.first) || lives(key.first)) continue;
    const Status erased = table_.erase(*me, key);
    if (!erased.ok() && erased.code() != Code::kNotFound) return erased;
  }
  return {};
}

}  // namespace imss::segment
