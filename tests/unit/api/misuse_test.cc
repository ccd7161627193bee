// Every call of the interface, asked for what can never work: the documented error and a sentence, and nothing done.
#include <climits>
#include <functional>
#include <string>
#include <vector>

#include "attached_store.h"

namespace {

using namespace api_test;

struct NameCall {
  const char* name;
  std::function<int(const char* uri)> failure_of;
};

imss_dataset_options options_of() {
  imss_dataset_options options{};
  options.struct_size = sizeof(options);
  options.block_count = 1;
  options.block_size_bytes = 1024;
  return options;
}

// Every call that takes the URI of a dataset or directory.
std::vector<NameCall> name_calls() {
  return {
      {"create_dataset", [](const char* uri) { return failure(create_dataset(uri, "RR", 1, 1, 1, 1)); }},
      {"create_dataset_opt",
       [](const char* uri) {
         const auto options = options_of();
         return failure(create_dataset_opt(uri, &options));
       }},
      {"open_dataset", [](const char* uri) { return failure(open_dataset(uri)); }},
      {"delete_dataset", [](const char* uri) { return failure(delete_dataset(uri)); }},
      {"stat_dataset",
       [](const char* uri) {
         dataset_info info{};
         return failure(stat_dataset(uri, &info));
       }},
      {"rename_dataset from", [](const char* uri) { return failure(rename_dataset(uri, uri_of("b").c_str())); }},
      {"rename_dataset to", [](const char* uri) { return failure(rename_dataset(uri_of("there").c_str(), uri)); }},
      {"imss_mkdir", [](const char* uri) { return failure(imss_mkdir(uri, 0)); }},
      {"imss_rmdir", [](const char* uri) { return failure(imss_rmdir(uri)); }},
      {"get_type", [](const char* uri) { return failure(get_type(uri)); }},
      {"get_dir",
       [](const char* uri) {
         char* buffer = nullptr;
         char** items = nullptr;
         return failure(get_dir(uri, &buffer, &items) == UINT32_MAX ? -1 : 0);
       }},
      {"get_dataloc",
       [](const char* uri) {
         std::int32_t count = 0;
         return failure(get_dataloc(uri, 1, &count));
       }},
  };
}

// Every call that takes the URI of an instance.
std::vector<NameCall> instance_calls() {
  return {
      {"init_imss",
       [](const char* uri) {
         return failure(init_imss(uri, nullptr, nullptr, 1, data_port(), 0, IMSS_ATTACHED, nullptr, metadata_port()));
       }},
      {"open_imss", [](const char* uri) { return failure(open_imss(uri)); }},
      {"release_imss", [](const char* uri) { return failure(release_imss(uri, IMSS_DISCONNECT)); }},
      {"stat_imss",
       [](const char* uri) {
         imss_info info{};
         return failure(stat_imss(uri, &info));
       }},
  };
}

struct IdCall {
  const char* name;
  std::function<int(std::int32_t id, std::int32_t block)> failure_of;
};

std::vector<IdCall> id_calls(Bytes& bytes) {
  return {
      {"set_data", [&](auto id, auto block) { return failure(set_data(id, block, bytes.data(), 0, 0)); }},
      {"set_data of a part", [&](auto id, auto block) { return failure(set_data(id, block, bytes.data(), 8, 8)); }},
      {"get_ndata", [&](auto id, auto block) { return failure(get_ndata(id, block, bytes.data(), 8, 0)); }},
      {"set_ndata", [&](auto id, auto block) { return failure(set_ndata(id, block, bytes.data(), 8)); }},
      {"get_data_location",
       [](auto id, auto block) { return failure(get_data_location(id, block, IMSS_LOCATION_GET)); }},
      {"imss_view",
       [](auto id, auto block) {
         imss_block_view view{};
         return failure(imss_view(id, block, &view));
       }},
      {"iget_data of a block",
       [&](auto id, auto block) { return block == 0 ? EINVAL : failure(iget_data(id, block, bytes.data())); }},
      {"iset_data", [&](auto id, auto block) { return failure(iset_data(id, block, bytes.data(), 0, 0)); }},
      {"get_datav",
       [&](auto id, auto block) {
         imss_block_io item{};
         item.block = block;
         item.buffer = bytes.data();
         return failure(get_datav(id, &item, 1));
       }},
      {"set_datav",
       [&](auto id, auto block) {
         imss_block_io item{};
         item.block = block;
         item.buffer = bytes.data();
         return failure(set_datav(id, &item, 1));
       }},
  };
}

}  // namespace

