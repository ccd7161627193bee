// Datasets and directories by name through imss.h.
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/uri.h"
#include "client/session.h"
#include "unit/api/attached_store.h"

using namespace api_test;  // NOLINT

namespace {

// What get_dir gives, sorted but for element 0.
std::vector<std::string> list(const std::string& uri) {
  char* buffer = nullptr;
  char** items = nullptr;
  const std::uint32_t count = get_dir(uri.c_str(), &buffer, &items);
  REQUIRE(failure(static_cast<std::int32_t>(count)) == 0);
  std::vector<std::string> uris(items, items + count);
  std::free(items);
  std::free(buffer);
  std::sort(uris.begin() + 1, uris.end());
  return uris;
}

int list_failure(const std::string& uri) {
  char* buffer = nullptr;
  char** items = nullptr;
  return failure(static_cast<std::int32_t>(get_dir(uri.c_str(), &buffer, &items)));
}

int create_failure(const char* policy, int count, int kib, int copies, int servers) {
  const std::string uri = uri_of("refused");
  return failure(create_dataset(uri.c_str(), policy, count, kib, copies, servers));
}

}  // namespace

TEST_CASE("a dataset with parameters that can never work is refused and leaves no name") {
  const AttachedStore store;
  CHECK(create_failure(nullptr, 1, 1, 1, 1) == EINVAL);
  CHECK(create_failure("", 1, 1, 1, 1) == EINVAL);
  CHECK(create_failure("ROUND", 1, 1, 1, 1) == EINVAL);
  CHECK(create_failure("RR", 0, 1, 1, 1) == EINVAL);
  CHECK(create_failure("RR", -1, 1, 1, 1) == EINVAL);
  CHECK(create_failure("RR", 1, 0, 1, 1) == EINVAL);
  CHECK(create_failure("RR", 1, -1, 1, 1) == EINVAL);
  CHECK(create_failure("RR", 1, 1, 0, 1) == EINVAL);
  CHECK(create_failure("RR", 1, 1, 4, 1) == EINVAL);
  CHECK(create_failure("RR", 1, 1, 1, -1) == EINVAL);
  CHECK(create_failure("RR", 1, 1, 1, 2) == EINVAL);
  CHECK(create_failure("RR", 1, 1, 2, 1) == EINVAL);  // two copies on one server
  CHECK(create_failure("RR", 1, 1, 2, 0) == EINVAL);
  CHECK(get_type(uri_of("refused").c_str()) == IMSS_TYPE_NONE);
}

TEST_CASE("every policy that users know creates a dataset") {
  const AttachedStore store;
  for (const char* policy : {"RR", "BUCKETS", "HASH", "CRC16b", "CRC64b", "LOCAL", "HRW"}) {
    const std::int32_t id = create(std::string("policy/") + policy, 4, policy);
    REQUIRE(set_data(id, 4, block_of(8).data(), 0, 0) == 0);
    CHECK(get_block(id, 4) == block_of(8));
    CHECK(get_data_location(id, 4, IMSS_LOCATION_GET) == 0);
    CHECK(get_data_location(id, 3, IMSS_LOCATION_SET) == 0);
    CHECK(failure(get_data_location(id, 4, 2)) == EINVAL);
  }
}

TEST_CASE("a LOCAL block that was never written has no location to be read from") {
  const AttachedStore store;
  const std::int32_t id = create("local", 4, "LOCAL");
  std::int32_t count = 0;
  CHECK(failure(get_data_location(id, 2, IMSS_LOCATION_GET)) == ENOENT);
  CHECK(failure(get_dataloc(uri_of("local").c_str(), 2, &count)) == ENOENT);
}

