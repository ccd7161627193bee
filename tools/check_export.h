// `imss check --export`: writes the datasets of segments into files, also of segments whose servers
// have ended.
//
// The segments are only read. Used by the main thread of the program.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/session.h"

namespace imss::tools {

struct ExportReport {
  std::uint64_t datasets = 0;  // written whole
  std::uint64_t bytes = 0;
  std::vector<std::string> incomplete;  // what was not written, a sentence each
  std::vector<std::string> notes;       // what is worth knowing
};

// Writes what is below the instances of a metadata server's segment into FOLDER/INSTANCE/PATH; of
// one instance when `instance` is not null. Files that exist are not replaced. What cannot be read
// whole leaves no file. Errors: those of Segment::open; what concerns one name is in the report.
Status export_segment(const std::string& segment_name, const std::string* instance,
                      const std::string& folder, ExportReport* report);

}  // namespace imss::tools
