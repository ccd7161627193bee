// Naming the fields of a struct once, for whatever walks over them: codecs, documents, comparisons.
//
//   struct Point { std::uint64_t x = 0; std::uint64_t y = 0; IMSS_FIELDS(x, y) };
//
// gives Point::visit(visitor), which calls visitor("x, y", x, y). The order is part of formats that
// are made from it, so fields are only added at the end. Stateless; any thread.
#pragma once

#define IMSS_FIELDS(...)                                     \
  template <typename Visitor>                                \
  decltype(auto) visit(Visitor&& visitor) {                  \
    return visitor(#__VA_ARGS__ __VA_OPT__(, ) __VA_ARGS__); \
  }                                                          \
  template <typename Visitor>                                \
  decltype(auto) visit(Visitor&& visitor) const {            \
    return visitor(#__VA_ARGS__ __VA_OPT__(, ) __VA_ARGS__); \
  }