TEST_CASE("get_dataloc names the host of a block") {
  const AttachedStore store;
  create("where");
  std::int32_t count = 0;
  char** hosts = get_dataloc(uri_of("where").c_str(), 1, &count);
  REQUIRE(hosts != nullptr);
  REQUIRE(count == 1);
  CHECK(std::strlen(hosts[0]) > 0);
  std::free(hosts[0]);
  std::free(hosts);
  CHECK(failure(get_dataloc(uri_of("nowhere").c_str(), 1, &count)) == ENOENT);
  CHECK(failure(get_dataloc(uri_of("where").c_str(), 9, &count)) == EINVAL);
  CHECK(failure(get_dataloc(uri_of("where").c_str(), 0, &count)) == EINVAL);
  CHECK(failure(get_dataloc(uri_of("where").c_str(), 1, nullptr)) == EINVAL);
}

TEST_CASE("a name that is taken is not created again, by however many threads") {
  const AttachedStore store;
  create("taken");
  CHECK(failure(create_dataset(uri_of("taken").c_str(), "RR", 1, 1, 1, 1)) == EEXIST);
  for (int round = 0; round < 50; ++round) {
    const std::string uri = uri_of("race" + std::to_string(round));
    std::atomic<int> made{0};
    std::atomic<int> existed{0};
    const auto race = [&] {
      const std::int32_t id = create_dataset(uri.c_str(), "RR", 1, 1, 1, 1);
      if (id >= 0) ++made;
      if (id == -1 && errno == EEXIST) ++existed;
    };
    std::thread one(race);
    std::thread two(race);
    one.join();
    two.join();
    REQUIRE(made == 1);
    REQUIRE(existed == 1);
  }
}

TEST_CASE("URIs that name nothing possible are refused with their own error") {
  const AttachedStore store;
  const std::string long_name = uri_of(std::string(256, 'n'));
  std::string long_uri = instance_uri();
  while (long_uri.size() <= IMSS_URI_BYTES_MAX) long_uri += "/directory";
  for (const std::string& uri : {long_name, long_uri}) {
    dataset_info info{};
    CHECK(failure(create_dataset(uri.c_str(), "RR", 1, 1, 1, 1)) == ENAMETOOLONG);
    CHECK(failure(open_dataset(uri.c_str())) == ENAMETOOLONG);
    CHECK(failure(delete_dataset(uri.c_str())) == ENAMETOOLONG);
    CHECK(failure(stat_dataset(uri.c_str(), &info)) == ENAMETOOLONG);
    CHECK(failure(rename_dataset(uri_of("x").c_str(), uri.c_str())) == ENAMETOOLONG);
    CHECK(failure(get_type(uri.c_str())) == ENAMETOOLONG);
    CHECK(failure(imss_mkdir(uri.c_str(), 0)) == ENAMETOOLONG);
    CHECK(list_failure(uri) == ENAMETOOLONG);
  }
  for (const char* uri : {"", "imss", "imss:/", "http://x/y", "relative/path"}) {
    CHECK(failure(create_dataset(uri, "RR", 1, 1, 1, 1)) == EINVAL);
    CHECK(failure(open_dataset(uri)) == EINVAL);
    CHECK(failure(get_type(uri)) == EINVAL);
  }
  for (const char* path : {"..", "a/..", "a/../b"}) {
    CHECK(failure(create_dataset(uri_of(path).c_str(), "RR", 1, 1, 1, 1)) == EINVAL);
  }
  CHECK(failure(create_dataset(nullptr, "RR", 1, 1, 1, 1)) == EINVAL);
  CHECK(failure(open_dataset(nullptr)) == EINVAL);
  CHECK(failure(delete_dataset(nullptr)) == EINVAL);
  CHECK(failure(rename_dataset(nullptr, nullptr)) == EINVAL);
  CHECK(failure(get_type(nullptr)) == EINVAL);
  CHECK(failure(imss_mkdir(nullptr, 0)) == EINVAL);
  CHECK(failure(imss_rmdir(nullptr)) == EINVAL);
  CHECK(failure(create_dataset("imss://somebody-else/x", "RR", 1, 1, 1, 1)) == ENOTCONN);
}

