#include "onnx/data_file.h"

#include <algorithm>

#include "base/parallel.h"

namespace portwright {
namespace {

constexpr uint64_t kAlignment = 4096;
constexpr size_t kChunk = size_t{8} << 20;

std::string identity(const Weight& weight) {
  std::string key(to_string(weight.dtype));
  auto append = [&key](int64_t value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  append(reinterpret_cast<int64_t>(weight.source->bytes().data()));
  append(weight.storage_offset);
  for (int64_t size : weight.shape) append(size);
  for (int64_t stride : weight.strides) append(stride);
  return key;
}

// One run of bytes and where it goes.
struct Chunk {
  const std::byte* data;
  size_t bytes;
  uint64_t offset;
};

}  // namespace

DataLayout DataLayout::of(const OnnxModel& model, size_t threshold, const Checkpoint* checkpoint) {
  DataLayout layout;
  std::unordered_map<std::string, size_t> seen;
  uint64_t end = 0;
  for (const OnnxInitializer& item : model.initializers) {
    const size_t bytes = item.weight.byte_size();
    if (bytes < threshold) continue;
    auto [entry, added] = seen.try_emplace(identity(item.weight), layout.pieces.size());
    if (added) {
      Piece piece{item.weight, 0, bytes, "", item.name};
      std::optional<Checkpoint::Place> place;
      if (checkpoint != nullptr && item.weight.is_contiguous()) {
        place = checkpoint->find(item.name, item.weight);
      }
      if (place) {
        piece.location = place->location;
        piece.offset = place->offset;
      } else {
        piece.offset = (end + kAlignment - 1) / kAlignment * kAlignment;
        end = piece.offset + bytes;
      }
      layout.pieces.push_back(std::move(piece));
    }
    layout.piece_by_name.emplace(item.name, entry->second);
  }
  return layout;
}

bool DataLayout::has_own() const {
  return std::any_of(pieces.begin(), pieces.end(),
                     [](const Piece& piece) { return piece.location.empty(); });
}

std::optional<DataLayout::Piece> DataLayout::place_of(const std::string& initializer) const {
  auto found = piece_by_name.find(initializer);
  if (found == piece_by_name.end()) return std::nullopt;
  return pieces[found->second];
}

uint64_t write_weights(const DataLayout& layout, const StagedFile& file) {
  uint64_t total = 0;
  std::vector<Chunk> chunks;
  for (const DataLayout::Piece& piece : layout.pieces) {
    if (!piece.location.empty()) continue;
    total = piece.offset + piece.bytes;
    if (!piece.weight.is_contiguous()) continue;
    const auto bytes = piece.weight.contiguous_bytes();
    for (size_t at = 0; at < bytes.size(); at += kChunk) {
      chunks.push_back({bytes.data() + at, std::min(kChunk, bytes.size() - at), piece.offset + at});
    }
  }
  parallel_for(chunks.size(), writer_threads(total),
               [&](size_t i) { file.write_at(chunks[i].offset, chunks[i].data, chunks[i].bytes); });
  // Strided weights are gathered one at a time.
  for (const DataLayout::Piece& piece : layout.pieces) {
    if (!piece.location.empty() || piece.weight.is_contiguous()) continue;
    const auto bytes = piece.weight.copy_bytes();
    file.write_at(piece.offset, bytes.data(), bytes.size());
  }
  return total;
}

}  // namespace portwright
