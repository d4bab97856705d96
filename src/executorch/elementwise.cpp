#include "executorch/elementwise.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace portwright {
namespace {

using Overloads = std::unordered_set<std::string_view>;

const std::unordered_map<std::string_view, Overloads> kKernels = {
    {"aten::abs", {"out"}},
    {"aten::acos", {"out"}},
    {"aten::acosh", {"out"}},
    {"aten::add", {"out", "Scalar_out"}},
    {"aten::asin", {"out"}},
    {"aten::asinh", {"out"}},
    {"aten::atan", {"out"}},
    {"aten::atan2", {"out"}},
    {"aten::atanh", {"out"}},
    {"aten::bitwise_and", {"Tensor_out", "Scalar_out"}},
    {"aten::bitwise_not", {"out"}},
    {"aten::bitwise_or", {"Tensor_out", "Scalar_out"}},
    {"aten::bitwise_xor", {"Tensor_out", "Scalar_out"}},
    {"aten::ceil", {"out"}},
    {"aten::clamp", {"out", "Tensor_out"}},
    {"aten::cos", {"out"}},
    {"aten::cosh", {"out"}},
    {"aten::div", {"out", "out_mode", "Scalar_out", "Scalar_mode_out"}},
    {"aten::elu", {"out"}},
    {"aten::eq", {"Tensor_out", "Scalar_out"}},
    {"aten::erf", {"out"}},
    {"aten::exp", {"out"}},
    {"aten::expm1", {"out"}},
    {"aten::floor", {"out"}},
    {"aten::floor_divide", {"out"}},
    {"aten::fmod", {"Tensor_out", "Scalar_out"}},
    {"aten::gelu", {"out"}},
    {"aten::hardtanh", {"out"}},
    {"aten::leaky_relu", {"out"}},
    {"aten::log", {"out"}},
    {"aten::log10", {"out"}},
    {"aten::log1p", {"out"}},
    {"aten::log2", {"out"}},
    {"aten::logical_and", {"out"}},
    {"aten::logical_not", {"out"}},
    {"aten::logical_or", {"out"}},
    {"aten::logical_xor", {"out"}},
    {"aten::masked_fill", {"Scalar_out"}},
    {"aten::maximum", {"out"}},
    {"aten::minimum", {"out"}},
    {"aten::mul", {"out", "Scalar_out"}},
    {"aten::ne", {"Tensor_out", "Scalar_out"}},
    {"aten::neg", {"out"}},
    {"aten::pow", {"Scalar_out", "Tensor_Scalar_out", "Tensor_Tensor_out"}},
    {"aten::reciprocal", {"out"}},
    {"aten::relu", {"out"}},
    {"aten::remainder", {"Tensor_out", "Scalar_out"}},
    {"aten::round", {"out"}},
    {"aten::rsqrt", {"out"}},
    {"aten::rsub", {"Scalar_out"}},
    {"aten::sigmoid", {"out"}},
    {"aten::sign", {"out"}},
    {"aten::sin", {"out"}},
    {"aten::sinh", {"out"}},
    {"aten::sqrt", {"out"}},
    {"aten::sub", {"out", "Scalar_out"}},
    {"aten::tan", {"out"}},
    {"aten::tanh", {"out"}},
    {"aten::trunc", {"out"}},
    {"aten::where", {"self_out"}},
};

}  // namespace

bool computes_by_element(const PteOperator& kernel) {
  const auto found = kKernels.find(kernel.name);
  return found != kKernels.end() && found->second.contains(kernel.overload);
}

std::vector<std::string> elementwise_kernels() {
  std::vector<std::string> names;
  for (const auto& [name, overloads] : kKernels) {
    for (std::string_view overload : overloads)
      names.push_back(std::string(name) + "." + std::string(overload));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace portwright
