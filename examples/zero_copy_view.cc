// Computing on blocks where they are: a view shows a block in the store's own memory, without a
// copy. Here a table of floats is summed through views; then a block is replaced while a view holds
// the old one.
//
// Usage: zero_copy_view [METADATA_PORT [DATA_PORT]]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <imss/imss.hpp>
#include <numeric>
#include <string>
#include <vector>

namespace {

constexpr int kBlocks = 8;
constexpr std::size_t kBlockBytes = std::size_t{1} << 20U;

imss::Session start_session(std::uint16_t metadata_port, std::uint16_t data_port) {
  imss::SessionOptions options;
  options.metadata_port = metadata_port;
  options.server = imss::AttachedServer{};
  options.server->port = data_port;
  return imss::Session::start(options);
}

imss::Instance deploy(imss::Session& session, std::uint16_t metadata_port,
                      std::uint16_t data_port) {
  imss::InstanceOptions options;
  options.uri = "imss://views";
  options.port = data_port;
  options.metadata_port = metadata_port;
  return session.deploy(options);
}

bool run(std::uint16_t metadata_port, std::uint16_t data_port) {
  // Owners: they release what they own at the end, the last made first.
  imss::Session session = start_session(metadata_port, data_port);
  imss::Instance instance = deploy(session, metadata_port, data_port);
  imss::DatasetOptions layout;
  layout.block_count = kBlocks;
  layout.block_bytes = kBlockBytes;
  const auto table = imss::TypedDataset<float>::from(instance.create("table", layout));

  std::vector<float> row(table.elements_per_block());
  for (int block = 1; block <= table.block_count(); ++block) {
    std::fill(row.begin(), row.end(), static_cast<float>(block));
    table.set(block, row);
  }

  double sum = 0;
  for (int block = 1; block <= table.block_count(); ++block) {
    const imss::TypedView<float> view = table.view(block);
    sum = std::accumulate(view.begin(), view.end(), sum);
  }
  const double expected =
      static_cast<double>(table.elements_per_block()) * kBlocks * (kBlocks + 1) / 2;
  std::printf("sum through views: %.0f, expected %.0f\n", sum, expected);

  // A whole-block set puts a new block in place of the old one; the view goes on showing the old
  // one.
  const imss::TypedView<float> before = table.view(1);
  std::fill(row.begin(), row.end(), 100.0F);
  table.set(1, row);
  const imss::TypedView<float> after = table.view(1);
  std::printf("block 1 was %.0f in version %llu, is %.0f in version %llu\n",
              static_cast<double>(before[0]), static_cast<unsigned long long>(before.version()),
              static_cast<double>(after[0]), static_cast<unsigned long long>(after.version()));
  return sum == expected && before[0] == 1.0F && after[0] == 100.0F &&
         before.version() != after.version();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool same = run(static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 5569),
                          static_cast<std::uint16_t>(argc > 2 ? std::atoi(argv[2]) : 5555));
    std::puts(same ? "ok" : "MISMATCH");
    return same ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const imss::Error& error) {
    std::fprintf(stderr, "zero_copy_view: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
