// What is left after releases, in unusual orders and in fork children.
#include <sys/wait.h>

#include <cstdlib>
#include <thread>

#include "unit/api/attached_store.h"

using namespace api_test;  // NOLINT

namespace {

std::int32_t deploy_as(const std::string& uri) {
  return init_imss(uri.c_str(), nullptr, nullptr, 1, data_port(), 0, IMSS_ATTACHED, nullptr,
                   metadata_port());
}

// A second process, made while this one has no threads yet, which runs `body` when it is told to.
class SecondProcess {
 public:
  template <typename Body>
  explicit SecondProcess(Body body) {
    REQUIRE(pipe(go_) == 0);
    child_ = fork();
    REQUIRE(child_ >= 0);
    if (child_ != 0) return;
    char byte = 0;
    _exit(read(go_[0], &byte, 1) == 1 ? body() : 99);
  }
  // Its exit code.
  int run() {
    REQUIRE(write(go_[1], "", 1) == 1);
    int status = -1;
    REQUIRE(waitpid(child_, &status, 0) == child_);
    for (const int fd : go_) close(fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  int go_[2];
  pid_t child_ = -1;
};

}  // namespace

TEST_CASE("a closed instance can be deployed again by the same server and begins empty") {
  const AttachedStore store;
  const std::string uri = instance_uri();
  const std::int32_t id = create("before");
  REQUIRE(set_data(id, 1, block_of(1).data(), 0, 0) == 0);
  REQUIRE(release_imss(uri.c_str(), IMSS_CLOSE_ATTACHED) == 0);
  CHECK(get_type(uri.c_str()) == IMSS_TYPE_NONE);
  REQUIRE(failure(deploy()) == 0);
  CHECK(get_type(uri_of("before").c_str()) == IMSS_TYPE_NONE);
  CHECK(get_block(create("before"), 1) == block_of(0));
}

TEST_CASE("closing one of two instances of a server leaves the other as it was") {
  const AttachedStore store;
  const std::string other = instance_uri() + "-other";
  REQUIRE(failure(deploy_as(other)) == 0);
  const std::int32_t kept = create("kept");
  const std::int32_t lost = create_dataset((other + "/lost").c_str(), "RR", 4, kBlockKib, 1, 1);
  REQUIRE(failure(lost) == 0);
  REQUIRE(set_data(kept, 1, block_of(1).data(), 0, 0) == 0);
  REQUIRE(set_data(lost, 1, block_of(2).data(), 0, 0) == 0);
  REQUIRE(release_imss(other.c_str(), IMSS_CLOSE_ATTACHED) == 0);
  Bytes bytes = block_of(0);
  CHECK(failure(get_data(lost, 1, bytes.data())) == EBADF);
  CHECK(get_type(other.c_str()) == IMSS_TYPE_NONE);
  CHECK(get_block(kept, 1) == block_of(1));
}

TEST_CASE("hercules_release alone releases everything") {
  REQUIRE(failure(start_server()) == 0);
  REQUIRE(failure(stat_init(nullptr, metadata_port(), 1, 0)) == 0);
  REQUIRE(failure(deploy()) == 0);
  const std::int32_t id = create("open");
  REQUIRE(hercules_release() == 0);
  Bytes bytes = block_of(0);
  CHECK(failure(get_data(id, 1, bytes.data())) == EBADF);
  CHECK(failure(release_dataset(id)) == EBADF);
  CHECK(failure(stat_release()) == ENOTCONN);
  CHECK(failure(get_deployed()) == ENOENT);
}

TEST_CASE("a server starts before the metadata server and is joined by stat_init") {
  REQUIRE(failure(hercules_init(3, kStorageBytes, data_port(), 0, metadata_port(), 0, nullptr)) ==
          0);
  REQUIRE(imss_set_deadline_ms(50) == 0);
  CHECK(failure(stat_init(nullptr, metadata_port(), 1, 3)) == ETIMEDOUT);
  REQUIRE(imss_set_deadline_ms(30000) == 0);
  REQUIRE(hercules_release() == 0);
}

TEST_CASE("a second process with the same rank or metadata port is refused") {
  const std::uint16_t metadata = metadata_port();
  const std::uint16_t data = data_port();
  const auto start_as = [=](int deploy_metadata) {
    return failure(hercules_init(0, kStorageBytes, data, deploy_metadata, metadata, 0, nullptr));
  };
  SecondProcess same_rank([=] { return start_as(0); });
  SecondProcess same_port([=] { return start_as(1); });
  const AttachedStore store;
  CHECK(same_rank.run() == EBUSY);
  CHECK(same_port.run() == EBUSY);
  CHECK(get_block(create("unharmed"), 1) == block_of(0));
}

TEST_CASE("views and results outlive the release of what they came from") {
  imss_block_view view{};
  imss_request* request = nullptr;
  Bytes out = block_of(0);
  {
    const AttachedStore store;
    const std::int32_t id = create("outlived");
    REQUIRE(set_data(id, 1, block_of(7).data(), 0, 0) == 0);
    REQUIRE(imss_view(id, 1, &view) == 0);
    request = iget_data(id, 1, out.data());
    REQUIRE(request != nullptr);
    REQUIRE(release_dataset(id) == 0);  // waits for the request
    CHECK(out == block_of(7));
  }
  CHECK(static_cast<const unsigned char*>(view.data)[kBlockBytes - 1] == 7);
  CHECK(imss_view_release(&view) == 0);
  CHECK(imss_wait(&request) == 0);
}

TEST_CASE("a view is released by another thread, also when its own has ended") {
  const AttachedStore store;
  const std::int32_t id = create("threads");
  REQUIRE(set_data(id, 1, block_of(3).data(), 0, 0) == 0);
  imss_block_view view{};
  std::thread([&] { imss_view(id, 1, &view); }).join();
  REQUIRE(view.data != nullptr);
  imss_block_view mine{};
  REQUIRE(imss_view(id, 1, &mine) == 0);
  CHECK(imss_view_release(&view) == 0);
  for (int round = 0; round < 200; ++round) {
    REQUIRE(set_data(id, 1, block_of(4).data(), 0, 0) == 0);
  }
  CHECK(static_cast<const unsigned char*>(mine.data)[0] == 3);  // its pin is another one
  CHECK(imss_view_release(&mine) == 0);
}

// The sanitizers cannot start threads, or have held their own locks, in a child of several threads.
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("a fork child keeps a dataset without a name open and runs no servers") {
  const AttachedStore store;
  const std::int32_t id = create("shared");
  REQUIRE(set_data(id, 1, block_of(5).data(), 0, 0) == 0);
  int to_child[2];
  int to_parent[2];
  REQUIRE(pipe(to_child) == 0);
  REQUIRE(pipe(to_parent) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    Bytes bytes = block_of(0);
    char byte = 0;
    // The first call adopts what was inherited; then the parent deletes and releases.
    const bool adopted = get_data(id, 1, bytes.data()) == 0;
    const bool told = write(to_parent[1], &byte, 1) == 1 && read(to_child[0], &byte, 1) == 1;
    bytes = block_of(0);
    const bool there = get_data(id, 1, bytes.data()) == 0 && bytes == block_of(5);
    imss_request* request = iget_data(id, 1, bytes.data());
    const bool waited = request != nullptr && imss_wait(&request) == 0;
    const bool no_servers = failure(hercules_release()) == ENOTCONN;
    const bool released = release_dataset(id) == 0 && stat_release() == 0;
    _exit(adopted && told && there && waited && no_servers && released ? 0 : 1);
  }
  char byte = 0;
  REQUIRE(read(to_parent[0], &byte, 1) == 1);
  REQUIRE(delete_dataset(uri_of("shared").c_str()) == 0);
  REQUIRE(release_dataset(id) == 0);
  REQUIRE(write(to_child[1], &byte, 1) == 1);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  for (const int fd : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(fd);
  CHECK(get_block(create("after"), 1) == block_of(0));  // the servers are still there
}
#endif
