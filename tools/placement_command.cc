#include "placement_command.h"

#include <glib.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "policies/analysis.h"

namespace {

constexpr int kExitUsage = 2;

struct Options {
  std::string policy;  // empty: all policies
  std::int64_t servers = 8;
  std::int64_t blocks = 1'000'000;
  std::int64_t added = 0;
  std::int64_t removed = 0;
  std::int64_t replicas = 1;
  bool json = false;
};

using ReportRow = std::pair<imss::PlacementRequest, imss::PlacementReport>;

struct ContextFree {
  void operator()(GOptionContext* context) const { g_option_context_free(context); }
};

int usage_error(const char* sentence) {
  std::fprintf(stderr, "imss placement: %s\nTry 'imss placement --help'.\n", sentence);
  return kExitUsage;
}

// Fills the options; returns 0, or the exit code with the message printed.
int read_options(int argc, char** argv, Options& options) {
  gchar* policy = nullptr;
  gboolean json = FALSE;
  const GOptionEntry entries[] = {
      {"policy", 'p', 0, G_OPTION_ARG_STRING, &policy,
       "RR, BUCKETS, HASH, CRC16b, CRC64b, LOCAL or HRW; all without it", "P"},
      {"servers", 's', 0, G_OPTION_ARG_INT64, &options.servers, "Number of servers (8)", "N"},
      {"blocks", 'b', 0, G_OPTION_ARG_INT64, &options.blocks,
       "Data blocks of the dataset (1000000)", "N"},
      {"replicas", 'r', 0, G_OPTION_ARG_INT64, &options.replicas, "Copies of each block (1)", "R"},
      {"add", 'a', 0, G_OPTION_ARG_INT64, &options.added, "Servers that join afterwards", "K"},
      {"remove", 'd', 0, G_OPTION_ARG_INT64, &options.removed, "Servers that leave afterwards",
       "K"},
      {"json", 'j', 0, G_OPTION_ARG_NONE, &json, "Print JSON", nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr},
  };
  const std::unique_ptr<GOptionContext, ContextFree> context(
      g_option_context_new("- balance and movement of distribution policies"));
  g_option_context_add_main_entries(context.get(), entries, nullptr);
  GError* error = nullptr;
  const bool parsed = g_option_context_parse(context.get(), &argc, &argv, &error) != FALSE;
  if (policy != nullptr) options.policy = policy;
  g_free(policy);
  options.json = json != FALSE;
  if (!parsed) {
    const int code = usage_error(error->message);
    g_error_free(error);
    return code;
  }
  if (argc > 1) return usage_error("no arguments are expected besides options");
  for (const std::int64_t number :
       {options.servers, options.added, options.removed, options.replicas}) {
    if (number < 0 || number > UINT32_MAX) return usage_error("a number is negative or too large");
  }
  if (options.blocks < 0) return usage_error("the number of blocks is negative");
  return 0;
}

void print_load(const char* name, const imss::LoadReport& load) {
  std::printf(
      "\"%s\": {\"servers\": %u, \"least\": %llu, \"mean\": %.6g, \"most\": %llu, "
      "\"standard_deviation\": %.6g, \"empty\": %u}",
      name, load.servers, static_cast<unsigned long long>(load.least), load.mean,
      static_cast<unsigned long long>(load.most), load.standard_deviation, load.empty);
}

void print_json(const std::vector<ReportRow>& rows) {
  std::printf("[");
  const char* separator = "\n";
  for (const auto& [request, report] : rows) {
    std::printf("%s  {\"policy\": \"%s\", \"blocks\": %llu, \"replicas\": %u, ", separator,
                std::string(imss::policy_name(request.policy)).c_str(),
                static_cast<unsigned long long>(request.blocks), request.replicas);
    print_load("before", report.before);
    if (request.added != 0 || request.removed != 0) {
      std::printf(", ");
      print_load("after", report.after);
      std::printf(", \"moved\": %.6g, \"least_movement\": %.6g", report.moved,
                  report.least_movement);
    }
    std::printf("}");
    separator = ",\n";
  }
  std::printf("\n]\n");
}

void print_table(const std::vector<ReportRow>& rows) {
  const imss::PlacementRequest& first = rows.front().first;
  const bool changes = first.added != 0 || first.removed != 0;
  std::printf("%llu blocks, %u %s each, on %u servers",
              static_cast<unsigned long long>(first.blocks), first.replicas,
              first.replicas == 1 ? "copy" : "copies", first.servers);
  if (first.added != 0) std::printf("; then %u join", first.added);
  if (first.removed != 0) std::printf("; then %u leave", first.removed);
  std::printf(". Copies per server:\n\n%-8s %10s %12s %10s %12s %8s", "POLICY", "LEAST", "MEAN",
              "MOST", "DEVIATION", "EMPTY");
  if (changes) std::printf("   %10s %8s %8s %7s", "MOST AFTER", "MOVED", "MINIMUM", "RATIO");
  std::printf("\n");
  for (const auto& [request, report] : rows) {
    const imss::LoadReport& load = report.before;
    std::printf("%-8s %10llu %12.2f %10llu %12.2f %8u",
                std::string(imss::policy_name(request.policy)).c_str(),
                static_cast<unsigned long long>(load.least), load.mean,
                static_cast<unsigned long long>(load.most), load.standard_deviation, load.empty);
    if (changes) {
      std::printf("   %10llu %7.3f%% %7.3f%% ", static_cast<unsigned long long>(report.after.most),
                  100 * report.moved, 100 * report.least_movement);
      if (report.least_movement > 0) {
        std::printf("%7.2f", report.moved / report.least_movement);
      } else {
        std::printf("%7s", "-");
      }
    }
    std::printf("\n");
  }
}

}  // namespace

int run_placement(int argc, char** argv) {
  Options options;
  if (const int code = read_options(argc, argv, options); code != 0) return code;
  std::vector<imss::Policy> policies(std::begin(imss::kAllPolicies), std::end(imss::kAllPolicies));
  if (!options.policy.empty()) {
    const auto policy = imss::parse_policy(options.policy);
    if (!policy.ok()) return usage_error(policy.status().message().c_str());
    policies = {*policy};
  }
  std::vector<ReportRow> rows;
  for (const imss::Policy policy : policies) {
    imss::PlacementRequest request;
    request.policy = policy;
    request.servers = static_cast<std::uint32_t>(options.servers);
    request.blocks = static_cast<std::uint64_t>(options.blocks);
    request.replicas = static_cast<std::uint32_t>(options.replicas);
    request.added = static_cast<std::uint32_t>(options.added);
    request.removed = static_cast<std::uint32_t>(options.removed);
    const auto report = imss::analyse_placement(request);
    if (!report.ok()) {
      return usage_error(report.status().message().c_str());  // nothing else can fail
    }
    rows.emplace_back(request, *report);
  }
  if (options.json) {
    print_json(rows);
  } else {
    print_table(rows);
  }
  return 0;
}
