// IMSS for C++20: owners, spans and typed elements over imss.h, which is the manual of what each
// operation means. Header only.
//
// Owners (Session, Instance, Dataset, BlockView, Request) are move-only and release in their
// destructor what they own; release() does it earlier and tells whether it worked. Every operation
// has two forms: `name` throws imss::Error, the only exception type; `try_name` returns Result<T>
// and throws nothing but std::bad_alloc. Errors carry the errno value that imss.h documents.
//
// Threads: operations on one object may run in several threads at once; moving, assigning or
// releasing it may not run beside them. Declare owners in the order session, instance, dataset:
// they then end in the right order. The wrong order gives errors, not crashes.
#ifndef IMSS_IMSS_HPP_
#define IMSS_IMSS_HPP_

#include <imss/dataset.hpp>
#include <imss/result.hpp>
#include <imss/session.hpp>

#endif  // IMSS_IMSS_HPP_
