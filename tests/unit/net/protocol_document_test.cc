// docs/protocol.md and the table of operations say the same. With IMSS_WRITE_DOCUMENTS in the
// environment the tables in the document are written anew.
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "net/control.h"
#include "net/head.h"
#include "protocol_document.h"

using namespace imss::net;

namespace {

std::filesystem::path document_path() {
  return std::filesystem::path(IMSS_TEST_DATA_DIR).parent_path().parent_path() / "docs" /
         "protocol.md";
}

template <typename T>
std::string head_type() {
  return "u" + std::to_string(8 * sizeof(T));
}

// The head's fields, with their places.
std::string head_table() {
  std::ostringstream out;
  out << "| offset | type | field |\n|---|---|---|\n";
#define ROW(field)                                                                    \
  out << "| " << offsetof(Head, field) << " | " << head_type<decltype(Head::field)>() \
      << " | " #field " |\n";
  ROW(magic)
  ROW(version)
  ROW(operation)
  ROW(request)
  ROW(token)
  ROW(sequence)
  ROW(epoch)
  ROW(payload_bytes)
  ROW(payload_crc)
  ROW(deadline_ms)
  ROW(field_bytes)
  ROW(status)
  ROW(flags)
  ROW(head_crc)
#undef ROW
  return out.str();
}

std::string limit_table() {
  std::ostringstream out;
  out << "| limit | bytes |\n|---|---|\n";
  out << "| head with fields | " << kMaxHeadBytes << " |\n";
  out << "| fields in the head | " << kMaxFieldBytes << " |\n";
  out << "| payload | " << kMaxPayloadBytes << " |\n";
  out << "| question, answer or announcement of the control plane | " << kMaxControlBytes << " |\n";
  return out.str();
}

// What stands between <!-- name --> and the next empty line, replaced.
std::string with_table(std::string text, const std::string& name, const std::string& table) {
  const std::string mark = "<!-- " + name + " -->\n";
  const auto begin = text.find(mark);
  INFO("no place for the table " << name);
  REQUIRE(begin != std::string::npos);
  const auto from = begin + mark.size();
  const auto end = std::min(text.find("\n\n", from), text.size() - 1) + 1;
  return text.replace(from, end - from, table);
}

}  // namespace

TEST_CASE("the document of the protocol has every operation, field and limit of the code") {
  std::ifstream in(document_path());
  REQUIRE(in.good());
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::string expected = with_table(text, "head", head_table());
  expected = with_table(expected, "limits", limit_table());
  expected = with_table(expected, "control", control_table());
  expected = with_table(expected, "data", data_table());
  expected = with_table(expected, "metadata", metadata_table());
  expected = with_table(expected, "structures", structure_table());
  if (std::getenv("IMSS_WRITE_DOCUMENTS") != nullptr) std::ofstream(document_path()) << expected;
  // Line by line, so that a difference shows where it is.
  std::istringstream has(text);
  std::istringstream wants(expected);
  std::string one;
  std::string other;
  while (std::getline(wants, other)) {
    REQUIRE(std::getline(has, one));
    REQUIRE(one == other);
  }
  CHECK(text == expected);
  CHECK(expected.find("version " + std::to_string(kProtocolVersion)) != std::string::npos);
}
