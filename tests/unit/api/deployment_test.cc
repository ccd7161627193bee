// Initialisation, instances and release through imss.h.
#include <cstdlib>
#include <cstring>

#include "unit/api/attached_store.h"

using namespace api_test;  // NOLINT

TEST_CASE("every call before initialisation fails with ENOTCONN or EBADF") {
  const std::string uri = instance_uri();
  const std::string path = uri_of("a");
  char* buffer = nullptr;
  char** items = nullptr;
  imss_info instance{};
  dataset_info dataset{};
  std::int32_t count = 0;
  CHECK(failure(hercules_release()) == ENOTCONN);
  CHECK(failure(stat_release()) == ENOTCONN);
  CHECK(failure(deploy()) == ENOTCONN);
  CHECK(failure(open_imss(uri.c_str())) == ENOTCONN);
  CHECK(failure(release_imss(uri.c_str(), IMSS_DISCONNECT)) == ENOTCONN);
  CHECK(failure(stat_imss(uri.c_str(), &instance)) == ENOTCONN);
  CHECK(failure(get_type(uri.c_str())) == ENOTCONN);
  CHECK(failure(static_cast<std::int32_t>(get_dir(uri.c_str(), &buffer, &items))) == ENOTCONN);
  CHECK(failure(create_dataset(path.c_str(), "RR", 1, 1, 1, 1)) == ENOTCONN);
  CHECK(failure(open_dataset(path.c_str())) == ENOTCONN);
  CHECK(failure(delete_dataset(path.c_str())) == ENOTCONN);
  CHECK(failure(stat_dataset(path.c_str(), &dataset)) == ENOTCONN);
  CHECK(failure(rename_dataset(path.c_str(), uri_of("b").c_str())) == ENOTCONN);
  CHECK(failure(imss_mkdir(path.c_str(), 0)) == ENOTCONN);
  CHECK(failure(imss_rmdir(path.c_str())) == ENOTCONN);
  CHECK(failure(get_dataloc(path.c_str(), 1, &count)) == ENOTCONN);
  CHECK(failure(release_dataset(0)) == EBADF);
  CHECK(failure(get_data(0, 1, &count)) == EBADF);
}

TEST_CASE("the version and the deadline need no initialisation") {
  CHECK(std::strlen(imss_version()) >= 5);
  CHECK(imss_last_error() != nullptr);
  CHECK(failure(imss_set_deadline_ms(0)) == EINVAL);
  CHECK(imss_set_deadline_ms(30000) == 0);
}

TEST_CASE("a server with bad parameters is refused") {
  const std::uint16_t port = data_port();
  CHECK(failure(hercules_init(0, 1 << 20, port, 1, metadata_port(), 0, nullptr)) == EINVAL);
  CHECK(failure(hercules_init(0, kStorageBytes, 0, 1, metadata_port(), 0, nullptr)) == EINVAL);
  CHECK(failure(hercules_init(0, kStorageBytes, port, 1, 0, 0, nullptr)) == EINVAL);
  const std::uint64_t more_kib = kStorageBytes / 1024 + 1;
  CHECK(failure(hercules_init(0, kStorageBytes, port, 1, metadata_port(), more_kib, nullptr)) ==
        EINVAL);
  CHECK(failure(hercules_release()) == ENOTCONN);  // nothing was started
}

TEST_CASE("each step of initialisation is refused the second time, and so is each release") {
  const std::string uri = instance_uri();
  REQUIRE(start_server() == 0);
  CHECK(failure(start_server()) == EALREADY);
  REQUIRE(stat_init(nullptr, metadata_port(), 1, 0) == 0);
  CHECK(failure(stat_init(nullptr, metadata_port(), 1, 0)) == EALREADY);
  REQUIRE(deploy() == 0);
  CHECK(failure(deploy()) == EALREADY);
  CHECK(open_imss(uri.c_str()) == -2);
  CHECK(errno == EALREADY);
  REQUIRE(release_imss(uri.c_str(), IMSS_CLOSE_ATTACHED) == 0);
  CHECK(failure(release_imss(uri.c_str(), IMSS_CLOSE_ATTACHED)) == ENOTCONN);
  REQUIRE(stat_release() == 0);
  CHECK(failure(stat_release()) == ENOTCONN);
  REQUIRE(hercules_release() == 0);
  CHECK(failure(hercules_release()) == ENOTCONN);
}

