#include "ir/placed_weights.h"

#include <algorithm>

#include "base/parallel.h"

namespace portwright {
namespace {

constexpr size_t kChunk = size_t{8} << 20;

// One run of bytes and where it goes.
struct Chunk {
  const std::byte* data;
  size_t bytes;
  uint64_t offset;
};

}  // namespace

void write_weights(std::span<const PlacedWeight> weights, const StagedFile& file) {
  uint64_t total = 0;
  std::vector<Chunk> chunks;
  for (const PlacedWeight& placed : weights) {
    if (!placed.weight->is_contiguous()) continue;
    const auto bytes = placed.weight->contiguous_bytes();
    total += bytes.size();
    for (size_t at = 0; at < bytes.size(); at += kChunk) {
      chunks.push_back(
          {bytes.data() + at, std::min(kChunk, bytes.size() - at), placed.offset + at});
    }
  }
  parallel_for(chunks.size(), writer_threads(total),
               [&](size_t i) { file.write_at(chunks[i].offset, chunks[i].data, chunks[i].bytes); });
  for (const PlacedWeight& placed : weights) {
    if (placed.weight->is_contiguous()) continue;
    const auto bytes = placed.weight->copy_bytes();
    file.write_at(placed.offset, bytes.data(), bytes.size());
  }
}

}  // namespace portwright