TEST_CASE("names hold any byte but slash and NUL, up to 255 bytes") {
  const AttachedStore store;
  const std::string names[] = {"with blank",  "quote\"'", "new\nline",          "\xff\xfe\x01",
                               "percent%s%n", "...",      std::string(255, 'n')};
  for (const std::string& name : names) create("bytes/" + name);
  const std::vector<std::string> listed = list(uri_of("bytes"));
  REQUIRE(listed.size() == 1 + std::size(names));
  for (const std::string& name : names) {
    CHECK(std::count(listed.begin(), listed.end(), uri_of("bytes/" + name)) == 1);
    CHECK(get_type(uri_of("bytes/" + name).c_str()) == IMSS_TYPE_DATASET);
  }
}

TEST_CASE("repeated and trailing slashes and single dots do not count") {
  const AttachedStore store;
  create("a/b");
  CHECK(get_type((instance_uri() + "//a///./b/").c_str()) == IMSS_TYPE_DATASET);
  CHECK(get_type((instance_uri() + "/").c_str()) == IMSS_TYPE_INSTANCE);
}

TEST_CASE("parents of a dataset are created, a dataset is no parent") {
  const AttachedStore store;
  create("x/y/z");
  CHECK(get_type(uri_of("x/y").c_str()) == IMSS_TYPE_DATASET);
  dataset_info info{};
  REQUIRE(stat_dataset(uri_of("x/y").c_str(), &info) > 0);
  CHECK(info.is_directory == 1);
  CHECK(S_ISDIR(info.mode));
  free_dataset(&info);
  CHECK(failure(create_dataset(uri_of("x/y/z/below").c_str(), "RR", 1, 1, 1, 1)) == ENOTDIR);
  CHECK(failure(open_dataset(uri_of("x/y/z/below").c_str())) == ENOTDIR);
  CHECK(failure(open_dataset(uri_of("x/y").c_str())) == EISDIR);
  CHECK(failure(delete_dataset(uri_of("x/y").c_str())) == EISDIR);
  CHECK(failure(create_dataset(uri_of("x/y").c_str(), "RR", 1, 1, 1, 1)) == EEXIST);
  CHECK(failure(open_dataset(uri_of("x/none").c_str())) == ENOENT);
  CHECK(failure(open_dataset(uri_of("none/none").c_str())) == ENOENT);
  CHECK(failure(delete_dataset(uri_of("x/none").c_str())) == ENOENT);
}

TEST_CASE("a directory lists itself first and then what is in it") {
  const AttachedStore store;
  create("d/one");
  create("d/two");
  create("d/sub/three");
  const std::vector<std::string> expected = {uri_of("d/"), uri_of("d/one"), uri_of("d/sub/"),
                                             uri_of("d/two")};
  CHECK(list(uri_of("d")) == expected);
  const std::vector<std::string> root = {instance_uri() + "/", uri_of("d/")};
  CHECK(list(instance_uri()) == root);
  CHECK(list_failure(uri_of("none")) == ENOENT);
  CHECK(list_failure(uri_of("d/one")) == ENOTDIR);
  char* buffer = nullptr;
  char** items = nullptr;
  const std::string uri = uri_of("d");
  CHECK(failure(static_cast<std::int32_t>(get_dir(uri.c_str(), nullptr, &items))) == EINVAL);
  CHECK(failure(static_cast<std::int32_t>(get_dir(uri.c_str(), &buffer, nullptr))) == EINVAL);
  CHECK(failure(static_cast<std::int32_t>(get_dir(nullptr, &buffer, &items))) == EINVAL);
}

TEST_CASE("a directory of many names lists each once") {
  const AttachedStore store;
  constexpr int kNames = 3000;
  for (int index = 0; index < kNames; ++index) {
    const std::int32_t id = create("many/" + std::to_string(index), 1);
    REQUIRE(release_dataset(id) == 0);
  }
  std::vector<std::string> listed = list(uri_of("many"));
  CHECK(listed.size() == kNames + 1);
  CHECK(std::unique(listed.begin(), listed.end()) == listed.end());
}

