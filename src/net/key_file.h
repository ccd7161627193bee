// Key files: the key pair of an instance, in a text file that nobody but its owner can read.
//
// A line "public KEY" and a line "secret KEY", each key 40 characters of Z85; lines that begin with
// '#' are comments. Pure functions over files; any thread. The keys appear in no message.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace imss::net {

// A key pair in the text form of ZeroMQ (Z85, 40 characters each); empty: no keys.
struct ControlKeys {
  std::string public_key;
  std::string secret_key;
  bool none() const { return public_key.empty() && secret_key.empty(); }
};

// Errors: kNotFound, kPermission when group or others can use the file, kCorrupt when it is no key
// file, kSystem.
Result<ControlKeys> read_key_file(const std::string& path);

// The keys in the text of a key file; `path` is for the sentence. Errors: kCorrupt.
Result<ControlKeys> parse_keys(std::string_view text, const std::string& path);

// Makes the file, with mode 0600 and its bytes on the disk. Errors: kExists (it is never
// overwritten), kInvalidArgument for something else than two keys, kSystem; after an error there is
// no new file.
Status write_key_file(const std::string& path, const ControlKeys& keys);

}  // namespace imss::net