TEST_CASE("a URI that cannot be meant is refused by every call that takes one") {
  const AttachedStore store;
  const std::string long_name = uri_of(std::string(256, 'n'));
  const std::string long_directory = uri_of(std::string(256, 'n') + "/x");
  std::string long_uri = uri_of("");
  while (long_uri.size() < 4097) long_uri += long_uri.size() % 200 == 0 ? '/' : 'u';
  long_uri.resize(4097);
  struct Case {
    const char* uri;
    int error;
  };
  const std::vector<Case> everywhere{{nullptr, EINVAL},       {"", EINVAL},           {"x", EINVAL},
                                     {"imss:/x/y", EINVAL},   {"http://x/y", EINVAL}, {"imss://x/../y", EINVAL},
                                     {long_uri.c_str(), ENAMETOOLONG}};
  for (const auto& call : name_calls()) {
    for (const Case& bad : everywhere) {
      INFO(call.name << " of " << (bad.uri == nullptr ? "null" : bad.uri));
      CHECK(call.failure_of(bad.uri) == bad.error);
    }
    INFO(call.name);
    CHECK(call.failure_of(long_name.c_str()) == ENAMETOOLONG);
    CHECK(call.failure_of(long_directory.c_str()) == ENAMETOOLONG);
  }
  const std::string long_instance = "imss://" + std::string(256, 'i');
  for (const auto& call : instance_calls()) {
    for (const Case& bad : everywhere) {
      INFO(call.name << " of " << (bad.uri == nullptr ? "null" : bad.uri));
      CHECK(call.failure_of(bad.uri) == bad.error);
    }
    INFO(call.name);
    CHECK(call.failure_of(long_instance.c_str()) == ENAMETOOLONG);
  }
  // Nothing of it was made.
  char* buffer = nullptr;
  char** items = nullptr;
  CHECK(get_dir(instance_uri().c_str(), &buffer, &items) == 1);
  std::free(items);
  std::free(buffer);
}

TEST_CASE("bytes that nobody expects in a name are a name, and no call stumbles over them") {
  const AttachedStore store;
  for (const std::string& name : {std::string("\x01"), std::string("\xff\xfe"), std::string(" "), std::string("%s%n"),
                                  std::string("a\nb"), std::string("\""), std::string("\\"), std::string("~"),
                                  std::string("..."), std::string(255, '\xff')}) {
    const std::string uri = uri_of(name);
    INFO(name);
    const std::int32_t id = create_dataset(uri.c_str(), "RR", 1, 1, 1, 1);
    CHECK(failure(id) == 0);
    CHECK(get_type(uri.c_str()) == IMSS_TYPE_DATASET);
    dataset_info info{};
    CHECK(stat_dataset(uri.c_str(), &info) == 2);
    CHECK(info.uri_ == uri);
    CHECK(free_dataset(&info) == 0);
    CHECK(free_dataset(&info) == 0);
    CHECK(release_dataset(id) == 0);
    CHECK(delete_dataset(uri.c_str()) == 0);
    CHECK(failure(delete_dataset(uri.c_str())) == ENOENT);
  }
}

TEST_CASE("ids and blocks that are none are refused by every call that takes them") {
  const AttachedStore store;
  const std::int32_t id = create("there", 8);
  const std::int32_t released = create("other", 8);
  REQUIRE(release_dataset(released) == 0);
  Bytes bytes = block_of(3);
  for (const auto& call : id_calls(bytes)) {
    INFO(call.name);
    for (const std::int32_t bad : {-1, INT32_MIN, INT32_MAX, released}) {
      INFO("id " << bad);
      CHECK(call.failure_of(bad, 1) == EBADF);
    }
    for (const std::int32_t bad : {-1, 0, 9, INT32_MIN, INT32_MAX}) {
      INFO("block " << bad);
      CHECK(call.failure_of(id, bad) == EINVAL);
    }
  }
  for (const std::int32_t bad : {-1, INT32_MIN, INT32_MAX, released}) {
    CHECK(failure(release_dataset(bad)) == EBADF);
    CHECK(failure(get_data(bad, 0, bytes.data())) == EBADF);
  }
  CHECK(failure(get_data(id, 9, bytes.data())) == EINVAL);
  CHECK(failure(get_data(id, -1, bytes.data())) == EINVAL);
  std::int32_t count = 7;
  CHECK(failure(get_dataloc(uri_of("there").c_str(), 0, &count)) == EINVAL);
  CHECK(failure(get_dataloc(uri_of("there").c_str(), 9, &count)) == EINVAL);
  CHECK(count == 7);
  CHECK(get_block(id, 1) == block_of(0));
}

