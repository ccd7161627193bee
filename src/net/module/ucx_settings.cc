#include "net/module/ucx_settings.h"

#include <ucm/api/ucm.h>
#include <ucs/config/global_opts.h>
#include <ucs/debug/log_def.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/log.h"

namespace imss::net {
namespace {

struct Setting {
  const char* name;  // without "UCX_"
  const char* value;
};

// Of the process. UCX's level is warn by default and its messages go to standard output, which
// belongs to the program; that peers come and go is reported by the port. The cache of memory types
// is for memory of GPUs and would hook every allocation of the program.
constexpr Setting kProcessSettings[] = {
    {"LOG_LEVEL", "fatal"},
    {"MEMTYPE_CACHE", "n"},
};

// Of each port. Payloads from 64 KiB on go straight from buffer to buffer; by itself UCX sends them
// in pieces through its own buffers on some transports, whatever their size. And nothing in a port
// may wait for a peer.
constexpr Setting kPortSettings[] = {
    {"RNDV_THRESH", "64k"},
    {"TCP_CONN_NB", "y"},
};

bool user_has_set(const char* name) {
  return std::getenv((std::string("UCX_") + name).c_str()) != nullptr;
}

ucs_log_func_rc_t log_for_ucx(const char*, unsigned, const char*, ucs_log_level_t level,
                              const ucs_log_component_config_t* component, const char* format,
                              va_list arguments) {
  if (level > component->log_level) return UCS_LOG_FUNC_RC_STOP;
  char text[1024];
  std::vsnprintf(text, sizeof text, format, arguments);
  const LogLevel ours = level <= UCS_LOG_LEVEL_ERROR  ? LogLevel::kError
                        : level == UCS_LOG_LEVEL_WARN ? LogLevel::kWarn
                                                      : LogLevel::kDebug;
  // UCX_LOG_LEVEL has decided already whether it is wanted.
  log_line(ours, "UCX: %s", text);
  return UCS_LOG_FUNC_RC_STOP;
}

}  // namespace

void quieten_ucx() {
  for (const Setting& setting : kProcessSettings) {
    if (!user_has_set(setting.name)) ucs_global_opts_set_value(setting.name, setting.value);
  }
  if (!user_has_set("LOG_FILE")) ucs_log_push_handler(log_for_ucx);
}

NoMemoryHooks::NoMemoryHooks() : before_(ucm_global_opts.enable_events) {
  if (!user_has_set("MEM_EVENTS")) ucm_global_opts.enable_events = 0;
}

NoMemoryHooks::~NoMemoryHooks() { ucm_global_opts.enable_events = before_; }

Result<UcxConfig> read_ucx_config() {
  ucp_config_t* raw = nullptr;
  const ucs_status_t status = ucp_config_read(nullptr, nullptr, &raw);
  if (status != UCS_OK) {
    return Status(Code::kNotSupported,
                  std::string("UCX cannot read its settings (UCX_... in the environment): ") +
                      ucs_status_string(status));
  }
  UcxConfig config(raw);
  for (const Setting& setting : kPortSettings) {
    if (user_has_set(setting.name)) continue;
    // A setting of a transport that this UCX was built without is nobody's loss.
    (void)ucp_config_modify(config.get(), setting.name, setting.value);
  }
  return config;
}

Status status_from_ucx(ucs_status_t status, const std::string& what) {
  if (status == UCS_OK) return {};
  const std::string sentence = what + ": " + ucs_status_string(status);
  return Status(status == UCS_ERR_NO_MEMORY ? Code::kNoMemory : Code::kIo, sentence);
}

}  // namespace imss::net
