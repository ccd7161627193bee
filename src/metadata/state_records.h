// What the metadata file says about the namespace: one record per name and per instance.
//
// Fixed little-endian layouts; the decoders check every length, since a file may hold anything. Pure functions;
// any thread. The file layer is journal.h, the layouts are in docs/metadata_file.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "metadata/namespace.h"
#include "segment/table.h"

namespace imss::metadata {

// Values are stored; they never change.
enum StateKind : std::uint16_t { kNameState = 1, kNameGone = 2, kInstanceState = 3, kInstanceGone = 4 };

std::vector<std::byte> encode_name(segment::Key key, const EntryInfo& info);
std::vector<std::byte> encode_instance(const InstanceInfo& info);
// For kNameGone and kInstanceGone.
std::vector<std::byte> encode_key(segment::Key key);

struct NameState {
  segment::Key key;
  EntryInfo info;
};
// Errors: kCorrupt.
Result<NameState> decode_name(std::span<const std::byte> bytes);
Result<InstanceInfo> decode_instance(std::span<const std::byte> bytes);
Result<segment::Key> decode_key(std::span<const std::byte> bytes);

}  // namespace imss::metadata
