// Norms and activations that models write out.
#include <cmath>

#include "fusion/fusions.h"

namespace portwright {
namespace {

enum : size_t { kX, kWeight };
enum : size_t { kEpsilon };

// x / sqrt(mean(x ^ 2) + epsilon) over the last dim. Source: arXiv 1910.07467.
Pattern rms() {
  const Pattern square = one_of({op("aten.pow.Tensor_Scalar", {value(kX), equal(2)}),
                                 op("aten.mul.Tensor", {value(kX), value(kX)}),
                                 op("aten.square.default", {value(kX)})});
  const Pattern mean = op("aten.mean.dim", {square, last_dim(), equal(1)});
  const Pattern shifted = sum(mean, number(kEpsilon));
  const Pattern inverse = one_of(
      {op("aten.rsqrt.default", {shifted}), op("aten.pow.Tensor_Scalar", {shifted, equal(-0.5)})});
  return one_of({either_order("aten.mul.Tensor", value(kX), inverse),
                 op("aten.div.Tensor", {value(kX), op("aten.sqrt.default", {shifted})})});
}

bool give_rms_norm(Rewriter& out, const Node& node, const Bindings& bound, const Argument& weight) {
  const TensorType& type = out.type(bound.values[kX]);
  if (type.dtype != DType::kFloat32 || out.type(node.result()).shape != type.shape) return false;
  out.give(
      "aten.rms_norm.default",
      {ValueRef{bound.values[kX]}, IntList{type.shape.back()}, weight, bound.numbers[kEpsilon]},
      {node.result()});
  return true;
}

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). Source: arXiv 1606.08415.
Pattern tanh_gelu() {
  const Pattern cube = op("aten.pow.Tensor_Scalar", {value(kX), equal(3)});
  const Pattern bent = sum(value(kX), either_order("aten.mul.Tensor", cube, equal(0.044715)));
  const Pattern inner =
      either_order("aten.mul.Tensor", bent, equal(std::sqrt(2 / 3.14159265358979323846)));
  const Pattern gate = sum(op("aten.tanh.default", {inner}), equal(1));
  return either_order("aten.mul.Tensor", either_order("aten.mul.Tensor", value(kX), equal(0.5)),
                      gate);
}

// x (1 + erf(x / sqrt(2))) / 2, the same paper's exact form.
Pattern erf_gelu() {
  const Pattern inner =
      one_of({op("aten.div.Tensor", {value(kX), equal(std::sqrt(2.0))}),
              either_order("aten.mul.Tensor", value(kX), equal(1 / std::sqrt(2.0)))});
  const Pattern gate = sum(op("aten.erf.default", {inner}), equal(1));
  return either_order("aten.mul.Tensor", either_order("aten.mul.Tensor", value(kX), equal(0.5)),
                      gate);
}

bool give_activation(Rewriter& out, const Node& node, ValueId x, const std::string& op,
                     std::vector<Argument> more) {
  if (out.type(x).shape != out.type(node.result()).shape) return false;
  more.insert(more.begin(), ValueRef{x});
  out.give(op, std::move(more), {node.result()});
  return true;
}

}  // namespace

bool fuse_rms_norm(Rewriter& out, const Node& node) {
  static const Pattern kPlain = rms();
  static const Pattern kScaled = either_order("aten.mul.Tensor", value(kWeight), kPlain);
  Bindings bound;
  if (matches(kScaled, out.definitions(), node, bound)) {
    const TensorType& weight = out.type(bound.values[kWeight]);
    const std::vector<Expr> width = {out.type(bound.values[kX]).shape.back()};
    if (weight.shape == width && weight.dtype == DType::kFloat32) {
      return give_rms_norm(out, node, bound, ValueRef{bound.values[kWeight]});
    }
  }
  bound = {};
  return matches(kPlain, out.definitions(), node, bound) && give_rms_norm(out, node, bound, None{});
}

bool fuse_skip_norm(Rewriter& out, const Node& node) {
  const bool rms = node.op == "aten.rms_norm.default";
  if (!rms && node.op != "aten.layer_norm.default") return false;
  const Node* sum = out.definitions().of(node.arguments[0], "aten.add.Tensor");
  const auto& sizes = std::get<IntList>(node.arguments[1]);
  const bool scaled = std::holds_alternative<ValueRef>(node.arguments[2]);
  if (sum == nullptr || sizes.size() != 1 || !scaled) return false;
  const TensorType type = out.type(sum->result());
  for (const size_t i : {size_t{0}, size_t{1}}) {
    const auto* operand = std::get_if<ValueRef>(&sum->arguments[i]);
    if (operand == nullptr || out.type(operand->id).shape != type.shape) return false;
  }
  if (type.rank() != 3 || sum->arguments[2] != Argument(Expr(1))) return false;
  std::vector<Argument> arguments = {sum->arguments[0], sum->arguments[1]};
  arguments.insert(arguments.end(), node.arguments.begin() + 2,
                   node.arguments.begin() + (rms ? 4 : 5));
  const ValueId whole = out.make(type);
  out.give(rms ? "portwright.skip_rms_norm.default" : "portwright.skip_layer_norm.default",
           std::move(arguments), {node.result(), whole});
  out.replace(sum->result(), whole);
  return true;
}

bool fuse_gelu(Rewriter& out, const Node& node) {
  static const Pattern kTanh = tanh_gelu();
  static const Pattern kErf = erf_gelu();
  static const Pattern kSilu =
      either_order("aten.mul.Tensor", value(kX), op("aten.sigmoid.default", {value(kX)}));
  if (node.op != "aten.mul.Tensor") return false;
  struct Row {
    const Pattern& pattern;
    const char* op;
    std::vector<Argument> more;
  };
  const std::array<Row, 3> rows = {{{kTanh, "aten.gelu.default", {std::string("tanh")}},
                                    {kErf, "aten.gelu.default", {std::string("none")}},
                                    {kSilu, "aten.silu.default", {}}}};
  for (const Row& row : rows) {
    Bindings bound;
    if (matches(row.pattern, out.definitions(), node, bound)) {
      return give_activation(out, node, bound.values[kX], row.op, row.more);
    }
  }
  return false;
}

}  // namespace portwright
