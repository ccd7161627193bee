// What changes of clients on other nodes came to, kept with their effect.
//
// A client sends a change again when its answer was lost. It uses a place for one change at a time,
// and numbers those of a place upwards. The outcome table has an entry for {record of the client,
// place}: the number of the last change of that place that had an effect, and its result, stored by
// the transaction that is the effect. So both are there or neither, whoever dies when, and a change
// whose number is there already is answered from there and not executed.
//
// Invariant: of two executions of one change at most one commits, also when they run at the same
// time; a change whose place has gone on to a higher number never does. A record's number is given
// to one client and never again, so what is stored under it goes when that client is gone. Outcomes
// is concurrent; a RequestScope belongs to its thread.
#pragma once

#include <functional>
#include <optional>

#include "base/result.h"
#include "segment/segment.h"
#include "segment/table.h"
#include "segment/transaction.h"

namespace imss::segment {

// A change of a client on another node. `number` 0: it will not be repeated, and its outcome is not
// kept.
struct RequestId {
  std::uint64_t record = 0;  // of the client
  std::uint64_t place = 0;
  std::uint64_t number = 0;  // below 2^48
  bool kept() const { return number != 0; }
};

struct Outcome {
  Code code = Code::kOk;  // an error is stored only to end a change that may still be on its way
  std::uint64_t word0 = 0;
  std::uint64_t word1 = 0;
};

// While this lives, store_outcome() on this thread is about this request.
class RequestScope {
 public:
  RequestScope(Segment& segment, const RequestId& id);
  ~RequestScope();
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;
  // Whether the effect was held back because the outcome is there already, or the place has gone
  // on.
  bool overtaken() const { return overtaken_; }

 private:
  friend Status store_outcome(Transaction& change, const Outcome& outcome);
  Segment& segment_;
  const RequestId id_;
  bool overtaken_ = false;
};

// Adds the outcome of this thread's request to the transaction that is its effect; without one it
// does nothing. To be called once per transaction, after all its other locks but those of pools.
// Errors: kTimedOut, also when the request was executed already (RequestScope::overtaken); then the
// transaction must not be committed.
Status store_outcome(Transaction& change, const Outcome& outcome);

class Outcomes {
 public:
  explicit Outcomes(Segment& segment) : segment_(segment), table_(segment, kOutcomeTable) {}

  // The record of a client, which calls itself by a random number; made when there is none.
  Result<std::uint64_t> record_of(std::uint64_t client);
  // Whether that is still its record.
  Result<bool> is_record_of(std::uint64_t client, std::uint64_t record) const;
  // The outcome of the request, if it has one; otherwise makes the entry for it. Errors: kTimedOut
  // when its place has gone on, kNoSpace.
  Result<std::optional<Outcome>> begin(const RequestId& id);
  // Stores the outcome of this thread's request in a transaction of its own.
  Status store(const Outcome& outcome);
  // Forgets the records of clients that are gone, and calls `keep` with those that stay.
  Status forget(const std::function<bool(std::uint64_t record)>& lives,
                const std::function<void(std::uint64_t record)>& keep);

 private:
  Segment& segment_;
  Table table_;
};

}  // namespace imss::segment
