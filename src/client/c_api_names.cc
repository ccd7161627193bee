// The C interface: datasets and directories by name.
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include <imss/imss.h>
#include "base/text.h"
#include "client/c_api_arguments.h"
#include "client/c_api_error.h"
#include "client/c_api_state.h"

using namespace imss;                 // NOLINT: this file defines the functions of imss.h
using namespace imss::client;         // NOLINT
using namespace imss::client::c_api;  // NOLINT

namespace {

using metadata::NodeType;

constexpr std::uint64_t kKib = 1024;
constexpr std::size_t kListBatch = 1024;

// A root is an instance; whatever is done to it by these calls can never work.
Status refuse_root(const Uri& uri) {
  if (!uri.path.empty()) return {};
  return Status(Code::kInvalidArgument,
                concat(format_uri(uri), " is an instance; use init_imss and release_imss"));
}

Result<std::int32_t> remember(Session& session, Result<std::int32_t> id) {
  if (!id.ok()) return id;
  IMSS_ASSIGN_OR_RETURN(Dataset* const dataset, session.find(*id));
  State::get().open.add_dataset(dataset->id);
  return id;
}

Result<std::int32_t> create(const char* text, const client::DatasetOptions& options) {
  IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
  const NamesCall names(uri);
  IMSS_RETURN_IF_ERROR(names.status());
  return remember(names.session(), names.session().create(uri, options));
}

Result<client::DatasetOptions> options_of(const char* policy, std::int64_t copies,
                                          std::int64_t servers) {
  client::DatasetOptions options;
  IMSS_ASSIGN_OR_RETURN(options.policy, parse_policy(policy));
  if (copies < IMSS_COPIES_NONE || copies > IMSS_COPIES_TRM) {
    return Status(Code::kInvalidArgument,
                  concat("a block has 1 to 3 copies, not ", std::to_string(copies)));
  }
  if (servers < 0) return Status(Code::kInvalidArgument, "the number of servers is negative");
  options.replicas = static_cast<std::uint32_t>(copies);
  options.server_count = static_cast<std::uint32_t>(servers);
  options.keep_name = true;
  return options;
}

Result<client::DatasetOptions> read_options(const imss_dataset_options* given) {
  if (given == nullptr) return null_argument("the structure");
  if (given->struct_size < sizeof(imss_dataset_options)) {
    return Status(Code::kInvalidArgument, "struct_size is not sizeof(imss_dataset_options)");
  }
  IMSS_ASSIGN_OR_RETURN(
      auto options, options_of(given->policy != nullptr ? given->policy : "RR",
                               given->repl_factor != 0 ? given->repl_factor : 1, given->n_servers));
  if (given->block_count == 0 || given->block_count > std::uint64_t{INT32_MAX}) {
    return Status(Code::kInvalidArgument, "a dataset has 1 to 2147483647 blocks");
  }
  if (given->block_size_bytes == 0 || given->block_size_bytes % kKib != 0 ||
      given->block_size_bytes > IMSS_BLOCK_KIB_MAX * kKib) {
    return Status(Code::kInvalidArgument,
                  "a block's size is a multiple of 1024 bytes, up to 64 MiB");
  }
  options.block_count = given->block_count;
  options.block_bytes = given->block_size_bytes;
  if (given->size_bytes > options.block_count * options.block_bytes) {
    return Status(Code::kInvalidArgument, "the size of the content is larger than all blocks");
  }
  options.size_bytes = given->size_bytes;
  if ((given->mode & ~07777U) != 0)
    return Status(Code::kInvalidArgument, "the mode has more than permission bits");
  if (given->mode != 0) options.mode = given->mode;
  return options;
}

// --- What is known of a dataset or a directory
// ----------------------------------------------------

std::int32_t clamp32(std::uint64_t number) {
  return static_cast<std::int32_t>(
      std::min<std::uint64_t>(number, std::numeric_limits<std::int32_t>::max()));
}

void fill_layout(const Dataset& dataset, const store::Attributes& attributes, dataset_info* info) {
  const std::uint64_t block_bytes = std::max<std::uint64_t>(dataset.layout.block_bytes, 1);
  const std::uint64_t blocks = dataset.layout.block_count != 0
                                   ? dataset.layout.block_count
                                   : (attributes.size + block_bytes - 1) / block_bytes;
  const auto policy = static_cast<Policy>(dataset.layout.policy);
  info->policy = copy_text(std::string(policy_name(policy)));
  info->type = policy == Policy::kLocal ? 'L' : 'D';
  info->num_data_elem = clamp32(blocks);
  info->data_elem_size = clamp32(block_bytes / kKib);
  info->repl_factor = dataset.layout.replicas;
  info->n_servers = dataset.layout.server_count;
  info->mode = S_IFREG | attributes.mode;
  info->size = static_cast<std::int64_t>(attributes.size);
}

// Fills the structure; what it allocated is in it also when it fails or throws.
Status fill(Session& session, const Uri& uri, dataset_info* info) {
  Session::Node node;
  IMSS_ASSIGN_OR_RETURN(const store::Attributes attributes, session.attributes(uri, &node));
  info->uri_ = copy_text(format_uri(uri));
  info->dataset_id = node.entry.id;
  info->type = 'D';
  if (node.directory != 0) {
    info->is_directory = 1;
    info->mode = S_IFDIR | attributes.mode;
    info->policy = copy_text("");
    info->original_name = copy_text(format_uri(uri));
    return {};
  }
  if (node.entry.type == NodeType::kSymlink) {
    info->is_link = 1;
    info->mode = S_IFLNK | attributes.mode;
    IMSS_ASSIGN_OR_RETURN(const std::string target, session.read_symlink(uri));
    info->link = copy_text(target);
    info->policy = copy_text("");
    info->original_name = copy_text(format_uri(uri));
    return {};
  }
  if (store::is_special(node.entry.type)) {
    info->mode = store::type_bits(node.entry.type) | attributes.mode;
    info->policy = copy_text("");
    info->original_name = copy_text(format_uri(uri));
    return {};
  }
  IMSS_ASSIGN_OR_RETURN(const auto dataset, Session::peek(uri, node));
  fill_layout(*dataset, attributes, info);
  const auto original = session.original_name(*dataset);
  info->original_name = copy_text(original.ok() ? *original : format_uri(uri));
  return {};
}

Result<std::int32_t> tell(const Uri& uri, dataset_info* info) {
  const NamesCall names(uri);
  IMSS_RETURN_IF_ERROR(names.status());
  dataset_info filled{};
  Status status;
  try {
    status = fill(names.session(), uri, &filled);
  } catch (const std::bad_alloc&) {
    status = Code::kNoMemory;
  }
  if (!status.ok()) {
    free_dataset(&filled);
    if (status.code() != Code::kNotFound) return status;
    fail(status);
    return 0;
  }
  const bool open = filled.is_directory == 0 && State::get().open.has_dataset(filled.dataset_id);
  *info = filled;
  return open ? 2 : 1;
}

// --- Directories
// ------------------------------------------------------------------------------------

// Creates the directories above the last name first; that one must be new.
Status make_directory(Session& session, const Uri& uri, std::uint32_t mode) {
  const std::size_t slash = uri.path.rfind('/');
  if (slash != std::string::npos) {
    IMSS_RETURN_IF_ERROR(
        session.make_directory({uri.instance, uri.path.substr(0, slash)}, 0755, true));
  }
  return session.make_directory(uri, mode, false);
}

Result<std::uint32_t> list(const Uri& uri, char** buffer, char*** items) {
  const NamesCall names(uri);
  IMSS_RETURN_IF_ERROR(names.status());
  const std::string prefix = format_uri(uri) + "/";
  std::string texts = prefix + '\0';
  std::vector<std::size_t> begins = {0};
  std::uint64_t cookie = 0;
  for (bool more = true; more;) {
    std::vector<metadata::EntryInfo> entries;
    IMSS_ASSIGN_OR_RETURN(more, names.session().list(uri, cookie, kListBatch, &entries));
    for (const metadata::EntryInfo& entry : entries) {
      begins.push_back(texts.size());
      texts += prefix;
      texts += entry.name;
      if (entry.type == NodeType::kDirectory) texts += '/';
      texts += '\0';
      cookie = entry.cookie;
    }
  }
  auto* const text = static_cast<char*>(std::malloc(texts.size()));
  auto** const pointers = static_cast<char**>(std::malloc(begins.size() * sizeof(char*)));
  if (text == nullptr || pointers == nullptr) {
    std::free(text);
    std::free(pointers);
    return Code::kNoMemory;
  }
  std::memcpy(text, texts.data(), texts.size());
  for (std::size_t index = 0; index < begins.size(); ++index)
    pointers[index] = text + begins[index];
  *buffer = text;
  *items = pointers;
  return static_cast<std::uint32_t>(begins.size());
}

// Looks names up without the data servers, so that the instance need not be open.
Result<std::int32_t> type_of(const Uri& uri) {
  State& state = State::get();
  const Calls::Scope scope(state.calls, mark_of_instance(uri.instance));
  IMSS_ASSIGN_OR_RETURN(Session* const session, state.connected());
  metadata::NameService& names = session->names();
  const auto instance = names.instance(uri.instance);
  if (instance.code() == Code::kNotFound) return IMSS_TYPE_NONE;
  if (!instance.ok()) return instance.status();
  std::uint64_t parent = instance->root;
  bool is_directory = true;
  for (const std::string_view name : split_path(uri.path)) {
    if (!is_directory) return IMSS_TYPE_NONE;
    const auto entry = names.lookup(parent, name);
    if (entry.code() == Code::kNotFound) return IMSS_TYPE_NONE;
    if (!entry.ok()) return entry.status();
    parent = entry->id;
    is_directory = entry->type == NodeType::kDirectory;
  }
  return uri.path.empty() ? IMSS_TYPE_INSTANCE : IMSS_TYPE_DATASET;
}

Result<char**> hosts_of_block(const Uri& uri, std::int32_t block, std::int32_t* count) {
  const NamesCall names(uri);
  IMSS_RETURN_IF_ERROR(names.status());
  IMSS_ASSIGN_OR_RETURN(const auto dataset, names.session().peek(uri));
  IMSS_ASSIGN_OR_RETURN(const auto positions,
                        names.session().locate(*dataset, static_cast<std::uint64_t>(block)));
  auto** const hosts = static_cast<char**>(std::calloc(positions.size(), sizeof(char*)));
  if (hosts == nullptr) return Code::kNoMemory;
  for (std::size_t index = 0; index < positions.size(); ++index) {
    hosts[index] = ::strdup(dataset->instance->servers[positions[index]].host.c_str());
    if (hosts[index] != nullptr) continue;
    for (std::size_t made = 0; made < index; ++made) std::free(hosts[made]);
    std::free(hosts);
    return Code::kNoMemory;
  }
  *count = static_cast<std::int32_t>(positions.size());
  return hosts;
}

}  // namespace