TEST_CASE("ranges that overflow or leave the block are refused and change nothing") {
  const AttachedStore store;
  const std::int32_t id = create("there", 2);
  Bytes bytes = block_of(3);
  constexpr auto kBlock = static_cast<off_t>(kBlockBytes);
  struct Range {
    std::size_t size;
    off_t offset;
  };
  for (const Range bad : {Range{1, kBlock}, Range{1, -1}, Range{1, INT64_MIN}, Range{1, INT64_MAX},
                          Range{SIZE_MAX, 0}, Range{SIZE_MAX, 1}, Range{SIZE_MAX, INT64_MAX},
                          Range{kBlockBytes + 1, 0}, Range{kBlockBytes, 1}, Range{SIZE_MAX - 7, 8},
                          Range{std::size_t{1} << 63, INT64_MIN}}) {
    INFO(bad.size << " bytes at " << bad.offset);
    CHECK(failure(set_data(id, 1, bytes.data(), bad.size, bad.offset)) == EINVAL);
    CHECK(failure(get_ndata(id, 1, bytes.data(), bad.size, bad.offset)) == EINVAL);
    CHECK(failure(iset_data(id, 1, bytes.data(), bad.size, bad.offset)) == EINVAL);
    imss_block_io item{};
    item.block = 1;
    item.buffer = bytes.data();
    item.size = bad.size;
    item.offset = bad.offset;
    CHECK(failure(get_datav(id, &item, 1)) == EINVAL);
    CHECK(item.result_errno == EINVAL);
    CHECK(failure(set_datav(id, &item, 1)) == EINVAL);
  }
  for (const off_t offset : {off_t{1}, off_t{-1}, off_t{INT64_MAX}}) {
    CHECK(failure(set_data(id, 1, bytes.data(), 0, offset)) == EINVAL);
  }
  CHECK(failure(get_ndata(id, 1, bytes.data(), 0, 0)) == EINVAL);
  CHECK(failure(set_ndata(id, 1, bytes.data(), 0)) == EINVAL);
  CHECK(failure(set_ndata(id, 1, bytes.data(), UINT32_MAX)) == EINVAL);
  CHECK(failure(set_ndata(id, 1, bytes.data(), kBlockBytes + 1)) == EINVAL);
  CHECK(get_block(id, 1) == block_of(0));
}

TEST_CASE("a null pointer is refused wherever one is asked for") {
  const AttachedStore store;
  const std::string uri = uri_of("there");
  const std::int32_t id = create("there", 2);
  char* buffer = nullptr;
  char** items = nullptr;
  CHECK(failure(get_data(id, 1, nullptr)) == EINVAL);
  CHECK(failure(get_data(id, 0, nullptr)) == EINVAL);
  CHECK(failure(set_data(id, 1, nullptr, 0, 0)) == EINVAL);
  CHECK(failure(set_data(id, 1, nullptr, 8, 0)) == EINVAL);
  CHECK(failure(get_ndata(id, 1, nullptr, 8, 0)) == EINVAL);
  CHECK(failure(set_ndata(id, 1, nullptr, 8)) == EINVAL);
  CHECK(failure(get_datav(id, nullptr, 1)) == EINVAL);
  CHECK(failure(set_datav(id, nullptr, 1)) == EINVAL);
  imss_block_io item{};
  item.block = 1;
  CHECK(failure(get_datav(id, &item, 1)) == EINVAL);
  CHECK(failure(get_datav(id, &item, -1)) == EINVAL);
  CHECK(failure(get_datav(id, &item, IMSS_BLOCK_LIST_MAX + 1)) == EINVAL);
  CHECK(failure(imss_view(id, 1, nullptr)) == EINVAL);
  CHECK(failure(imss_view_release(nullptr)) == EINVAL);
  CHECK(failure(iget_data(id, 1, nullptr)) == EINVAL);
  CHECK(failure(iset_data(id, 1, nullptr, 0, 0)) == EINVAL);
  CHECK(failure(imss_wait(nullptr)) == EINVAL);
  std::int32_t done = 5;
  imss_request* none = nullptr;
  CHECK(failure(imss_wait(&none)) == EINVAL);
  CHECK(failure(imss_test(nullptr, &done)) == EINVAL);
  CHECK(failure(imss_test(&none, nullptr)) == EINVAL);
  CHECK(done == 5);
  CHECK(failure(imss_waitall(nullptr, 1, nullptr)) == EINVAL);
  CHECK(failure(imss_waitall(&none, -1, nullptr)) == EINVAL);
  CHECK(failure(create_dataset(uri_of("n").c_str(), nullptr, 1, 1, 1, 1)) == EINVAL);
  CHECK(failure(create_dataset_opt(uri_of("n").c_str(), nullptr)) == EINVAL);
  CHECK(failure(stat_dataset(uri.c_str(), nullptr)) == EINVAL);
  CHECK(failure(stat_imss(instance_uri().c_str(), nullptr)) == EINVAL);
  CHECK(failure(free_dataset(nullptr)) == EINVAL);
  CHECK(failure(free_imss(nullptr)) == EINVAL);
  CHECK(failure(get_dataloc(uri.c_str(), 1, nullptr)) == EINVAL);
  CHECK(failure(get_dir(uri.c_str(), nullptr, &items) == UINT32_MAX ? -1 : 0) == EINVAL);
  CHECK(failure(get_dir(uri.c_str(), &buffer, nullptr) == UINT32_MAX ? -1 : 0) == EINVAL);
  CHECK(failure(get_deployed_(nullptr)) == EINVAL);
  CHECK(failure(rename_dataset(nullptr, nullptr)) == EINVAL);
}