TEST_CASE("directories are made, refused while not empty, and removed") {
  const AttachedStore store;
  REQUIRE(imss_mkdir(uri_of("m/n").c_str(), 0) == 0);
  CHECK(failure(imss_mkdir(uri_of("m/n").c_str(), 0)) == EEXIST);
  CHECK(failure(imss_rmdir(uri_of("m").c_str())) == ENOTEMPTY);
  create("m/n/file");
  CHECK(failure(imss_rmdir(uri_of("m/n").c_str())) == ENOTEMPTY);
  CHECK(failure(imss_rmdir(uri_of("m/n/file").c_str())) == ENOTDIR);
  REQUIRE(delete_dataset(uri_of("m/n/file").c_str()) == 0);
  CHECK(imss_rmdir(uri_of("m/n").c_str()) == 0);
  CHECK(failure(imss_rmdir(uri_of("m/n").c_str())) == ENOENT);
  CHECK(failure(imss_rmdir(instance_uri().c_str())) == EINVAL);
}

TEST_CASE("stat_dataset tells where a symbolic link leads, and open_dataset goes there") {
  const AttachedStore store;
  const std::int32_t id = create("told", 7, "BUCKETS");
  const auto session = imss::client::Session::connect({{{"localhost", 0}}, metadata_port()});
  REQUIRE(session.ok());
  REQUIRE((*session)->make_symlink("told", *imss::parse_uri(uri_of("link"))).ok());
  dataset_info info{};
  REQUIRE(stat_dataset(uri_of("link").c_str(), &info) > 0);
  CHECK(info.is_link == 1);
  CHECK(std::string(info.link) == "told");
  CHECK(S_ISLNK(info.mode));
  CHECK(free_dataset(&info) == 0);
  const std::int32_t followed = open_dataset(uri_of("link").c_str());
  CHECK(failure(followed) == 0);
  CHECK(release_dataset(followed) == 0);
  REQUIRE(release_dataset(id) == 0);
}

TEST_CASE("stat_dataset tells how a dataset was created") {
  const AttachedStore store;
  const std::int32_t id = create("told", 7, "BUCKETS");
  dataset_info info{};
  REQUIRE(stat_dataset(uri_of("told").c_str(), &info) == 2);
  CHECK(info.uri_ == uri_of("told"));
  CHECK(info.original_name == uri_of("told"));
  CHECK(std::string(info.policy) == "BUCKETS");
  CHECK(info.link == nullptr);
  CHECK(info.type == 'D');
  CHECK(info.is_directory == 0);
  CHECK(info.num_data_elem == 7);
  CHECK(info.data_elem_size == kBlockKib);
  CHECK(info.repl_factor == 1);
  CHECK(info.n_servers == 1);
  CHECK(S_ISREG(info.mode));
  CHECK(info.size == static_cast<std::int64_t>(7 * kBlockBytes));
  CHECK(free_dataset(&info) == 0);
  CHECK(free_dataset(&info) == 0);
  REQUIRE(release_dataset(id) == 0);
  REQUIRE(stat_dataset(uri_of("told").c_str(), &info) == 1);
  free_dataset(&info);
  info.num_data_elem = 77;
  CHECK(stat_dataset(uri_of("untold").c_str(), &info) == 0);
  CHECK(errno == ENOENT);
  CHECK(info.num_data_elem == 77);
  CHECK(failure(stat_dataset(uri_of("told").c_str(), nullptr)) == EINVAL);
  CHECK(failure(free_dataset(nullptr)) == EINVAL);
}

TEST_CASE("block 0 is the inner metadata") {
  const AttachedStore store;
  const std::int32_t id = create("inner", 5);
  imss_inner_metadata before{};
  REQUIRE(get_data(id, 0, &before) == 0);
  CHECK(before.layout_version == 1);
  CHECK(before.type == S_IFREG);
  CHECK(before.size == 5 * kBlockBytes);
  CHECK(before.block_size_bytes == kBlockBytes);
  CHECK(before.block_count == 5);
  CHECK(before.link_count == 1);
  CHECK(before.uid == getuid());
  CHECK(before.creation_time_ns > 1500000000LL * 1000000000LL);
  REQUIRE(set_data(id, 2, block_of(1).data(), 0, 0) == 0);
  REQUIRE(release_dataset(id) == 0);
  const std::int32_t again = open_dataset(uri_of("inner").c_str());
  REQUIRE(failure(again) == 0);
  imss_inner_metadata after{};
  REQUIRE(get_data(again, 0, &after) == 0);
  CHECK(after.size == before.size);
  CHECK(after.version >= before.version);
  CHECK(after.modification_time_ns >= before.modification_time_ns);
  CHECK(after.dataset_id == before.dataset_id);
}

