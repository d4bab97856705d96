#include "ir/scalar_bytes.h"

#include <cstring>
#include <string>

#include "base/error.h"

namespace portwright {
namespace {

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& items) {
  std::vector<std::byte> bytes(items.size() * sizeof(T));
  std::memcpy(bytes.data(), items.data(), bytes.size());
  return bytes;
}

// IEEE half and bfloat16 bits of a float, rounded to nearest even.
uint16_t half_bits(float value) {
  const _Float16 half = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof(bits));
  return bits;
}

uint16_t bfloat_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffffU) > 0x7f800000U) return 0x7fc0;  // NaN
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

template <typename T>
std::vector<T> elements_of(const std::vector<std::byte>& bytes) {
  std::vector<T> elements(bytes.size() / sizeof(T));
  std::memcpy(elements.data(), bytes.data(), elements.size() * sizeof(T));
  return elements;
}

[[noreturn]] void refuse_floats_of(DType dtype) {
  throw Error(ErrorCode::kInternal, "a constant of type " + std::string(to_string(dtype)) +
                                        " was taken for one of floats");
}

}  // namespace

std::vector<std::byte> scalar_bytes(double value, DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return bytes_of<float>({static_cast<float>(value)});
    case DType::kFloat64: return bytes_of<double>({value});
    case DType::kFloat16: return bytes_of<uint16_t>({half_bits(static_cast<float>(value))});
    case DType::kBFloat16: return bytes_of<uint16_t>({bfloat_bits(static_cast<float>(value))});
    case DType::kInt64: return bytes_of<int64_t>({static_cast<int64_t>(value)});
    case DType::kInt32: return bytes_of<int32_t>({static_cast<int32_t>(value)});
    case DType::kInt16: return bytes_of<int16_t>({static_cast<int16_t>(value)});
    case DType::kInt8: return bytes_of<int8_t>({static_cast<int8_t>(value)});
    case DType::kUInt8: return bytes_of<uint8_t>({static_cast<uint8_t>(value)});
    case DType::kBool: return bytes_of<uint8_t>({value != 0});
    default: break;
  }
  throw Error(ErrorCode::kUnsupported,
              "a constant of type " + std::string(to_string(dtype)) + " cannot be written");
}

std::vector<std::byte> bytes_of_floats(const std::vector<float>& values, DType dtype) {
  if (dtype == DType::kFloat32) return bytes_of(values);
  if (dtype != DType::kFloat16) refuse_floats_of(dtype);
  return bytes_of(std::vector<_Float16>(values.begin(), values.end()));
}

std::vector<float> floats_of_bytes(const std::vector<std::byte>& bytes, DType dtype) {
  if (dtype == DType::kFloat32) return elements_of<float>(bytes);
  if (dtype != DType::kFloat16) refuse_floats_of(dtype);
  const auto halves = elements_of<_Float16>(bytes);
  return {halves.begin(), halves.end()};
}

}  // namespace portwright
