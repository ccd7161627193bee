// The program `imss`: one command per file, chosen from a table.
#include <cstdio>
#include <cstring>
#include <string>

#include <glib.h>

#include "bench_command.h"
#include "check_command.h"
#include "common_program.h"
#include "config_command.h"
#include "df_command.h"
#include "get_command.h"
#include "keygen_command.h"
#include "ln_command.h"
#include "ls_command.h"
#include "mkdir_command.h"
#include "mv_command.h"
#include "placement_command.h"
#include "put_command.h"
#include "rm_command.h"
#include "rmdir_command.h"
#include "stat_command.h"
#include "status_command.h"
#include "stop_command.h"

namespace {

struct Command {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
};

using namespace imss::tools;

constexpr Command kCommands[] = {
    {"status", "servers and instances", run_status},
    {"stop", "end servers, also those of other nodes", run_stop},
    {"keygen", "make the keys of an instance", run_keygen},
    {"ls", "list datasets and directories", run_ls},
    {"stat", "what is known about a name", run_stat},
    {"put", "copy a file into the store", run_put},
    {"get", "copy a dataset out of the store", run_get},
    {"rm", "remove datasets", run_rm},
    {"mkdir", "make directories", run_mkdir},
    {"rmdir", "remove empty directories", run_rmdir},
    {"ln", "give datasets further names, make symbolic links", run_ln},
    {"mv", "rename datasets and directories", run_mv},
    {"df", "memory of the servers", run_df},
    {"check", "verify the structure of segments", run_check},
    {"config", "configuration values and their origin", run_config},
    {"placement", "balance and movement of the distribution policies", run_placement},
    {"bench", "measure speed against memcpy and tmpfs", run_bench},
};

void print_help(std::FILE* out) {
  std::fprintf(out,
               "Usage: imss COMMAND [OPTION...] [ARGUMENT...]\n\n"
               "Work with the in-memory store of a job's nodes.\n\nCommands:\n");
  for (const Command& command : kCommands) {
    std::fprintf(out, "  %-10s %s\n", command.name, command.summary);
  }
  std::fprintf(out,
               "  %-10s %s\n  %-10s %s\n\nExamples:\n"
               "  mount.imss --instance imss://x --capacity 1GiB\n"
               "  imss put data imss://x/data\n  imss ls -l imss://x\n"
               "  umount.imss --instance imss://x\n\n"
               "'imss help COMMAND' explains a command.\n",
               "help", "explain a command", "version", "print the version");
}

const Command* find(const char* name) {
  for (const Command& command : kCommands) {
    if (std::strcmp(command.name, name) == 0) return &command;
  }
  return nullptr;
}

int run(const Command& command, int argc, char** argv) {
  g_set_prgname((std::string("imss ") + command.name).c_str());
  return command.run(argc, argv);
}

int help(int argc, char** argv) {
  if (argc < 2) {
    print_help(stdout);
    return kExitOk;
  }
  const Command* command = find(argv[1]);
  if (command == nullptr) {
    return usage_error("imss", std::string("there is no command '") + argv[1] + "'");
  }
  std::string option = "--help";
  char* arguments[] = {argv[1], option.data(), nullptr};
  return run(*command, 2, arguments);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    print_help(stderr);
    return kExitUsage;
  }
  const std::string name = argv[1];
  if (name == "--help" || name == "-h") {
    print_help(stdout);
    return kExitOk;
  }
  if (name == "help") return help(argc - 1, argv + 1);
  if (name == "version" || name == "--version") {
    if (argc > 2) return usage_error("imss", "'" + name + "' takes no arguments");
    print_version("imss");
    return kExitOk;
  }
  const Command* command = find(name.c_str());
  if (command == nullptr) return usage_error("imss", "there is no command '" + name + "'");
  return run(*command, argc - 1, argv + 1);
}