TEST_CASE("a renamed dataset keeps its blocks, its ids and its original name") {
  const AttachedStore store;
  const std::int32_t id = create("old", 8, "HASH");
  REQUIRE(set_data(id, 8, block_of(2).data(), 0, 0) == 0);
  REQUIRE(imss_mkdir(uri_of("to").c_str(), 0) == 0);
  REQUIRE(rename_dataset(uri_of("old").c_str(), uri_of("to/new").c_str()) == 0);
  CHECK(get_type(uri_of("old").c_str()) == IMSS_TYPE_NONE);
  CHECK(get_block(id, 8) == block_of(2));
  const std::int32_t renamed = open_dataset(uri_of("to/new").c_str());
  REQUIRE(failure(renamed) == 0);
  CHECK(get_block(renamed, 8) == block_of(2));
  dataset_info info{};
  REQUIRE(stat_dataset(uri_of("to/new").c_str(), &info) == 2);
  CHECK(info.original_name == uri_of("old"));
  CHECK(info.uri_ == uri_of("to/new"));
  free_dataset(&info);
}

TEST_CASE("a renamed directory takes along what is below it") {
  const AttachedStore store;
  const std::int32_t id = create("p/q/r");
  REQUIRE(set_data(id, 1, block_of(3).data(), 0, 0) == 0);
  REQUIRE(rename_dataset(uri_of("p").c_str(), uri_of("s").c_str()) == 0);
  CHECK(get_type(uri_of("p/q/r").c_str()) == IMSS_TYPE_NONE);
  const std::int32_t moved = open_dataset(uri_of("s/q/r").c_str());
  REQUIRE(failure(moved) == 0);
  CHECK(get_block(moved, 1) == block_of(3));
}

TEST_CASE("a rename replaces a dataset or an empty directory and nothing else") {
  const AttachedStore store;
  const std::int32_t winner = create("winner");
  const std::int32_t loser = create("loser");
  REQUIRE(set_data(winner, 1, block_of(1).data(), 0, 0) == 0);
  REQUIRE(set_data(loser, 1, block_of(2).data(), 0, 0) == 0);
  REQUIRE(rename_dataset(uri_of("winner").c_str(), uri_of("loser").c_str()) == 0);
  const std::int32_t id = open_dataset(uri_of("loser").c_str());
  REQUIRE(failure(id) == 0);
  CHECK(get_block(id, 1) == block_of(1));
  CHECK(get_block(loser, 1) == block_of(2));  // open, so still there without a name

  REQUIRE(imss_mkdir(uri_of("empty").c_str(), 0) == 0);
  create("full/x");
  create("dir/y");
  const auto rename_failure = [](const char* from, const char* to) {
    return failure(rename_dataset(uri_of(from).c_str(), uri_of(to).c_str()));
  };
  CHECK(rename_failure("loser", "empty") == EISDIR);
  CHECK(rename_failure("dir", "loser") == ENOTDIR);
  CHECK(rename_failure("dir", "full") == ENOTEMPTY);
  CHECK(rename_failure("dir", "dir/itself") == EINVAL);
  CHECK(rename_failure("none", "other") == ENOENT);
  CHECK(rename_failure("loser", "none/other") == ENOENT);
  CHECK(failure(rename_dataset(uri_of("loser").c_str(), "imss://other/loser")) == EINVAL);
  CHECK(rename_failure("loser", "loser") == 0);
  CHECK(rename_failure("dir", "empty") == 0);
  CHECK(get_type(uri_of("empty/y").c_str()) == IMSS_TYPE_DATASET);
}

