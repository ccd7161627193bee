// A client on another node, for tests and figures of what clients cost.
//
//   cluster_remote_client messages HOST URI    what each operation of a client costs: messages
//   sent,
//                                              messages received, payloads copied once more here
//   cluster_remote_client clients HOST URI N   connects as N clients, each with one connection to
//   the
//                                              metadata server and one to the data server, prints
//                                              "connected", and stays until standard input ends
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/session.h"
#include "net/caller.h"
#include "net/module.h"

namespace {

using namespace imss;

constexpr std::uint64_t kBlockBytes = 64 << 10;
constexpr std::uint64_t kBlocks = 16;

[[noreturn]] void stop(const char* what, const Status& status) {
  std::fprintf(stderr, "%s: %s\n", what, status.message().c_str());
  std::exit(1);
}
void must(const char* what, const Status& status) {
  if (!status.ok()) stop(what, status);
}
template <typename T>
T must(const char* what, Result<T> result) {
  if (!result.ok()) stop(what, result.status());
  return std::move(*result);
}

std::unique_ptr<client::Session> connect(const std::string& host) {
  client::ConnectOptions options;
  options.hosts = {Host{host, 0}};
  return must("connect", client::Session::connect(options));
}

net::PortCounters counters() {
  net::Module* const module = must("module", net::load_module());
  return must("caller", net::Caller::of_this_thread(*module))->counters();
}

void report(const char* name, const std::function<void()>& operation) {
  const net::PortCounters before = counters();
  operation();
  const net::PortCounters after = counters();
  std::printf("%-14s %llu %llu %llu\n", name,
              static_cast<unsigned long long>(after.messages_sent - before.messages_sent),
              static_cast<unsigned long long>(after.messages_received - before.messages_received),
              static_cast<unsigned long long>(after.payloads_copied - before.payloads_copied));
}

int messages(const std::string& host, const Uri& instance) {
  const auto session = connect(host);
  const Uri uri{instance.instance, "counted"};
  client::DatasetOptions options;
  options.block_bytes = kBlockBytes;
  options.block_count = kBlocks;
  // Everybody knows everybody.
  const std::int32_t first = must("create", session->create({instance.instance, "first"}, options));
  std::int32_t handle = 0;
  std::vector<std::byte> content(kBlockBytes * kBlocks, std::byte{7});
  const std::span<std::byte> all(content);
  client::Dataset* dataset = nullptr;
  report("create", [&] { handle = must("create", session->create(uri, options)); });
  dataset = must("find", session->find(handle));
  report("set", [&] { must("set", session->put(*dataset, 1, all.first(kBlockBytes))); });
  report("get", [&] { must("get", session->get(*dataset, 1, 0, all.first(kBlockBytes))); });
  report("get_4KiB", [&] { must("get", session->get(*dataset, 1, 0, all.first(4096))); });
  report("set_list_16", [&] {
    std::vector<client::BlockContent> list;
    for (std::uint64_t i = 0; i < kBlocks; ++i)
      list.push_back({i + 1, all.subspan(i * kBlockBytes, kBlockBytes), {}});
    must("set list", session->put_list(*dataset, list));
  });
  report("get_list_16", [&] {
    std::vector<client::BlockRange> list;
    for (std::uint64_t i = 0; i < kBlocks; ++i)
      list.push_back({i + 1, 0, all.subspan(i * kBlockBytes, kBlockBytes), {}});
    must("get list", session->get_list(*dataset, list));
  });
  report("release", [&] { must("release", session->release(handle)); });
  report("stat", [&] { (void)must("stat", session->attributes(uri)); });
  report("open", [&] { handle = must("open", session->open(uri)); });
  must("release", session->release(handle));
  report("unlink", [&] { must("unlink", session->unlink(uri)); });
  must("release", session->release(first));
  must("unlink", session->unlink({instance.instance, "first"}));
  return 0;
}

int clients(const std::string& host, const Uri& instance, int count) {
  std::vector<std::unique_ptr<client::Session>> sessions;
  const auto first = connect(host);
  client::DatasetOptions options;
  options.block_bytes = kBlockBytes;
  options.block_count = 1;
  const Uri uri{instance.instance, "shared"};
  const std::int32_t handle = must("create", first->create(uri, options));
  for (int i = 1; i < count; ++i) {
    sessions.push_back(connect(host));
    (void)must("stat", sessions.back()->attributes(uri));
  }
  std::printf("connected\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  must("release", first->release(handle));
  must("unlink", first->unlink(uri));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "Usage: %s messages|clients HOST URI [COUNT]\n", argv[0]);
    return 2;
  }
  const Uri instance = must("URI", parse_uri(argv[3]));
  if (std::strcmp(argv[1], "messages") == 0) return messages(argv[2], instance);
  return clients(argv[2], instance, argc > 4 ? std::atoi(argv[4]) : 1);
}
