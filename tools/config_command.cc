#include "config_command.h"

#include <cstdio>

#include "base/config.h"
#include "common_output.h"
#include "common_program.h"

namespace imss::tools {

int run_config(int argc, char** argv) {
  CommandLine line("imss config", "[KEY...]",
                   "Show every configuration value and where it came from.",
                   "Values come from: built-in < file < environment < command line. Files: the one "
                   "that\nIMSS_CONF names, /etc/imss.conf, ./imss.conf, the installation's conf "
                   "folder.\n\nExamples:\n  imss config\n  IMSS_DATA_PORT=6000 imss config "
                   "data_port");
  bool json_wanted = false;
  bool describe = false;
  line.flag("describe", 'd', "Say what each value is for", &describe);
  line.flag("json", 'j', "Print JSON", &json_wanted);
  if (const auto code = line.parse(argc, argv)) return *code;
  auto config = Config::load();
  if (!config.ok()) return fail(line.program(), config.status());

  std::vector<ConfigKey> keys;
  for (const std::string& name : line.arguments()) {
    const auto key = find_config_key(name);
    if (!key) return fail(line.program(), "there is no configuration key '" + name + "'");
    keys.push_back(*key);
  }
  if (keys.empty()) {
    for (const ConfigRow& row : config_rows()) keys.push_back(row.key);
  }

  using enum Table::Align;
  Table table({kLeft, kLeft, kLeft, kLeft});
  table.row({"KEY", "VALUE", "ORIGIN", describe ? "DESCRIPTION" : ""});
  Json json;
  json.begin_array();
  for (const ConfigKey key : keys) {
    const ConfigRow& row = config_row(key);
    const std::string description(row.description);
    const std::string name(row.name);
    table.row({name, config->text(key), config->origin_text(key), describe ? description : ""});
    json.begin_object().key("key").value(name).key("value").value(config->text(key));
    json.key("origin").value(config->origin_text(key)).key("description").value(description);
    json.end_object();
  }
  if (json_wanted) {
    json.end_array().print();
  } else {
    table.print();
  }
  return kExitOk;
}

}  // namespace imss::tools
