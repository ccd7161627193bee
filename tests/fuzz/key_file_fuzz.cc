// Any text is refused as no key file, without a word of it in the sentence, or read as two keys of
// 40 characters.
#include "fuzz/require.h"
#include "net/key_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace imss;
  const auto keys = net::parse_keys(text_of(data, size), "FILE");
  if (!keys.ok()) {
    require(keys.code() == Code::kCorrupt, "what is no key file is corrupt");
    require(keys.status().message() == net::parse_keys("", "FILE").status().message(),
            "a refusal tells nothing of the text");
    return 0;
  }
  require(keys->public_key.size() == 40 && keys->secret_key.size() == 40,
          "keys have 40 characters");
  require(text_of(data, size).find(keys->public_key) != std::string_view::npos &&
              text_of(data, size).find(keys->secret_key) != std::string_view::npos,
          "the keys are in the text");
  return 0;
}
