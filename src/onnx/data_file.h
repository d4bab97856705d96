// The external data file: where each weight lies in it, and how it gets there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "onnx/model.h"

namespace portwright {

// A file that is written beside its final name and renamed when it is whole. Removed again when it
// is destroyed before commit(). All failures are Error(kIo) with the path and the system's reason.
class StagedFile {
 public:
  StagedFile() = default;
  StagedFile(StagedFile&& other) noexcept { swap(other); }
  StagedFile& operator=(StagedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~StagedFile();

  static StagedFile create(const std::string& path);
  void write_at(uint64_t offset, const void* data, size_t bytes) const;
  void commit();

 private:
  void swap(StagedFile& other) noexcept;
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_, staged_path_;
  int descriptor_ = -1;
};

struct DataLayout {
  struct Piece {
    Weight weight;
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  // Weights of at least `threshold` bytes, in the model's order; tied ones share a piece. Pieces
  // start at multiples of 4,096 so that a runtime can map them.
  static DataLayout of(const OnnxModel& model, size_t threshold);
  std::optional<Piece> place_of(const std::string& initializer) const;

  std::string file_name;
  std::vector<Piece> pieces;
  std::unordered_map<std::string, size_t> piece_by_name;
};

// Copies the weights' bytes to their places, straight from where they lie. Gives the file's size.
uint64_t write_weights(const DataLayout& layout, const StagedFile& file);

}  // namespace portwright
