#include "executorch/xnnpack/value_range.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "ir/scalar_bytes.h"

namespace portwright {
namespace {

using Range = std::optional<ValueRange>;

constexpr int kDepth = 16;
constexpr int64_t kMostElements = int64_t{1} << 22;  // of weights that are looked through

// Operators whose elements are those of their first operand.
constexpr std::array<std::string_view, 16> kViews = {
    "aten.view.default",       "aten.reshape.default", "aten._unsafe_view.default",
    "aten.permute.default",    "aten.transpose.int",   "aten.unsqueeze.default",
    "aten.squeeze.default",    "aten.squeeze.dim",     "aten.expand.default",
    "aten.slice.Tensor",       "aten.select.int",      "aten.clone.default",
    "aten.contiguous.default", "aten.index.Tensor",    "aten.embedding.default",
    "aten.roll.default"};

bool is_float(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kFloat16; }

// A number that is past the largest one by less than half of its last place is rounded to that.
Range if_finite(const ValueRange& range, DType dtype) {
  const double most = dtype == DType::kFloat16
                          ? 65504 * (1 + 0x1p-13)
                          : static_cast<double>(std::numeric_limits<float>::max()) * (1 + 0x1p-26);
  return range.low >= -most && range.high <= most ? Range(range) : std::nullopt;
}

Range range_of(const Weight& weight) {
  if (!is_float(weight.dtype) || weight.numel() > kMostElements || weight.numel() == 0) {
    return std::nullopt;
  }
  ValueRange range{std::numeric_limits<double>::infinity(),
                   -std::numeric_limits<double>::infinity()};
  for (const float element : floats_of_bytes(weight.copy_bytes(), weight.dtype)) {
    if (std::isnan(element)) return std::nullopt;
    range = {std::min<double>(range.low, element), std::max<double>(range.high, element)};
  }
  return if_finite(range, weight.dtype);
}

Range range_of(const Definitions& definitions, const Argument& value, int depth);

using Rule = Range (*)(const ValueRange& a, const ValueRange& b);

Range sum(const ValueRange& a, const ValueRange& b) {
  return ValueRange{a.low + b.low, a.high + b.high};
}
Range difference(const ValueRange& a, const ValueRange& b) {
  return ValueRange{a.low - b.high, a.high - b.low};
}
Range reversed(const ValueRange& a, const ValueRange& b) { return difference(b, a); }
Range either(const ValueRange& a, const ValueRange& b) {
  return ValueRange{std::min(a.low, b.low), std::max(a.high, b.high)};
}
Range product(const ValueRange& a, const ValueRange& b) {
  const auto [low, high] =
      std::minmax({a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high});
  return std::isnan(low) || std::isnan(high) ? Range() : ValueRange{low, high};
}

struct Row {
  std::string_view op;
  Rule rule;
  size_t a, b;          // where the operands stand
  bool scaled = false;  // an operand behind them must be 1
};
constexpr std::array kRows = {
    Row{"aten.add.Tensor", sum, 0, 1, true},       Row{"aten.sub.Tensor", difference, 0, 1, true},
    Row{"aten.rsub.Scalar", reversed, 0, 1, true}, Row{"aten.mul.Tensor", product, 0, 1},
    Row{"aten.masked_fill.Scalar", either, 0, 2},  Row{"aten.where.self", either, 1, 2},
    Row{"aten.where.ScalarSelf", either, 1, 2},    Row{"aten.where.ScalarOther", either, 1, 2},
    Row{"aten.where.Scalar", either, 1, 2},
};

Range range_of(const Definitions& definitions, const Node& node, int depth) {
  if (std::find(kViews.begin(), kViews.end(), node.op) != kViews.end()) {
    return range_of(definitions, node.arguments[0], depth);
  }
  if (node.op == "aten._to_copy.default") {
    const DType from = definitions.type(node.arguments[0]).dtype;
    if (from == DType::kBool) return ValueRange{0, 1};
    return is_float(from) ? range_of(definitions, node.arguments[0], depth) : Range();
  }
  for (const Row& row : kRows) {
    if (row.op != node.op) continue;
    if (row.scaled && node.arguments.at(2) != Argument(Expr(1))) return std::nullopt;
    const Range a = range_of(definitions, node.arguments.at(row.a), depth);
    const Range b = range_of(definitions, node.arguments.at(row.b), depth);
    return a && b ? row.rule(*a, *b) : Range();
  }
  return std::nullopt;
}

Range range_of(const Definitions& definitions, const Argument& value, int depth) {
  if (const auto* number = std::get_if<double>(&value)) return ValueRange{*number, *number};
  if (const auto* number = std::get_if<Expr>(&value)) {
    const auto constant = number->maybe_constant();
    if (!constant) return std::nullopt;
    return ValueRange{static_cast<double>(*constant), static_cast<double>(*constant)};
  }
  if (depth == 0 || !std::holds_alternative<ValueRef>(value)) return std::nullopt;
  if (const Weight* weight = definitions.weight(value)) return range_of(*weight);
  const Node* node = definitions.of(value);
  const Range range = node == nullptr ? Range() : range_of(definitions, *node, depth - 1);
  return range ? if_finite(*range, definitions.type(value).dtype) : Range();
}

}  // namespace

std::optional<ValueRange> value_range(const Definitions& definitions, const Argument& value) {
  return range_of(definitions, value, kDepth);
}

}  // namespace portwright
