// Weights by reference: the bytes stay where they are (a torch storage, a file, or a buffer of the
// program) and are read once, by the writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ir/dtype.h"

namespace portwright {

// A run of bytes that outlives every Weight that points into it.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // All bytes of the source. Error(kIo) when a file behind it changed or cannot be mapped.
  virtual std::span<const std::byte> bytes() const = 0;
};

// A source that owns its bytes: folded constants, and tests.
class HostWeightSource final : public WeightSource {
 public:
  explicit HostWeightSource(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  std::span<const std::byte> bytes() const override { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// A strided tensor in a source. Two weights are tied when source, offset, shape, strides and dtype
// are the same (see same_storage).
struct Weight {
  std::shared_ptr<const WeightSource> source;
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
  int64_t storage_offset = 0;    // in elements

  static Weight from_host(DType dtype, std::vector<int64_t> shape, std::vector<std::byte> bytes);

  int64_t numel() const;
  size_t byte_size() const;  // of the elements, as if contiguous
  bool is_contiguous() const;
  // The elements in row-major order: a view of the source when contiguous, else Error(kInternal).
  std::span<const std::byte> contiguous_bytes() const;
  // The elements in row-major order, gathered when the weight is strided.
  std::vector<std::byte> copy_bytes() const;
};

bool same_storage(const Weight& a, const Weight& b);
std::vector<int64_t> contiguous_strides(std::span<const int64_t> shape);

}  // namespace portwright