TEST_CASE("a deleted dataset is gone by name at once and readable until its last release") {
  const AttachedStore store;
  const std::int32_t first = create("deleted");
  const std::int32_t second = open_dataset(uri_of("deleted").c_str());
  REQUIRE(set_data(first, 1, block_of(5).data(), 0, 0) == 0);
  REQUIRE(delete_dataset(uri_of("deleted").c_str()) == 0);
  CHECK(get_type(uri_of("deleted").c_str()) == IMSS_TYPE_NONE);
  CHECK(failure(open_dataset(uri_of("deleted").c_str())) == ENOENT);
  CHECK(failure(delete_dataset(uri_of("deleted").c_str())) == ENOENT);

  const std::int32_t namesake = create("deleted");  // has nothing to do with the deleted one
  CHECK(get_block(namesake, 1) == block_of(0));
  REQUIRE(release_dataset(first) == 0);
  CHECK(get_block(second, 1) == block_of(5));
  REQUIRE(set_data(second, 2, block_of(6).data(), 0, 0) == 0);
  CHECK(get_block(second, 2) == block_of(6));
  REQUIRE(release_dataset(second) == 0);
  CHECK(get_block(namesake, 2) == block_of(0));
}

TEST_CASE("create_dataset_opt takes its defaults from zeros and checks its size") {
  const AttachedStore store;
  imss_dataset_options options{};
  options.struct_size = sizeof options;
  options.block_count = 3;
  options.block_size_bytes = kBlockBytes;
  const std::string uri = uri_of("options");
  REQUIRE(failure(create_dataset_opt(uri.c_str(), &options)) == 0);
  dataset_info info{};
  REQUIRE(stat_dataset(uri.c_str(), &info) == 2);
  CHECK(std::string(info.policy) == "RR");
  CHECK(info.num_data_elem == 3);
  CHECK(info.repl_factor == 1);
  CHECK((info.mode & 07777U) == 0644U);
  free_dataset(&info);

  options.size_bytes = kBlockBytes + 5;
  options.mode = 0600;
  const std::string sized = uri_of("options_sized");
  REQUIRE(failure(create_dataset_opt(sized.c_str(), &options)) == 0);
  REQUIRE(stat_dataset(sized.c_str(), &info) == 2);
  CHECK(info.size == static_cast<std::int64_t>(kBlockBytes + 5));
  CHECK((info.mode & 07777U) == 0600U);
  free_dataset(&info);

  const std::string other = uri_of("options_refused");
  CHECK(failure(create_dataset_opt(other.c_str(), nullptr)) == EINVAL);
  imss_dataset_options bad = options;
  bad.struct_size = 0;
  CHECK(failure(create_dataset_opt(other.c_str(), &bad)) == EINVAL);
  bad = options;
  bad.block_size_bytes = 1000;
  CHECK(failure(create_dataset_opt(other.c_str(), &bad)) == EINVAL);
  bad = options;
  bad.size_bytes = 3 * kBlockBytes + 1;
  CHECK(failure(create_dataset_opt(other.c_str(), &bad)) == EINVAL);
  bad = options;
  bad.block_count = std::uint64_t{1} << 31U;
  CHECK(failure(create_dataset_opt(other.c_str(), &bad)) == EINVAL);
  CHECK(get_type(other.c_str()) == IMSS_TYPE_NONE);
}

TEST_CASE("get_type tells instances and datasets from nothing") {
  const AttachedStore store;
  create("typed");
  CHECK(get_type(instance_uri().c_str()) == IMSS_TYPE_INSTANCE);
  CHECK(get_type(uri_of("typed").c_str()) == IMSS_TYPE_DATASET);
  CHECK(get_type(uri_of("untyped").c_str()) == IMSS_TYPE_NONE);
  CHECK(get_type("imss://no-such-instance") == IMSS_TYPE_NONE);
  CHECK(get_type("imss://no-such-instance/x") == IMSS_TYPE_NONE);
}
