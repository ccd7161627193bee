// Any text is refused with a sentence or read as a URI that its normal form reads back.
#include "base/uri.h"
#include "fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto uri = imss::parse_uri(imss::text_of(data, size));
  if (!uri.ok()) {
    imss::require(!uri.status().message().empty(), "a refusal has a sentence");
    return 0;
  }
  imss::require(uri->instance.size() <= imss::kMaxNameBytes,
                "the instance's name is within its limit");
  for (const std::string_view name : imss::split_path(uri->path)) {
    imss::require(!name.empty() && name.size() <= imss::kMaxNameBytes,
                  "names are within their limits");
    imss::require(name != "." && name != ".." && name.find('\0') == name.npos, "names are normal");
  }
  const std::string normal = imss::format_uri(*uri);
  imss::require(normal.size() <= size, "the normal form is not longer");
  const auto again = imss::parse_uri(normal);
  imss::require(again.ok() && *again == *uri, "the normal form reads back to the same value");
  return 0;
}
