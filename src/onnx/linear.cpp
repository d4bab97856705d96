// Matrix products.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// linear(input, weight, bias): the weight stays as it is stored, [out, in].
void linear(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string input = e.tensor(call.arg(0));
  const std::string weight = e.tensor(call.arg(1));
  if (call.type(0).rank() == 2 && call.type(1).rank() == 2) {
    std::vector<std::string> operands = {input, weight};
    if (call.has(2)) operands.push_back(e.tensor(call.arg(2)));
    return call.give(e.op("Gemm", operands, {{"transB", int64_t{1}}}));
  }
  auto with_bias = [&](const std::string& product) {
    call.give(call.has(2) ? e.op("Add", {product, e.tensor(call.arg(2))}) : product);
  };
  if (e.runtime() != OnnxRuntime::kStandard && call.type(1).rank() == 2) {
    return with_bias(e.op("com.microsoft::FusedMatMul", {input, weight}, {{"transB", int64_t{1}}}));
  }
  const std::string transposed = call.type(1).rank() == 2 ? e.matrix_transposed(weight, 2) : weight;
  with_bias(e.op("MatMul", {input, transposed}));
}

void matmul(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("MatMul", {e.tensor(call.arg(0)), e.tensor(call.arg(1))}));
}

// beta * self + alpha * (a @ b); alpha and beta stand at 3 and 4 behind the matrices.
void add_product(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  auto scaled = [&](const std::string& value, size_t factor) {
    if (constant_number(call.arg(factor)) == 1.0) return value;
    return e.op("Mul", {value, e.tensor(call.arg(factor), dtype)});
  };
  const std::string product =
      scaled(e.op("MatMul", {e.tensor(call.arg(1)), e.tensor(call.arg(2))}), 4);
  if (constant_number(call.arg(3)) == 0.0) return call.give(product);
  call.give(e.op("Add", {product, scaled(e.tensor(call.arg(0)), 3)}));
}

void outer(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op(
      "Mul", {e.unsqueeze(e.tensor(call.arg(0)), {1}), e.unsqueeze(e.tensor(call.arg(1)), {0})}));
}

void einsum(const LoweringCall& call) {
  Emitter& e = call.emit;
  std::vector<std::string> operands;
  for (ValueId id : std::get<ValueList>(call.arg(1))) operands.push_back(e.value(id));
  call.give(e.op("Einsum", operands, {{"equation", std::get<std::string>(call.arg(0))}}));
}

}  // namespace

std::span<const Lowering> linear_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.linear.default", linear},     Lowering{"aten.matmul.default", matmul},
      Lowering{"aten.mm.default", matmul},         Lowering{"aten.bmm.default", matmul},
      Lowering{"aten.mv.default", matmul},         Lowering{"aten.dot.default", matmul},
      Lowering{"aten.addmm.default", add_product}, Lowering{"aten.baddbmm.default", add_product},
      Lowering{"aten.outer.default", outer},       Lowering{"aten.einsum.default", einsum},
  };
  return kRows;
}

}  // namespace portwright
