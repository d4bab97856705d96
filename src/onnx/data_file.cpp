#include "onnx/data_file.h"

#include <algorithm>

#include "ir/placed_weights.h"

namespace portwright {
namespace {

constexpr uint64_t kAlignment = 4096;

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
  std::vector<PlacedWeight> own;
  for (const DataLayout::Piece& piece : layout.pieces) {
    if (!piece.location.empty()) continue;
    total = piece.offset + piece.bytes;
    own.push_back({&piece.weight, piece.offset});
  }
  write_weights(own, file);
  return total;
}

}  // namespace portwright
