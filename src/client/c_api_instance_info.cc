// The C interface: what is known about instances.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <imss/imss.h>
#include "base/host_file.h"
#include "base/text.h"
#include "client/attached.h"
#include "client/c_api_arguments.h"
#include "client/c_api_error.h"
#include "client/c_api_state.h"
#include "client/local_host.h"
#include "segment/segment_files.h"

using namespace imss;                 // NOLINT: this file defines the functions of imss.h
using namespace imss::client;         // NOLINT
using namespace imss::client::c_api;  // NOLINT

namespace {

struct ServerState {
  std::string host = "unknown";
  bool serves = false;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t used_bytes = 0;
};

Result<std::vector<ServerState>> states_of(Session& session, const metadata::InstanceInfo& info) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.names().servers());
  std::vector<ServerState> states;
  for (const std::uint32_t id : info.servers) {
    ServerState state;
    const auto server = std::ranges::find(servers, id, &metadata::ServerInfo::id);
    if (id != 0 && server != servers.end()) {
      state.host = server->host;
      const auto segment = segment::inspect(server->segment_name);
      if (segment.ok() && segment->nonce == server->nonce &&
          segment->state == segment::FileState::kServed) {
        state.serves = true;
        state.capacity_bytes = segment->capacity_bytes;
        state.used_bytes = segment->used_bytes;
      }
    }
    states.push_back(std::move(state));
  }
  return states;
}

void free_texts(char** texts, std::int32_t count) {
  if (texts == nullptr) return;
  for (std::int32_t index = 0; index < count; ++index) std::free(texts[index]);
  std::free(texts);
}

// Fills the structure; throws std::bad_alloc, and then the caller frees what is in it.
void fill(const Uri& uri, const metadata::InstanceInfo& instance,
          const std::vector<ServerState>& states, imss_info* info) {
  const auto count = static_cast<std::int32_t>(states.size());
  info->uri_ = copy_text(format_uri(uri));
  info->type = 'I';
  info->deployment = instance.deployment;
  info->conn_port = instance.port;
  info->meta_port = State::get().metadata_port();
  info->ips = static_cast<char**>(std::calloc(states.size() + 1, sizeof(char*)));
  info->status = static_cast<std::int32_t*>(std::calloc(states.size() + 1, sizeof(std::int32_t)));
  info->num_storages = count;
  if (info->ips == nullptr || info->status == nullptr) throw std::bad_alloc();
  for (std::size_t index = 0; index < states.size(); ++index) {
    info->ips[index] = copy_text(states[index].host);
    info->status[index] = states[index].serves ? 1 : 0;
    info->num_active_storages += states[index].serves ? 1 : 0;
    info->capacity_bytes += states[index].capacity_bytes;
    info->used_bytes += states[index].used_bytes;
  }
}

Result<std::int32_t> tell(const Uri& uri, imss_info* info) {
  State& state = State::get();
  const Calls::Scope scope(state.calls, mark_of_instance(uri.instance));
  IMSS_ASSIGN_OR_RETURN(Session* const session, state.connected());
  const auto instance = session->names().instance(uri.instance);
  if (instance.code() == Code::kNotFound) {
    fail(Status(Code::kNotFound, concat("there is no instance ", format_uri(uri))));
    return 0;
  }
  if (!instance.ok()) return instance.status();
  IMSS_ASSIGN_OR_RETURN(const auto states, states_of(*session, *instance));
  imss_info filled{};
  try {
    fill(uri, *instance, states, &filled);
  } catch (const std::bad_alloc&) {
    free_imss(&filled);
    return Code::kNoMemory;
  }
  *info = filled;
  return state.open.has_instance(uri.instance) ? 2 : 1;
}

// Calls `accept` with every instance that a metadata server of this node knows, and its servers
// that live; the URI of the first that it accepts.
template <typename Accept>
Result<std::string> find_deployed(Accept accept) {
  for (const std::string& name : segment::list_files()) {
    const auto file = segment::inspect(name);
    if (!file.ok() || file->role != segment::Role::kMetadata ||
        file->state != segment::FileState::kServed)
      continue;
    auto session = Session::connect_segment(name);
    if (!session.ok()) continue;
    auto instances = (*session)->names().instances();
    auto servers = (*session)->names().servers();
    if (!instances.ok() || !servers.ok()) continue;
    std::erase_if(*servers, [](const metadata::ServerInfo& server) { return !is_served(server); });
    for (const metadata::InstanceInfo& info : *instances) {
      const auto is_member = [&](const metadata::ServerInfo& server) {
        return std::ranges::find(info.servers, server.id) != info.servers.end() && accept(server);
      };
      if (std::ranges::any_of(*servers, is_member)) return format_uri({info.name, ""});
    }
  }
  return Code::kNotFound;
}

// Errors: kInvalidArgument unless it is HOST:PORT.
Result<Host> parse_endpoint(const char* endpoint) {
  if (endpoint == nullptr) return null_argument("the endpoint");
  const std::string_view text = endpoint;
  const std::size_t colon = text.rfind(':');
  Host host;
  if (colon != std::string_view::npos && colon > 0) {
    const std::string_view digits = text.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), host.port);
    if (error == std::errc() && end == digits.data() + digits.size() && host.port != 0) {
      host.name = text.substr(0, colon);
      return host;
    }
  }
  return Status(Code::kInvalidArgument, concat(quoted(text), " is not HOST:PORT"));
}

}  // namespace

extern "C" {

int32_t stat_imss(const char* imss_uri, imss_info* info) {
  return call([&]() -> Result<std::int32_t> {
    if (info == nullptr) return null_argument("the structure");
    IMSS_ASSIGN_OR_RETURN(const Uri uri, instance_argument(imss_uri));
    return tell(uri, info);
  });
}

int32_t free_imss(imss_info* info) {
  return call([&]() -> Status {
    if (info == nullptr) return null_argument("the structure");
    std::free(info->uri_);
    free_texts(info->ips, info->num_storages);
    std::free(info->status);
    *info = imss_info{};
    return {};
  });
}

char* get_deployed(void) {
  return call([]() -> Result<char*> {
    const auto open = State::get().open.any_instance();
    if (open.ok()) return copy_text(format_uri({*open, ""}));
    const auto found = find_deployed([](const metadata::ServerInfo&) { return true; });
    if (found.ok()) return copy_text(*found);
    return Status(Code::kNotFound, "no instance is deployed on this node");
  });
}

char* get_deployed_(const char* endpoint) {
  return call([&]() -> Result<char*> {
    IMSS_ASSIGN_OR_RETURN(const Host host, parse_endpoint(endpoint));
    if (!is_local_host(host.name)) {
      return Status(Code::kNotSupported,
                    concat(host.name, " is another node; this version looks on its own"));
    }
    const auto found =
        find_deployed([&](const metadata::ServerInfo& server) { return server.port == host.port; });
    if (found.ok()) return copy_text(*found);
    return Status(Code::kNotFound, concat("nothing is served at ", endpoint));
  });
}

}  // extern "C"
