// Random numbers: of torch's distributions, not its sequence.
#include <algorithm>
#include <array>

#include "onnx/export.h"

#include "onnx/lowering.h"

namespace portwright {
namespace {

// Uniform in [0, 1) or standard normal numbers of a shape.
std::string drawn(const LoweringCall& call, const char* type, const std::string& shape,
                  DType dtype) {
  Emitter& e = call.emit;
  if (e.opset() > kNewestRandomOpset) {
    throw Error(ErrorCode::kUnsupported,
                "ONNX Runtime's CPU provider draws random numbers up to opset " +
                    std::to_string(kNewestRandomOpset) + " only: set opset_version to that, or " +
                    "leave it out");
  }
  const std::string like = e.op("Expand", {e.scalar(0, DType::kFloat32), shape});
  const std::string numbers = e.op(type, {like}, {{"dtype", onnx_dtype(DType::kFloat32)}});
  return e.cast(numbers, DType::kFloat32, dtype);
}

constexpr char kUniform[] = "RandomUniformLike";
constexpr char kNormal[] = "RandomNormalLike";

// rand(size, ...), randn(size, ...), rand_like(self, ...), randn_like(self, ...).
template <const char* kType>
void draw(const LoweringCall& call) {
  const TensorType& result = call.result();
  call.give(drawn(call, kType, call.emit.shape(result.shape), result.dtype));
}

std::string whole_numbers(const LoweringCall& call, const Argument& low, const Argument& high) {
  Emitter& e = call.emit;
  const DType wide = DType::kFloat64;
  const std::string from = e.tensor(low, wide);
  const std::string span = e.op("Sub", {e.tensor(high, wide), from});
  const std::string u = drawn(call, kUniform, e.shape(call.result().shape), wide);
  const std::string number = e.op("Add", {e.op("Floor", {e.op("Mul", {u, span})}), from});
  return e.cast(number, wide, call.result().dtype);
}

// randint(high, size, ...), randint_like(self, high, ...).
void below(const LoweringCall& call) { call.give(whole_numbers(call, Expr(0), call.arg(0))); }
void below_like(const LoweringCall& call) { call.give(whole_numbers(call, Expr(0), call.arg(1))); }
// randint.low(low, high, size, ...).
void between(const LoweringCall& call) { call.give(whole_numbers(call, call.arg(0), call.arg(1))); }

// bernoulli(self) and bernoulli.p(self, p): 1 with the probability.
void bernoulli_with(const LoweringCall& call, const Argument& probability) {
  Emitter& e = call.emit;
  const std::string u = drawn(call, kUniform, e.shape(call.result().shape), DType::kFloat32);
  const std::string hit = e.op("Less", {u, e.tensor(probability, DType::kFloat32)});
  call.give(e.cast(hit, DType::kBool, call.result().dtype));
}
void bernoulli(const LoweringCall& call) { bernoulli_with(call, call.arg(0)); }
void bernoulli_p(const LoweringCall& call) { bernoulli_with(call, call.arg(1)); }

// randperm(n, ...): the order of random numbers.
void permutation(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string count = e.dim(call.result().shape.at(0));
  const auto sorted = e.ops("TopK", {drawn(call, kUniform, count, DType::kFloat32), count}, 2);
  call.give(e.cast(sorted[1], DType::kInt64, call.result().dtype));
}

// multinomial(self, num_samples, replacement): without replacement the largest of log p + Gumbel
// noise, with it where uniform numbers fall in the sums of p.
void multinomial(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string p = e.tensor(call.arg(0), DType::kFloat32);
  const Expr count = std::get<Expr>(call.arg(1));
  if (!flag(call.arg(2))) {
    const std::string u = drawn(call, kUniform, e.op("Shape", {p}), DType::kFloat32);
    const std::string positive = e.op("Max", {u, e.scalar(1e-30, DType::kFloat32)});
    const std::string noise = e.op("Log", {e.op("Neg", {e.op("Log", {positive})})});
    const std::string keys = e.op("Sub", {e.op("Log", {p}), noise});
    return call.give(e.ops("TopK", {keys, e.dim(count)}, 2)[1]);
  }
  const std::string last = e.scalar(-1, DType::kInt64);
  const std::string sums = e.op("CumSum", {p, last});
  const std::string total = e.op("ReduceSum", {p, e.ints({-1})}, {{"keepdims", int64_t{1}}});
  const std::string u = drawn(call, kUniform, e.shape(call.result().shape), DType::kFloat32);
  const std::string wanted = e.unsqueeze(e.op("Mul", {u, total}), {-1});
  const std::string passed =
      e.op("GreaterOrEqual",
           {wanted, e.unsqueeze(sums, {static_cast<int64_t>(call.type(0).rank()) - 1})});
  call.give(e.op("ReduceSum", {e.cast(passed, DType::kBool, DType::kInt64), e.ints({-1})},
                 {{"keepdims", int64_t{0}}}));
}

}  // namespace

std::span<const Lowering> random_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.rand.default", draw<kUniform>},
      Lowering{"aten.rand_like.default", draw<kUniform>},
      Lowering{"aten.randn.default", draw<kNormal>},
      Lowering{"aten.randn_like.default", draw<kNormal>},
      Lowering{"aten.randint.default", below},
      Lowering{"aten.randint.low", between},
      Lowering{"aten.randint_like.default", below_like},
      Lowering{"aten.bernoulli.default", bernoulli},
      Lowering{"aten.bernoulli.p", bernoulli_p},
      Lowering{"aten.randperm.default", permutation},
      Lowering{"aten.multinomial.default", multinomial},
  };
  return kRows;
}

namespace {

bool draws(const Graph& graph) {
  return std::ranges::any_of(graph.nodes, [](const Node& node) {
    const auto same = [&](const Lowering& row) { return row.op == node.op; };
    return std::ranges::any_of(random_lowerings(), same) || std::ranges::any_of(node.graphs, draws);
  });
}

}  // namespace

int64_t default_opset(const Program& program) {
  return draws(program.graph) ? kNewestRandomOpset : kDefaultOpset;
}

}  // namespace portwright
