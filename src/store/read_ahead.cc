#include "store/read_ahead.h"

#include <array>

namespace imss::store {
namespace {

// Datasets (on one server) that a thread reads in turns. Few, because the memory at a fixed distance from the thread
// pointer is scarce in programs that load the library late.
constexpr std::size_t kStreams = 4;
__attribute__((tls_model("initial-exec"))) thread_local constinit std::array<ReadAhead, kStreams> streams;

// Enough to make the processor run ahead by itself within the block.
constexpr std::uint64_t kContentBytes = 256;

}  // namespace

ReadAhead& ReadAhead::of(const segment::Segment& segment, std::uint64_t dataset) {
  ReadAhead& stream = streams[(dataset + segment.serial()) % kStreams];
  if (stream.dataset_ != dataset || stream.segment_serial_ != segment.serial()) [[unlikely]] {
    stream = {};
    stream.dataset_ = dataset;
    stream.segment_serial_ = segment.serial();
  }
  return stream;
}

void ReadAhead::follow(const segment::Table& blocks, BlockId id) {
  const std::uint64_t before = next_ - step_;
  if (id.block == next_ && step_ != 0) {
    next_ += step_;
    if (steady_) {
      load(blocks, id);
      return;
    }
    steady_ = true;
    near_ = mid_ = {};
    far_ = {blocks.approach({id.dataset, next_ + 2 * step_}), nullptr};
    return;
  }
  step_ = id.block - before;
  next_ = id.block + step_;
  steady_ = false;
}

void ReadAhead::load(const segment::Table& blocks, BlockId id) {
  near_ = mid_;
  mid_ = far_;
  far_ = {blocks.approach({id.dataset, next_ + 2 * step_}), nullptr};
  if (near_.entry != nullptr) {
    const segment::Segment& segment = blocks.segment();
    const auto ref = segment::Ref(segment::Table::likely_value(*near_.entry, {id.dataset, next_})).bare();
    if (segment.valid_ref(ref)) {
      const std::byte* content = segment.base() + ref.offset();
      for (std::uint64_t at = 0; at < kContentBytes; at += kCacheLineBytes) __builtin_prefetch(content + at);
    }
  }
  if (mid_.approach.bucket != nullptr) mid_.entry = segment::Table::approach_entry(mid_.approach);
}

}  // namespace imss::store
