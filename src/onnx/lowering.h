// The lowering table: one row per ATen operator, one file per family of operators.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "onnx/emitter.h"

namespace portwright {

// One node being lowered: its operands by position, its result types.
struct LoweringCall {
  Emitter& emit;
  const Node& node;

  const Argument& arg(size_t i) const { return node.arguments.at(i); }
  bool has(size_t i) const { return i < node.arguments.size() && !is_none(node.arguments[i]); }
  // The type of a tensor operand.
  const TensorType& type(size_t i) const { return emit.type(std::get<ValueRef>(arg(i)).id); }
  bool is_tensor(size_t i) const { return std::holds_alternative<ValueRef>(arg(i)); }
  const TensorType& result(size_t i = 0) const;
  // States the ONNX value of the node's i-th result.
  void give(const std::string& value, size_t i = 0) const;
  // The same for a result that is a list of tensors.
  void give_list(const std::vector<std::string>& values) const;
};

using LoweringFn = void (*)(const LoweringCall& call);

struct Lowering {
  std::string_view op;  // "aten.linear.default"
  LoweringFn lower;
};

// The built-in table; null when there is no row.
LoweringFn find_lowering(const std::string& op);

// One per family file.
std::span<const Lowering> activation_lowerings();
std::span<const Lowering> attention_lowerings();
std::span<const Lowering> binary_lowerings();
std::span<const Lowering> comparison_lowerings();
std::span<const Lowering> composite_lowerings();
std::span<const Lowering> convolution_lowerings();
std::span<const Lowering> counting_lowerings();
std::span<const Lowering> data_symbol_lowerings();
std::span<const Lowering> factory_lowerings();
std::span<const Lowering> fourier_lowerings();
std::span<const Lowering> indexing_lowerings();
std::span<const Lowering> linear_lowerings();
std::span<const Lowering> loop_lowerings();
std::span<const Lowering> normalization_lowerings();
std::span<const Lowering> reduction_lowerings();
std::span<const Lowering> pooling_lowerings();
std::span<const Lowering> random_lowerings();
std::span<const Lowering> recurrent_lowerings();
std::span<const Lowering> resize_lowerings();
std::span<const Lowering> sampling_lowerings();
std::span<const Lowering> scatter_lowerings();
std::span<const Lowering> shape_lowerings();
std::span<const Lowering> solving_lowerings();
std::span<const Lowering> unary_lowerings();
std::span<const Lowering> window_lowerings();

// The dtype that ATen computes a binary operator in (torch.result_type): dimensioned tensors before
// scalar tensors before Python numbers, within the higher category.
DType promoted(const LoweringCall& call, size_t a, size_t b);

}  // namespace portwright
