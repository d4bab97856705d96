#include "onnx/lowering.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "onnx/export.h"

namespace portwright {
namespace {

std::unordered_map<std::string_view, LoweringFn> make_table() {
  std::unordered_map<std::string_view, LoweringFn> table;
  for (const auto& family :
       {activation_lowerings(), attention_lowerings(),     binary_lowerings(),
        comparison_lowerings(), composite_lowerings(),     convolution_lowerings(),
        counting_lowerings(),   data_symbol_lowerings(),   factory_lowerings(),
        fourier_lowerings(),    indexing_lowerings(),      linear_lowerings(),
        loop_lowerings(),       normalization_lowerings(), pooling_lowerings(),
        random_lowerings(),     recurrent_lowerings(),     reduction_lowerings(),
        resize_lowerings(),     sampling_lowerings(),      scatter_lowerings(),
        shape_lowerings(),      solving_lowerings(),       unary_lowerings(),
        window_lowerings()}) {
    for (const Lowering& row : family) table.emplace(row.op, row.lower);
  }
  return table;
}

const std::unordered_map<std::string_view, LoweringFn>& built_in_table() {
  static const auto kTable = make_table();
  return kTable;
}

enum Category : int { kBoolean, kInteger, kFloating, kComplexes };

Category category(DType dtype) {
  if (dtype == DType::kBool) return kBoolean;
  if (is_floating_point(dtype)) return kFloating;
  return is_complex(dtype) ? kComplexes : kInteger;
}

// The wider of two dtypes of one category.
DType wider(DType a, DType b) {
  if (a == b) return a;
  const bool halves = element_size(a) == 2 && element_size(b) == 2 && is_floating_point(a);
  if (halves) return DType::kFloat32;  // float16 with bfloat16
  if (element_size(a) == element_size(b)) {
    return a == DType::kUInt8 || b == DType::kUInt8 ? DType::kInt16 : a;
  }
  const DType wide = element_size(a) > element_size(b) ? a : b;
  return wide;
}

struct Operand {
  DType dtype;
  int rank;  // 2: a tensor with dims, 1: a scalar tensor, 0: a Python number
};

Operand operand_of(const LoweringCall& call, size_t i) {
  if (call.is_tensor(i)) {
    const TensorType& type = call.type(i);
    return {type.dtype, type.shape.empty() ? 1 : 2};
  }
  const Argument& argument = call.arg(i);
  if (std::holds_alternative<bool>(argument)) return {DType::kBool, 0};
  if (std::holds_alternative<Expr>(argument)) return {DType::kInt64, 0};
  return {DType::kFloat32, 0};
}

}  // namespace

LoweringFn find_lowering(const std::string& op) {
  auto found = built_in_table().find(op);
  return found == built_in_table().end() ? nullptr : found->second;
}

std::vector<std::string> lowered_operators() {
  std::vector<std::string> names;
  for (const auto& [name, lower] : built_in_table()) names.emplace_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

const TensorType& LoweringCall::result(size_t i) const {
  return emit.type(std::get<ValueId>(node.outputs.at(i)));
}

void LoweringCall::give(const std::string& value, size_t i) const {
  if (const auto* id = std::get_if<ValueId>(&node.outputs.at(i))) emit.bind(*id, value);
}

void LoweringCall::give_list(const std::vector<std::string>& values) const {
  const auto& ids = std::get<ValueList>(node.outputs.at(0));
  for (size_t i = 0; i < ids.size(); ++i) emit.bind(ids[i], values.at(i));
}

DType promoted(const LoweringCall& call, size_t a, size_t b) {
  const Operand x = operand_of(call, a);
  const Operand y = operand_of(call, b);
  const Category cx = category(x.dtype);
  const Category cy = category(y.dtype);
  if (x.rank == y.rank) return cx == cy ? wider(x.dtype, y.dtype) : cx > cy ? x.dtype : y.dtype;
  const Operand& high = x.rank > y.rank ? x : y;
  const Operand& low = x.rank > y.rank ? y : x;
  return category(low.dtype) > category(high.dtype) ? low.dtype : high.dtype;
}

}  // namespace portwright
