// docs/protocol.md as the table of operations says it.
//
// The sentences around the tables are the document's own. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "net/messages.h"

namespace imss::net {

template <typename T>
constexpr std::string_view structure_name() {
  if constexpr (std::is_same_v<T, BlockFields>) return "Block";
  if constexpr (std::is_same_v<T, TruncationFields>) return "Truncation";
  if constexpr (std::is_same_v<T, RecordFields>) return "Record";
  if constexpr (std::is_same_v<T, store::Attributes>) return "Attributes";
  if constexpr (std::is_same_v<T, store::AttributeChange>) return "AttributeChange";
  if constexpr (std::is_same_v<T, store::XattrChange>) return "XattrChange";
  if constexpr (std::is_same_v<T, metadata::InodeState>) return "InodeState";
  if constexpr (std::is_same_v<T, metadata::Permissions>) return "Permissions";
  if constexpr (std::is_same_v<T, metadata::Layout>) return "Layout";
  if constexpr (std::is_same_v<T, metadata::EntryInfo>) return "Entry";
  if constexpr (std::is_same_v<T, metadata::DirectoryInfo>) return "Directory";
  if constexpr (std::is_same_v<T, metadata::InstanceInfo>) return "Instance";
  if constexpr (std::is_same_v<T, metadata::ServerInfo>) return "Server";
  if constexpr (std::is_same_v<T, metadata::MapServer>) return "MapServer";
  if constexpr (std::is_same_v<T, metadata::ClusterMap>) return "Map";
  if constexpr (std::is_same_v<T, metadata::NameClaim>) return "NameClaim";
  if constexpr (std::is_same_v<T, metadata::ClaimedName>) return "ClaimedName";
  if constexpr (std::is_same_v<T, metadata::DirectoryClaim>) return "DirectoryClaim";
  if constexpr (std::is_same_v<T, metadata::Decision>) return "Decision";
  return "";
}

template <typename T>
std::string type_name() {
  if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else if constexpr (std::is_enum_v<T>) {
    return "u" + std::to_string(8 * sizeof(T));
  } else if constexpr (std::is_unsigned_v<T>) {
    return "u" + std::to_string(8 * sizeof(T));
  } else if constexpr (std::is_same_v<T, std::string>) {
    return "string";
  } else if constexpr (requires { typename T::value_type; }) {
    return "list of " + type_name<typename T::value_type>();
  } else {
    static_assert(!structure_name<T>().empty(), "a structure without a name in the document");
    return std::string(structure_name<T>());
  }
}

// "dataset u64, block u64", or a dash for no field.
template <typename T>
std::string fields_of() {
  std::string result;
  T().visit([&result](std::string_view names, const auto&... values) {
    [[maybe_unused]] const auto add = [&](std::string type) {
      const auto end = std::min(names.find(", "), names.size());
      if (!result.empty()) result += ", ";
      result += std::string(names.substr(0, end)) + " " + type;
      names.remove_prefix(std::min(end + 2, names.size()));
    };
    (add(type_name<std::remove_cvref_t<decltype(values)>>()), ...);
  });
  return result.empty() ? "-" : result;
}

inline std::string_view effect_name(Effect effect) {
  switch (effect) {
    case Effect::kReads:
      return "reads";
    case Effect::kRepeatable:
      return "repeatable";
    case Effect::kOnce:
      return "once";
    case Effect::kTied:
      return "tied";
  }
  return "";
}

inline std::string operation_table_head() {
  return "| number | operation | what it does | effect | request | reply "
         "|\n|---|---|---|---|---|---|\n";
}

#define IMSS_DOCUMENT_ROW(name, number, Request, Reply, effect, text)                        \
  out << "| " << number << " | " #name " | " << text << " | " << effect_name(Effect::effect) \
      << " | " << fields_of<Request>() << " | " << fields_of<Reply>() << " |\n";

inline std::string control_table() {
  std::ostringstream out;
  out << operation_table_head();
  IMSS_CONTROL_OPERATIONS(IMSS_DOCUMENT_ROW)
  return out.str();
}
inline std::string data_table() {
  std::ostringstream out;
  out << operation_table_head();
  IMSS_DATA_OPERATIONS(IMSS_DOCUMENT_ROW)
  return out.str();
}
inline std::string metadata_table() {
  std::ostringstream out;
  out << operation_table_head();
  IMSS_METADATA_OPERATIONS(IMSS_DOCUMENT_ROW)
  return out.str();
}
#undef IMSS_DOCUMENT_ROW

inline std::string structure_table() {
  std::ostringstream out;
  out << "| structure | fields |\n|---|---|\n";
  const auto row = [&out](std::string_view name, const std::string& fields) {
    out << "| " << name << " | " << fields << " |\n";
  };
  row("Block", fields_of<BlockFields>());
  row("Truncation", fields_of<TruncationFields>());
  row("Record", fields_of<RecordFields>());
  row("Attributes", fields_of<store::Attributes>());
  row("AttributeChange", fields_of<store::AttributeChange>());
  row("XattrChange", fields_of<store::XattrChange>());
  row("InodeState", fields_of<metadata::InodeState>());
  row("Layout", fields_of<metadata::Layout>());
  row("Entry", fields_of<metadata::EntryInfo>());
  row("Permissions", fields_of<metadata::Permissions>());
  row("Directory", fields_of<metadata::DirectoryInfo>());
  row("Instance", fields_of<metadata::InstanceInfo>());
  row("Server", fields_of<metadata::ServerInfo>());
  row("MapServer", fields_of<metadata::MapServer>());
  row("Map", fields_of<metadata::ClusterMap>());
  row("NameClaim", fields_of<metadata::NameClaim>());
  row("ClaimedName", fields_of<metadata::ClaimedName>());
  row("DirectoryClaim", fields_of<metadata::DirectoryClaim>());
  row("Decision", fields_of<metadata::Decision>());
  return out.str();
}

}  // namespace imss::net
