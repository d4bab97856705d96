#include "executorch/xnnpack/lowering.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <unordered_map>

namespace portwright {
namespace {

using Table = std::unordered_map<std::string_view, const XnnLowering*>;

Table make_table() {
  Table table;
  const std::array families = {
      xnn_binary_lowerings(),      xnn_unary_lowerings(),         xnn_linear_lowerings(),
      xnn_convolution_lowerings(), xnn_normalization_lowerings(), xnn_pooling_lowerings(),
      xnn_reduction_lowerings(),   xnn_shape_lowerings(),         xnn_slicing_lowerings()};
  for (const auto& family : families) {
    for (const XnnLowering& row : family) table.emplace(row.op, &row);
  }
  return table;
}

std::string_view tensor_refusal(const XnnScope& scope, ValueId id, bool result) {
  const TensorType& type = scope.type(id);
  if (type.dtype != DType::kFloat32 && type.dtype != DType::kFloat16) {
    return "a tensor is neither float32 nor float16";
  }
  if (type.rank() > kXnnMaxRank) return "a tensor has more than 6 dims";
  // A constant of rank 0 is stored as one of rank 1.
  if (type.rank() == 0 && (result || scope.constant(id) == nullptr)) return "a tensor of rank 0";
  const bool empty = std::any_of(type.shape.begin(), type.shape.end(),
                                 [](const Expr& size) { return size.is_constant(0); });
  return empty ? "a tensor is empty" : "";
}

// What the delegate's runtime asks of every tensor. Source: XNNExecutor::prepare_args, xnnpack.h.
std::string_view common_refusal(const XnnNodeView& node, bool converts) {
  std::string_view reason;
  size_t results = 0;
  std::optional<DType> first;
  const auto check = [&](ValueId id, bool result) {
    if (reason.empty()) reason = tensor_refusal(node.scope, id, result);
    const DType dtype = node.scope.type(id).dtype;
    if (!first) first = dtype;
    if (reason.empty() && !converts && dtype != *first) reason = "tensors of two dtypes";
  };
  for (const Argument& argument : node.node.arguments) {
    for_each_value(argument, [&](ValueId id) { check(id, false); });
  }
  for_each_output(node.node, [&](ValueId id) {
    ++results;
    check(id, true);
  });
  if (results == 0) return "no tensor result";
  return reason;
}

}  // namespace

const XnnLowering* find_xnn_lowering(const std::string& op) {
  static const Table kTable = make_table();
  const auto found = kTable.find(op);
  return found == kTable.end() ? nullptr : found->second;
}

bool holds(DType dtype, double number) {
  constexpr double kMost = 65504, kLeast = 0x1p-14;  // of float16's normal numbers
  if (dtype != DType::kFloat16 || number == 0 || std::isinf(number)) return true;
  return std::abs(number) >= kLeast && std::abs(number) <= kMost;
}

std::string_view xnn_refusal(const XnnNodeView& node) {
  const XnnLowering* row = find_xnn_lowering(node.node.op);
  if (row == nullptr) return "no kernel of XNNPACK";
  const std::string_view reason = common_refusal(node, row->converts);
  return reason.empty() ? row->refusal(node) : reason;
}

}  // namespace portwright