extern "C" {

int32_t create_dataset(const char* uri, const char* policy, int32_t num_data_elem,
                       int32_t data_elem_size, int32_t repl_factor, int32_t n_servers) {
  return call([&]() -> Result<std::int32_t> {
    if (policy == nullptr) return null_argument("the policy");
    IMSS_ASSIGN_OR_RETURN(auto options, options_of(policy, repl_factor, n_servers));
    if (num_data_elem < 1) {
      return Status(Code::kInvalidArgument,
                    concat("a dataset has at least 1 block, not ", std::to_string(num_data_elem)));
    }
    if (data_elem_size < 1 || data_elem_size > IMSS_BLOCK_KIB_MAX) {
      return Status(Code::kInvalidArgument,
                    concat("a block has 1 to 65536 KiB, not ", std::to_string(data_elem_size)));
    }
    options.block_count = static_cast<std::uint64_t>(num_data_elem);
    options.block_bytes = static_cast<std::uint64_t>(data_elem_size) * kKib;
    return create(uri, options);
  });
}

int32_t create_dataset_opt(const char* uri, const imss_dataset_options* given) {
  return call([&]() -> Result<std::int32_t> {
    IMSS_ASSIGN_OR_RETURN(const auto options, read_options(given));
    return create(uri, options);
  });
}

int32_t open_dataset(const char* text) {
  return call([&]() -> Result<std::int32_t> {
    IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
    const NamesCall names(uri);
    IMSS_RETURN_IF_ERROR(names.status());
    return remember(names.session(), names.session().open(uri));
  });
}

int32_t release_dataset(int32_t id) {
  return call([&]() -> Status {
    State& state = State::get();
    const Calls::Scope scope(state.calls, mark_of_release(id));
    Session* const session = state.session();
    if (session == nullptr)
      return Status(Code::kBadHandle, concat("dataset id ", std::to_string(id), " is not open"));
    return state.release_dataset(*session, id);
  });
}

int32_t delete_dataset(const char* text) {
  return call([&]() -> Status {
    IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
    const NamesCall names(uri);
    IMSS_RETURN_IF_ERROR(names.status());
    return names.session().unlink(uri);
  });
}

int32_t stat_dataset(const char* text, dataset_info* info) {
  return call([&]() -> Result<std::int32_t> {
    if (info == nullptr) return null_argument("the structure");
    IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
    return tell(uri, info);
  });
}

int32_t free_dataset(dataset_info* info) {
  return call([&]() -> Status {
    if (info == nullptr) return null_argument("the structure");
    for (char* const text : {info->uri_, info->original_name, info->policy, info->link})
      std::free(text);
    *info = dataset_info{};
    return {};
  });
}

int32_t rename_dataset(const char* old_uri, const char* new_uri) {
  return call([&]() -> Status {
    IMSS_ASSIGN_OR_RETURN(const Uri from, uri_argument(old_uri));
    IMSS_ASSIGN_OR_RETURN(const Uri to, uri_argument(new_uri));
    IMSS_RETURN_IF_ERROR(refuse_root(from));
    IMSS_RETURN_IF_ERROR(refuse_root(to));
    const NamesCall names(from);
    IMSS_RETURN_IF_ERROR(names.status());
    return names.session().rename(from, to);
  });
}

int32_t imss_mkdir(const char* text, uint32_t mode) {
  return call([&]() -> Status {
    IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
    if ((mode & ~07777U) != 0)
      return Status(Code::kInvalidArgument, "the mode has more than permission bits");
    const NamesCall names(uri);
    IMSS_RETURN_IF_ERROR(names.status());
    return make_directory(names.session(), uri, mode != 0 ? mode : 0755);
  });
}

int32_t imss_rmdir(const char* text) {
  return call([&]() -> Status {
    IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
    IMSS_RETURN_IF_ERROR(refuse_root(uri));
    const NamesCall names(uri);
    IMSS_RETURN_IF_ERROR(names.status());
    return names.session().remove_directory(uri);
  });
}

uint32_t get_dir(const char* text, char** buffer, char*** items) {
  std::uint32_t count = 0;
  const std::int32_t answered = call([&]() -> Status {
    if (buffer == nullptr || items == nullptr) return null_argument("an output");
    IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
    IMSS_ASSIGN_OR_RETURN(count, list(uri, buffer, items));
    return {};
  });
  return answered == 0 ? count : UINT32_MAX;
}

int32_t get_type(const char* text) {
  return call([&]() -> Result<std::int32_t> {
    IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
    return type_of(uri);
  });
}

char** get_dataloc(const char* text, int32_t block, int32_t* num_storages) {
  return call([&]() -> Result<char**> {
    if (num_storages == nullptr) return null_argument("the number of hosts");
    IMSS_ASSIGN_OR_RETURN(const Uri uri, uri_argument(text));
    if (block < 1) return Status(Code::kInvalidArgument, "data blocks are numbered from 1 on");
    return hosts_of_block(uri, block, num_storages);
  });
}

}  // extern "C"