TEST_CASE("a metadata service that cannot be meant is refused") {
  REQUIRE(start_server() == 0);
  CHECK(failure(stat_init(nullptr, 0, 1, 0)) == EINVAL);
  CHECK(failure(stat_init(nullptr, 70000, 1, 0)) == EINVAL);
  CHECK(failure(stat_init(nullptr, metadata_port(), 0, 0)) == EINVAL);
  CHECK(failure(stat_init("/nonexistent/hostfile", metadata_port(), 1, 0)) == ENOENT);
  CHECK(failure(stat_release()) == ENOTCONN);
  REQUIRE(hercules_release() == 0);
}

TEST_CASE("connecting where no metadata server is ends at the deadline") {
  REQUIRE(imss_set_deadline_ms(50) == 0);
  CHECK(failure(stat_init(nullptr, metadata_port(), 1, 0)) == ETIMEDOUT);
  CHECK(imss_set_deadline_ms(30000) == 0);
}

TEST_CASE("an instance with bad parameters is refused") {
  REQUIRE(start_server() == 0);
  REQUIRE(stat_init(nullptr, metadata_port(), 1, 0) == 0);
  const auto deploy_as = [](const char* uri, const char* hostfile, int servers,
                            std::uint32_t deployment) {
    return init_imss(uri, hostfile, nullptr, servers, data_port(), 0, deployment, nullptr,
                     metadata_port());
  };
  const std::string uri = instance_uri();
  CHECK(failure(deploy_as(nullptr, nullptr, 1, IMSS_ATTACHED)) == EINVAL);
  CHECK(failure(deploy_as("", nullptr, 1, IMSS_ATTACHED)) == EINVAL);
  CHECK(failure(deploy_as("file://x", nullptr, 1, IMSS_ATTACHED)) == EINVAL);
  CHECK(failure(deploy_as(uri_of("dataset").c_str(), nullptr, 1, IMSS_ATTACHED)) == EINVAL);
  CHECK(failure(deploy_as(uri.c_str(), nullptr, 0, IMSS_ATTACHED)) == EINVAL);
  CHECK(failure(deploy_as(uri.c_str(), nullptr, -1, IMSS_ATTACHED)) == EINVAL);
  CHECK(failure(deploy_as(uri.c_str(), nullptr, 1, 2)) == EINVAL);
  CHECK(failure(deploy_as(uri.c_str(), "/nonexistent/hostfile", 1, IMSS_ATTACHED)) == ENOENT);
  const std::string long_name = "imss://" + std::string(256, 'n');
  CHECK(failure(deploy_as(long_name.c_str(), nullptr, 1, IMSS_ATTACHED)) == ENAMETOOLONG);
  CHECK(failure(open_imss(uri.c_str())) == ENOENT);
  CHECK(get_type(uri.c_str()) == IMSS_TYPE_NONE);
  REQUIRE(stat_release() == 0);
  REQUIRE(hercules_release() == 0);
}

TEST_CASE("an instance that waits for more servers than there are ends at the deadline") {
  REQUIRE(start_server() == 0);
  REQUIRE(stat_init(nullptr, metadata_port(), 1, 0) == 0);
  REQUIRE(imss_set_deadline_ms(50) == 0);
  CHECK(failure(init_imss(instance_uri().c_str(), nullptr, nullptr, 2, data_port(), 0,
                          IMSS_ATTACHED, nullptr, metadata_port())) == ETIMEDOUT);
  REQUIRE(imss_set_deadline_ms(30000) == 0);
  CHECK(deploy() == 0);  // the attempt left nothing behind
  REQUIRE(stat_release() == 0);
  REQUIRE(hercules_release() == 0);
}

