// Any text is refused with file and line or read as hosts that a host file can hold again.
#include "base/host_file.h"

#include "base/text.h"
#include "fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto hosts = imss::parse_host_file(imss::text_of(data, size), "hosts");
  if (!hosts.ok()) {
    imss::require(hosts.status().message().starts_with("hosts"), "a refusal names the file");
    return 0;
  }
  std::string text;
  for (const imss::Host& host : *hosts) {
    text += imss::concat("[", host.name, "]");
    if (host.port != 0) text += imss::concat(":", std::to_string(host.port));
    text += '\n';
  }
  const auto again = imss::parse_host_file(text, "hosts");
  imss::require(again.ok() && *again == *hosts, "the hosts read back");
  return 0;
}
