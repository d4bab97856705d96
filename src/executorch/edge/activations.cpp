// Activations that the runtime has no kernel for.
#include <array>

#include "executorch/edge/lowering.h"

namespace portwright {
namespace {

ValueId clamped(const EdgeCall& call, ValueId x, double low, double high) {
  return call.out.add("aten.clamp.default", {ValueRef{x}, low, high}, call.out.type(x));
}

void silu(const EdgeCall& call) {
  const ValueId x = call.tensor(0);
  call.as("aten.mul.Tensor", {ValueRef{x}, ValueRef{call.out.unary("aten.sigmoid.default", x)}});
}

// min(max(x + 3, 0), 6) / 6
ValueId hard_gate(const EdgeCall& call, ValueId x) {
  const ValueId gate = clamped(call, call.out.plus(x, 3.0), 0, 6);
  return call.out.with_number("aten.mul.Scalar", gate, 1.0 / 6);
}

void hardsigmoid(const EdgeCall& call) { call.give(hard_gate(call, call.tensor(0))); }

void hardswish(const EdgeCall& call) {
  const ValueId x = call.tensor(0);
  call.as("aten.mul.Tensor", {ValueRef{x}, ValueRef{hard_gate(call, x)}});
}

// log(1 + exp(beta * x)) / beta, and x itself beyond the threshold.
void softplus(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId x = call.tensor(0);
  const double beta = call.number(1, 1);
  const double threshold = call.number(2, 20);
  const ValueId scaled = out.with_number("aten.mul.Scalar", x, beta);
  const ValueId soft = out.with_number(
      "aten.mul.Scalar", out.unary("aten.log1p.default", out.unary("aten.exp.default", scaled)),
      1 / beta);
  const ValueId large = out.compared("aten.gt.Scalar", scaled, threshold);
  call.as("aten.where.self", {ValueRef{large}, ValueRef{x}, ValueRef{soft}});
}

void relu6(const EdgeCall& call) { call.as("aten.clamp.default", {call.arg(0), 0.0, 6.0}); }

// min(x, 0) - log(1 + exp(-|x|))
void log_sigmoid(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId x = call.tensor(0);
  const ValueId below = out.add("aten.clamp.default", {ValueRef{x}, None{}, 0.0}, out.type(x));
  const ValueId tail =
      out.unary("aten.log1p.default",
                out.unary("aten.exp.default",
                          out.unary("aten.neg.default", out.unary("aten.abs.default", x))));
  call.as("aten.sub.Tensor", {ValueRef{below}, ValueRef{tail}, Expr(1)});
}

// x where x > 0, else weight * x; one weight, or one for each channel (dim 1).
void prelu(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId x = call.tensor(0);
  ValueId weight = call.tensor(1);
  const std::vector<Expr>& shape = out.type(weight).shape;
  const bool by_channel = shape.size() == 1 && !shape[0].is_constant(1);
  if (by_channel && out.type(x).rank() > 1) {
    std::vector<Expr> wide(out.type(x).rank(), 1);
    wide[1] = shape[0];
    weight = out.view(weight, wide);
  }
  const ValueId positive = out.compared("aten.gt.Scalar", x, 0.0);
  const ValueId scaled = out.binary("aten.mul.Tensor", x, weight);
  call.as("aten.where.self", {ValueRef{positive}, ValueRef{x}, ValueRef{scaled}});
}

}  // namespace

std::span<const EdgeLowering> activation_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.silu.default", silu},
      EdgeLowering{"aten.hardsigmoid.default", hardsigmoid},
      EdgeLowering{"aten.hardswish.default", hardswish},
      EdgeLowering{"aten.softplus.default", softplus},
      EdgeLowering{"aten.relu6.default", relu6},
      EdgeLowering{"aten.log_sigmoid.default", log_sigmoid},
      EdgeLowering{"aten._prelu_kernel.default", prelu},
      EdgeLowering{"aten.prelu.default", prelu},
  };
  return kRows;
}

}  // namespace portwright
