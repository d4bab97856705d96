// The external data file: where each weight lies in it, and how it gets there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/staged_file.h"
#include "onnx/checkpoint.h"
#include "onnx/model.h"

namespace portwright {

struct DataLayout {
  struct Piece {
    Weight weight;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    std::string location;     // the file; empty for our own
    std::string initializer;  // the first that it is the data of
  };

  // Weights of at least `threshold` bytes, in the model's order; tied ones share a piece. Those
  // that lie in `checkpoint` stay there. The others' pieces start at multiples of 4,096 so that a
  // runtime can map them.
  static DataLayout of(const OnnxModel& model, size_t threshold, const Checkpoint* checkpoint);
  std::optional<Piece> place_of(const std::string& initializer) const;

  bool has_own() const;

  std::string file_name;  // of our own
  std::vector<Piece> pieces;
  std::unordered_map<std::string, size_t> piece_by_name;
};

// Copies the bytes of our own pieces to their places, straight from where they lie. Gives the
// file's size.
uint64_t write_weights(const DataLayout& layout, const StagedFile& file);

}  // namespace portwright
