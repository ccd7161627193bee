// Block operations with the arguments of the C interface, shared by its plain and asynchronous
// calls.
//
// Stateless functions; any thread. REQUIRES: the caller has announced its call on the dataset.
// Errors: as imss.h documents them for get_data, set_data and get_ndata.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "client/session.h"

namespace imss::client::c_api {

// Only looks at the arguments.
Status check_get(const Dataset& dataset, std::int32_t block, const void* buffer);
Status check_set(const Dataset& dataset, std::int32_t block, const void* buffer, std::size_t size,
                 off_t offset);

Status get_block(Session& session, Dataset& dataset, std::int32_t block, void* buffer);
Status get_range(Session& session, Dataset& dataset, std::int32_t block, void* buffer,
                 std::size_t size, off_t offset);
// `size` 0 is the whole block.
Status set_block_or_range(Session& session, Dataset& dataset, std::int32_t block,
                          const void* buffer, std::size_t size, off_t offset);

}  // namespace imss::client::c_api
