// Any text is refused with a sentence or read as a size that people can be shown.
#include "base/size.h"
#include "fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = imss::text_of(data, size);
  for (const std::uint64_t unit : {std::uint64_t{1}, imss::kKiB, imss::kGiB}) {
    const auto bytes = imss::parse_size(text, unit);
    if (!bytes.ok()) {
      imss::require(!bytes.status().message().empty(), "a refusal has a sentence");
      continue;
    }
    const auto shown = imss::parse_size(imss::format_size(*bytes));
    // Rounding up to the next unit may exceed 64 bits.
    if (!shown.ok()) continue;
    const std::uint64_t distance = *shown > *bytes ? *shown - *bytes : *bytes - *shown;
    imss::require(distance <= *bytes / 20 + 1, "the size shown is within a twentieth");
  }
  return 0;
}
