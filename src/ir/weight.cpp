#include "ir/weight.h"

#include <cstring>
#include <utility>

#include "base/error.h"

namespace portwright {
namespace {

// Copies the elements of dims [dim, rank) that start at `offset` (in elements), in row-major order.
void gather(const Weight& weight, const std::byte* data, size_t dim, int64_t offset, size_t element,
            std::byte*& target) {
  if (dim == weight.shape.size()) {
    std::memcpy(target, data + static_cast<size_t>(offset) * element, element);
    target += element;
    return;
  }
  for (int64_t i = 0; i < weight.shape[dim]; ++i) {
    gather(weight, data, dim + 1, offset + i * weight.strides[dim], element, target);
  }
}

}  // namespace

std::vector<int64_t> contiguous_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step *= shape[i] > 0 ? shape[i] : 1;
  }
  return strides;
}

Weight Weight::from_host(DType dtype, std::vector<int64_t> shape, std::vector<std::byte> bytes) {
  Weight weight;
  weight.source = std::make_shared<HostWeightSource>(std::move(bytes));
  weight.dtype = dtype;
  weight.strides = portwright::contiguous_strides(shape);
  weight.shape = std::move(shape);
  return weight;
}

int64_t Weight::numel() const {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

size_t Weight::byte_size() const { return static_cast<size_t>(numel()) * element_size(dtype); }

bool Weight::is_contiguous() const {
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;
    if (strides[i] != step) return numel() == 0;
    step *= shape[i];
  }
  return true;
}

std::span<const std::byte> Weight::contiguous_bytes() const {
  if (!is_contiguous()) throw Error(ErrorCode::kInternal, "a strided weight was read as one run");
  const std::span<const std::byte> all = source->bytes();
  const size_t start = static_cast<size_t>(storage_offset) * element_size(dtype);
  if (start + byte_size() > all.size()) {
    throw Error(ErrorCode::kCorrupt, "a weight of " + std::to_string(byte_size()) + " bytes at " +
                                         std::to_string(start) + " lies outside its source of " +
                                         std::to_string(all.size()) + " bytes");
  }
  return all.subspan(start, byte_size());
}

std::vector<std::byte> Weight::copy_bytes() const {
  if (is_contiguous()) {
    const auto bytes = contiguous_bytes();
    return {bytes.begin(), bytes.end()};
  }
  std::vector<std::byte> copy(byte_size());
  std::byte* target = copy.data();
  gather(*this, source->bytes().data(), 0, storage_offset, element_size(dtype), target);
  return copy;
}

bool same_storage(const Weight& a, const Weight& b) {
  const bool same_source =
      a.source == b.source || a.source->bytes().data() == b.source->bytes().data();
  return same_source && a.dtype == b.dtype && a.shape == b.shape && a.strides == b.strides &&
         a.storage_offset == b.storage_offset;
}

}  // namespace portwright
