#include "client/job_place.h"

#include <array>
#include <charconv>

namespace imss::client {
namespace {

// The variables of a launcher that counts ranks: in the whole job and on this node.
struct RankVariables {
  const char* rank_on_node;
  const char* ranks_on_node;
  const char* ranks;
};
constexpr std::array kRankVariables = {
    RankVariables{"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
                  "OMPI_COMM_WORLD_SIZE"},
    RankVariables{"MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_SIZE"},
    RankVariables{"MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_SIZE"},
};

class Environment {
 public:
  explicit Environment(const char* const* variables) : variables_(variables) {}
  std::optional<std::string_view> operator()(std::string_view name) const {
    for (const char* const* variable = variables_; *variable != nullptr; ++variable) {
      const std::string_view text(*variable);
      if (text.starts_with(name) && text.substr(name.size()).starts_with('='))
        return text.substr(name.size() + 1);
    }
    return std::nullopt;
  }

 private:
  const char* const* const variables_;
};

std::optional<std::uint32_t> number(std::optional<std::string_view> text) {
  if (!text) return std::nullopt;
  const std::string_view all = *text;
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), value);
  if (error != std::errc() || end != all.data() + all.size()) return std::nullopt;
  return value;
}

// Of a step that srun started; a batch script alone is no rank.
std::optional<JobPlace> slurm_place(const Environment& variable) {
  const auto rank = number(variable("SLURM_LOCALID"));
  const auto nodes = number(variable("SLURM_STEP_NUM_NODES"));
  if (!rank || !nodes) return std::nullopt;
  JobPlace place;
  place.rank_on_node = *rank;
  place.several_nodes = *nodes > 1;
  const auto hosts = variable("SLURM_STEP_NODELIST");
  // Only an arbitrary distribution puts rank 0 elsewhere.
  const auto distribution = variable("SLURM_DISTRIBUTION");
  const bool arbitrary = distribution && distribution->starts_with("arbitrary");
  if (hosts && !arbitrary) place.first_host = first_host_of(*hosts);
  return place;
}

}  // namespace

// mpirun within a batch job of Slurm inherits Slurm's variables, so its own count first.
std::optional<JobPlace> job_place(const char* const* environment) {
  const Environment variable(environment);
  for (const RankVariables& names : kRankVariables) {
    const auto rank = number(variable(names.rank_on_node));
    const auto here = number(variable(names.ranks_on_node));
    const auto all = number(variable(names.ranks));
    if (!rank || !here || !all) continue;
    JobPlace place;
    place.rank_on_node = *rank;
    place.several_nodes = *here < *all;
    return place;
  }
  return slurm_place(variable);
}

std::string first_host_of(std::string_view host_list) {
  const std::size_t end = host_list.find_first_of("[,");
  std::string host(host_list.substr(0, end));
  if (end == std::string_view::npos || host_list[end] == ',') return host;
  // "[03-05,9]" begins with 03; what follows the bracket belongs to the name.
  const std::string_view inside = host_list.substr(end + 1);
  const std::size_t close = inside.find(']');
  if (close == std::string_view::npos) return {};
  host += inside.substr(0, inside.find_first_of("-,]"));
  const std::string_view rest = inside.substr(close + 1);
  host += rest.substr(0, rest.find(','));
  return host.find_first_of("[]") == std::string::npos ? host : std::string();
}

}  // namespace imss::client
