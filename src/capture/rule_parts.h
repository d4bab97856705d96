// What the shape rules are written with.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "capture/shape_math.h"
#include "capture/tracer.h"

namespace portwright {

using Arguments = std::vector<Argument>;
using Rule = std::optional<ResultTypes>;

inline Rule one(TensorType type) {
  ResultType result;
  result.types.push_back(normalized(std::move(type)));
  return ResultTypes{std::move(result)};
}

inline Rule one(DType dtype, Shape shape) { return one(TensorType{dtype, std::move(shape), {}}); }

inline const TensorType* tensor_type(Tracer& tracer, const Argument& argument) {
  const auto* ref = std::get_if<ValueRef>(&argument);
  return ref == nullptr ? nullptr : &tracer.type(ref->id);
}

inline std::optional<int64_t> constant_int(const Argument& argument) {
  const auto* expr = std::get_if<Expr>(&argument);
  return expr == nullptr ? std::nullopt : expr->maybe_constant();
}

inline Rule list_of(std::vector<TensorType> types) {
  ResultType result;
  result.is_list = true;
  result.types = std::move(types);
  return ResultTypes{std::move(result)};
}

struct RuleFamily {
  ShapeRule rule;
  std::vector<std::string_view> ops;  // without overload: all of them
};

const std::vector<RuleFamily>& data_rule_families();   // data_rules.cpp
const std::vector<RuleFamily>& layer_rule_families();  // layer_rules.cpp

}  // namespace portwright
