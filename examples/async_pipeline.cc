// A pipeline: blocks are read ahead, changed and written behind, so that moving bytes and computing
// overlap. There are kDepth reads and kDepth writes under way, each with a buffer of its own.
//
// Usage: async_pipeline [METADATA_PORT [DATA_PORT]]
#include <array>
#include <cstdio>
#include <cstdlib>
#include <imss/imss.hpp>
#include <optional>
#include <span>
#include <vector>

namespace {

constexpr int kBlocks = 64;
constexpr int kDepth = 4;  // not more than kBlocks
constexpr std::size_t kBlockBytes = std::size_t{256} << 10U;
constexpr std::byte kMask{0x5A};

struct Slot {
  std::vector<std::byte> buffer = std::vector<std::byte>(kBlockBytes);
  std::optional<imss::Request> request;  // after the buffer: it ends first
};

void change(std::span<const std::byte> from, std::span<std::byte> to) {
  for (std::size_t index = 0; index < from.size(); ++index) to[index] = from[index] ^ kMask;
}

// Every block of `from`, changed, goes to `to`.
void run_pipeline(const imss::Dataset& from, const imss::Dataset& to) {
  std::array<Slot, kDepth> reads;
  std::array<Slot, kDepth> writes;
  for (int block = 1; block <= kDepth; ++block) {
    Slot& read = reads[static_cast<std::size_t>(block % kDepth)];
    read.request = from.get_async(block, read.buffer);
  }
  for (int block = 1; block <= kBlocks; ++block) {
    Slot& read = reads[static_cast<std::size_t>(block % kDepth)];
    Slot& write = writes[static_cast<std::size_t>(block % kDepth)];
    if (write.request) write.request->wait();  // its buffer is free from here on
    read.request->wait();
    change(read.buffer, write.buffer);
    write.request = to.set_async(block, write.buffer);
    if (block + kDepth <= kBlocks) read.request = from.get_async(block + kDepth, read.buffer);
  }
  for (Slot& write : writes) write.request->wait();
}

bool run(std::uint16_t metadata_port, std::uint16_t data_port) {
  imss::SessionOptions session_options;
  session_options.metadata_port = metadata_port;
  session_options.server = imss::AttachedServer{};
  session_options.server->port = data_port;
  imss::Session session = imss::Session::start(session_options);
  imss::InstanceOptions instance_options;
  instance_options.uri = "imss://pipeline";
  instance_options.port = data_port;
  instance_options.metadata_port = metadata_port;
  imss::Instance instance = session.deploy(instance_options);

  imss::DatasetOptions layout;
  layout.block_count = kBlocks;
  layout.block_bytes = kBlockBytes;
  imss::Dataset from = instance.create("from", layout);
  imss::Dataset to = instance.create("to", layout);
  std::vector<std::byte> block_bytes(kBlockBytes);
  for (int block = 1; block <= kBlocks; ++block) {
    for (std::byte& byte : block_bytes) byte = static_cast<std::byte>(block);
    from.set(block, block_bytes);
  }

  run_pipeline(from, to);
  std::printf("%d blocks of %zu KiB went through\n", kBlocks, kBlockBytes / 1024);
  for (int block = 1; block <= kBlocks; ++block) {
    to.get(block, block_bytes);
    for (const std::byte byte : block_bytes) {
      if (byte != (static_cast<std::byte>(block) ^ kMask)) return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool same = run(static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 5569),
                          static_cast<std::uint16_t>(argc > 2 ? std::atoi(argv[2]) : 5555));
    std::puts(same ? "ok" : "MISMATCH");
    return same ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const imss::Error& error) {
    std::fprintf(stderr, "async_pipeline: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
