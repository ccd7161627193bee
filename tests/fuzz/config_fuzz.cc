// Any text is refused with the file's name or read as a configuration whose values are within their
// limits.
#include "base/config.h"
#include "fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  imss::Config config;
  const imss::Status status = config.read_text(imss::text_of(data, size), "imss.conf");
  if (!status.ok()) {
    imss::require(status.message().starts_with("imss.conf:"), "a refusal names the file");
  }
  for (const imss::ConfigRow& row : imss::config_rows()) {
    imss::Config again;
    imss::require(again.set(row.name, config.text(row.key)).ok(),
                  "a value that was taken is taken again");
    if (row.type != imss::ConfigType::kInteger) continue;
    const std::uint64_t number = config.integer(row.key);
    imss::require(number >= row.least && number <= row.most, "a number is within its limits");
  }
  return 0;
}
