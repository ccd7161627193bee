// The C interface: zero-copy views and asynchronous operations.
#include <cerrno>
#include <memory>
#include <utility>

#include <imss/imss.h>
#include "base/clock.h"
#include "base/text.h"
#include "client/c_api_arguments.h"
#include "client/c_api_data.h"
#include "client/c_api_error.h"
#include "client/c_api_state.h"
#include "segment/segment.h"

using namespace imss;                 // NOLINT: this file defines the functions of imss.h
using namespace imss::client;         // NOLINT
using namespace imss::client::c_api;  // NOLINT

namespace {

// Runs the body with the dataset of an id, as a call on that dataset.
template <typename Body>
Status on_dataset(std::int32_t id, Body&& body) {
  State& state = State::get();
  const Calls::Scope scope(state.calls, mark_of_dataset(id));
  Session* const session = state.session();
  if (session == nullptr)
    return Status(Code::kBadHandle, concat("dataset id ", std::to_string(id), " is not open"));
  IMSS_ASSIGN_OR_RETURN(Dataset* const dataset, session->find(id));
  return body(*session, *dataset);
}

Status take_view(Session& session, Dataset& dataset, std::int32_t block, imss_block_view* view) {
  if (view == nullptr) return null_argument("the view");
  if (block < 1) return Status(Code::kInvalidArgument, "data blocks are numbered from 1 on");
  IMSS_ASSIGN_OR_RETURN(store::View taken,
                        session.view(dataset, static_cast<std::uint64_t>(block)));
  imss_block_view filled{};
  filled.data = taken.bytes.data();
  filled.size = taken.bytes.size();
  filled.version = taken.version;
  try {
    filled.opaque[0] = State::get().views.add(taken, dataset.instance);
  } catch (...) {
    store::release(taken);
    throw;
  }
  *view = filled;
  return {};
}

// A request is a ticket that looks like a pointer.
imss_request* request_of(Ticket ticket) { return reinterpret_cast<imss_request*>(ticket); }
Ticket ticket_of(const imss_request* request) { return reinterpret_cast<Ticket>(request); }
static_assert(sizeof(Ticket) == sizeof(imss_request*));

// Starts an operation on the dataset. It keeps the dataset, because a release takes the id away
// before it waits. REQUIRES: the caller is a call on the dataset, so that a release that begins now
// finds the request.
template <typename Operation>
Status start(Session& session, std::int32_t id, Operation operation, imss_request** request) {
  IMSS_ASSIGN_OR_RETURN(std::shared_ptr<Dataset> dataset, session.dataset(id));
  RequestWork work;
  work.dataset = id;
  work.deadline = Deadline::from_now(segment::deadline_ms());
  work.run = [id, operation, dataset = std::move(dataset)]() -> Status {
    State& state = State::get();
    const Calls::Scope scope(state.calls, mark_of_dataset(id));
    Session* const connected = state.session();
    if (connected == nullptr) return Status(Code::kBadHandle, "the connection ended");
    return operation(*connected, *dataset);
  };
  IMSS_ASSIGN_OR_RETURN(const Ticket ticket, State::get().requests().start(std::move(work)));
  *request = request_of(ticket);
  return {};
}

Status not_a_request() {
  return Status(Code::kInvalidArgument, "this is no request; it may have been completed already");
}

}  // namespace

extern "C" {

int32_t imss_view(int32_t id, int32_t block, imss_block_view* view) {
  return call([&] {
    return on_dataset(id, [&](Session& session, Dataset& dataset) {
      return take_view(session, dataset, block, view);
    });
  });
}

int32_t imss_view_release(imss_block_view* view) {
  return call([&]() -> Status {
    if (view == nullptr) return null_argument("the view");
    IMSS_RETURN_IF_ERROR(State::get().views.release(view->opaque[0]));
    *view = imss_block_view{};
    return {};
  });
}

imss_request* iget_data(int32_t id, int32_t block, void* buffer) {
  return call([&]() -> Result<imss_request*> {
    imss_request* request = nullptr;
    IMSS_RETURN_IF_ERROR(on_dataset(id, [&](Session& session, Dataset& dataset) -> Status {
      IMSS_RETURN_IF_ERROR(check_get(dataset, block, buffer));
      const auto get = [=](Session& connected, Dataset& kept) {
        return get_block(connected, kept, block, buffer);
      };
      return start(session, id, get, &request);
    }));
    return request;
  });
}

imss_request* iset_data(int32_t id, int32_t block, const void* buffer, size_t size, off_t offset) {
  return call([&]() -> Result<imss_request*> {
    imss_request* request = nullptr;
    IMSS_RETURN_IF_ERROR(on_dataset(id, [&](Session& session, Dataset& dataset) -> Status {
      IMSS_RETURN_IF_ERROR(check_set(dataset, block, buffer, size, offset));
      const auto set = [=](Session& connected, Dataset& kept) {
        return set_block_or_range(connected, kept, block, buffer, size, offset);
      };
      return start(session, id, set, &request);
    }));
    return request;
  });
}

int32_t imss_wait(imss_request** request) {
  return call([&]() -> Status {
    if (request == nullptr) return null_argument("the request");
    if (*request == nullptr) return not_a_request();
    Status result;
    IMSS_RETURN_IF_ERROR(State::get().requests().wait(ticket_of(*request), &result));
    *request = nullptr;
    return result;
  });
}

int32_t imss_test(imss_request** request, int32_t* done) {
  return call([&]() -> Status {
    if (request == nullptr || done == nullptr) return null_argument("an argument");
    if (*request == nullptr) return not_a_request();
    bool complete = false;
    Status result;
    IMSS_RETURN_IF_ERROR(State::get().requests().test(ticket_of(*request), &complete, &result));
    *done = complete ? 1 : 0;
    if (complete) *request = nullptr;
    return result;
  });
}

int32_t imss_waitall(imss_request** requests, int32_t count, int32_t* result_errnos) {
  return call([&]() -> Status {
    if (count < 0) return Status(Code::kInvalidArgument, "the number of requests is negative");
    if (requests == nullptr) return null_argument("the array of requests");
    Status first;
    for (std::int32_t index = 0; index < count; ++index) {
      Status result;
      if (requests[index] != nullptr) {
        const Status own = State::get().requests().wait(ticket_of(requests[index]), &result);
        if (!own.ok()) result = own;
      }
      requests[index] = nullptr;
      if (result_errnos != nullptr) result_errnos[index] = errno_for(result);
      if (first.ok() && !result.ok()) first = result;
    }
    return first;
  });
}

}  // extern "C"