TEST_CASE("numbers that no dataset and no instance can have are refused") {
  const AttachedStore store;
  const std::string uri = uri_of("n");
  for (const std::int32_t bad : {0, -1, INT32_MIN}) {
    CHECK(failure(create_dataset(uri.c_str(), "RR", bad, 1, 1, 1)) == EINVAL);
    CHECK(failure(create_dataset(uri.c_str(), "RR", 1, bad, 1, 1)) == EINVAL);
    CHECK(failure(create_dataset(uri.c_str(), "RR", 1, 1, bad, 1)) == EINVAL);
    CHECK(failure(init_imss("imss://another", nullptr, nullptr, bad, data_port(), 0, IMSS_ATTACHED, nullptr,
                            metadata_port())) == EINVAL);
  }
  for (const std::int32_t bad : {-1, 2, INT32_MAX, INT32_MIN}) {
    CHECK(failure(create_dataset(uri.c_str(), "RR", 1, 1, 1, bad)) == EINVAL);
  }
  for (const std::int32_t bad : {2, 4, INT32_MAX}) {
    CHECK(failure(create_dataset(uri.c_str(), "RR", 1, 1, bad, 1)) == EINVAL);
  }
  for (const std::int32_t bad : {IMSS_BLOCK_KIB_MAX + 1, INT32_MAX}) {
    CHECK(failure(create_dataset(uri.c_str(), "RR", 1, bad, 1, 1)) == EINVAL);
  }
  for (const char* bad : {"", "rr ", "ROUND", "RR\n"}) {
    INFO(bad);
    CHECK(failure(create_dataset(uri.c_str(), bad, 1, 1, 1, 1)) == EINVAL);
  }
  auto options = options_of();
  options.block_count = UINT64_MAX;
  CHECK(failure(create_dataset_opt(uri.c_str(), &options)) == EINVAL);
  options = options_of();
  options.block_size_bytes = 1000;
  CHECK(failure(create_dataset_opt(uri.c_str(), &options)) == EINVAL);
  options = options_of();
  options.size_bytes = 1025;
  CHECK(failure(create_dataset_opt(uri.c_str(), &options)) == EINVAL);
  options = options_of();
  options.struct_size = 8;
  CHECK(failure(create_dataset_opt(uri.c_str(), &options)) == EINVAL);
  CHECK(failure(release_imss(instance_uri().c_str(), 3)) == EINVAL);
  CHECK(failure(get_data_location(create("there"), 1, 2)) == EINVAL);
  for (const char* bad : {"", "localhost", "localhost:", ":1", "localhost:0", "localhost:65536", "localhost:1x"}) {
    INFO(bad);
    CHECK(failure(get_deployed_(bad)) == EINVAL);
  }
  CHECK(get_type(uri.c_str()) == IMSS_TYPE_NONE);
  CHECK(failure(create_dataset(uri.c_str(), "RR", INT32_MAX, IMSS_BLOCK_KIB_MAX, 1, 1)) == EINVAL);
  // As many blocks as there can be: holes cost nothing.
  const std::int32_t id = create_dataset(uri.c_str(), "RR", INT32_MAX, kBlockKib, 1, 1);
  CHECK(failure(id) == 0);
  unsigned char last = 1;
  CHECK(failure(get_ndata(id, INT32_MAX, &last, 1, kBlockBytes - 1)) == 0);
  CHECK(last == 0);
}