TEST_CASE("an attached instance cannot be closed as a detached one and stays open") {
  const AttachedStore store;
  CHECK(failure(release_imss(instance_uri().c_str(), IMSS_CLOSE_DETACHED)) == EINVAL);
  CHECK(failure(release_imss(instance_uri().c_str(), 3)) == EINVAL);
  CHECK(failure(release_imss(nullptr, IMSS_DISCONNECT)) == EINVAL);
  CHECK(open_imss(instance_uri().c_str()) == -2);
}

TEST_CASE("stat_imss tells what was deployed and free_imss may be called twice") {
  const AttachedStore store;
  imss_info info{};
  REQUIRE(stat_imss(instance_uri().c_str(), &info) == 2);
  CHECK(info.uri_ == instance_uri());
  CHECK(info.type == 'I');
  CHECK(info.deployment == IMSS_ATTACHED);
  CHECK(info.num_storages == 1);
  CHECK(info.num_active_storages == 1);
  REQUIRE(info.ips != nullptr);
  CHECK(std::strlen(info.ips[0]) > 0);
  CHECK(info.status[0] == 1);
  CHECK(info.conn_port == data_port());
  CHECK(info.meta_port == metadata_port());
  CHECK(info.capacity_bytes <= kStorageBytes);
  CHECK(info.capacity_bytes > 0);
  CHECK(free_imss(&info) == 0);
  CHECK(info.uri_ == nullptr);
  CHECK(free_imss(&info) == 0);
  CHECK(failure(free_imss(nullptr)) == EINVAL);
  CHECK(failure(stat_imss(instance_uri().c_str(), nullptr)) == EINVAL);
}

TEST_CASE("stat_imss of an unknown instance returns 0 and leaves the structure alone") {
  const AttachedStore store;
  imss_info info{};
  info.num_storages = 77;
  CHECK(stat_imss("imss://nobody-made-this", &info) == 0);
  CHECK(errno == ENOENT);
  CHECK(info.num_storages == 77);
}

TEST_CASE("the deployed instance is found by its process and by its port") {
  const AttachedStore store;
  char* found = get_deployed();
  REQUIRE(found != nullptr);
  CHECK(found == instance_uri());
  std::free(found);
  const std::string endpoint = "localhost:" + std::to_string(data_port());
  found = get_deployed_(endpoint.c_str());
  REQUIRE(found != nullptr);
  CHECK(found == instance_uri());
  std::free(found);
  CHECK(failure(get_deployed_(nullptr)) == EINVAL);
  CHECK(failure(get_deployed_("localhost")) == EINVAL);
  CHECK(failure(get_deployed_("localhost:port")) == EINVAL);
  CHECK(failure(get_deployed_("localhost:1")) == ENOENT);
}

TEST_CASE("an instance that was disconnected can be opened again with its data") {
  const AttachedStore store;
  const std::int32_t id = create("kept");
  REQUIRE(set_data(id, 1, block_of(7).data(), 0, 0) == 0);
  REQUIRE(release_imss(instance_uri().c_str(), IMSS_DISCONNECT) == 0);
  Bytes bytes = block_of(0);
  CHECK(failure(get_data(id, 1, bytes.data())) == EBADF);  // released with the instance
  CHECK(failure(open_dataset(uri_of("kept").c_str())) == ENOTCONN);
  REQUIRE(open_imss(instance_uri().c_str()) == 0);
  const std::int32_t again = open_dataset(uri_of("kept").c_str());
  REQUIRE(failure(again) == 0);
  CHECK(get_block(again, 1) == block_of(7));
}

TEST_CASE("a store can be made, closed and made again in one process and begins empty") {
  for (int round = 0; round < 3; ++round) {
    const AttachedStore store;
    CHECK(get_type(uri_of("again").c_str()) == IMSS_TYPE_NONE);
    const std::int32_t id = create("again");
    CHECK(get_block(id, 1) == block_of(0));
    REQUIRE(set_data(id, 1, block_of(9).data(), 0, 0) == 0);
  }
}
