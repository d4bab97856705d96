#include "pt2/in_place.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

#include "ir/promotion.h"

namespace portwright {
namespace {

// Those whose functional form is not called the same.
const std::map<std::string_view, std::string_view>& irregular_names() {
  static const std::map<std::string_view, std::string_view> kTable = {
      {"aten.__iand__.Scalar", "aten.bitwise_and.Scalar"},
      {"aten.__iand__.Tensor", "aten.bitwise_and.Tensor"},
      {"aten.__ior__.Scalar", "aten.bitwise_or.Scalar"},
      {"aten.__ior__.Tensor", "aten.bitwise_or.Tensor"},
      {"aten.__ixor__.Scalar", "aten.bitwise_xor.Scalar"},
      {"aten.__ixor__.Tensor", "aten.bitwise_xor.Tensor"},
      {"aten.__ilshift__.Scalar", "aten.bitwise_left_shift.Tensor_Scalar"},
      {"aten.__ilshift__.Tensor", "aten.bitwise_left_shift.Tensor"},
      {"aten.__irshift__.Scalar", "aten.bitwise_right_shift.Tensor_Scalar"},
      {"aten.__irshift__.Tensor", "aten.bitwise_right_shift.Tensor"},
      {"aten.bernoulli_.float", "aten.bernoulli.p"},
      {"aten.float_power_.Scalar", "aten.float_power.Tensor_Scalar"},
      {"aten.float_power_.Tensor", "aten.float_power.Tensor_Tensor"},
      {"aten.floor_divide_.Tensor", "aten.floor_divide.default"},
      {"aten.ldexp_.default", "aten.ldexp.Tensor"},
      {"aten.normal_.default", "aten.normal_functional.default"},
      {"aten.pow_.Scalar", "aten.pow.Tensor_Scalar"},
      {"aten.pow_.Tensor", "aten.pow.Tensor_Tensor"},
      {"aten.transpose_.default", "aten.transpose.int"},
  };
  return kTable;
}

std::string_view base_name(std::string_view op) {
  const size_t start = op.find('.') + 1;
  return op.substr(start, op.find('.', start) - start);
}

bool gives_bool(std::string_view base) {
  static const std::set<std::string_view> kNames = {
      "eq",   "ge",         "greater",     "greater_equal", "gt",         "le",
      "less", "less_equal", "logical_and", "logical_not",   "logical_or", "logical_xor",
      "lt",   "ne",         "not_equal"};
  return kNames.contains(base);
}

// Operators whose other operands are places, masks or of the same dtype.
bool keeps_dtype(std::string_view base) {
  static constexpr std::array<std::string_view, 5> kPrefixes = {"index", "masked", "put", "scatter",
                                                                "renorm"};
  return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [&](std::string_view prefix) { return base.starts_with(prefix); });
}

}  // namespace

std::optional<std::string> functional_name(const std::string& op) {
  const auto irregular = irregular_names().find(op);
  if (irregular != irregular_names().end()) return std::string(irregular->second);
  const size_t overload = op.rfind('.');
  if (overload == std::string::npos || overload < 2 || op[overload - 1] != '_') return std::nullopt;
  if (op[overload - 2] == '_') return std::nullopt;  // __and__
  return op.substr(0, overload - 1) + op.substr(overload);
}

DType computed_dtype(const Node& functional, const Graph& graph) {
  const std::string_view base = base_name(functional.op);
  if (gives_bool(base)) return DType::kBool;
  TypedOperand computed =
      typed_operand(graph.type(std::get<ValueRef>(functional.arguments.at(0)).id));
  if (keeps_dtype(base)) return computed.dtype;
  for (const Argument& argument : functional.arguments) {
    for_each_value(
        argument, [&](ValueId id) { computed = promote(computed, typed_operand(graph.type(id))); });
  }
  return computed.dtype;
}

}  // namespace portwright
