#include "onnx/lowering.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "ir/promotion.h"
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

TypedOperand operand_of(const LoweringCall& call, size_t i) {
  return call.is_tensor(i) ? typed_operand(call.type(i)) : typed_number(call.arg(i));
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
  return promote(operand_of(call, a), operand_of(call, b)).dtype;
}

}  // namespace portwright
