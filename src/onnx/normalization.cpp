// Normalisation layers.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

constexpr int64_t kRmsNormOpset = 23;

float epsilon(const LoweringCall& call, size_t i, DType dtype) {
  if (const auto given = constant_number(call.arg(i))) return static_cast<float>(*given);
  return dtype == DType::kFloat64 ? 2.220446049250313e-16F : 1.1920928955078125e-07F;
}

std::vector<int64_t> trailing_axes(size_t count) {
  std::vector<int64_t> axes;
  for (size_t i = count; i > 0; --i) axes.push_back(-static_cast<int64_t>(i));
  return axes;
}

// A tensor of ones or zeros for an affine operand that is absent.
std::string filled(Emitter& e, const std::vector<Expr>& shape, double value, DType dtype) {
  return e.op("Expand", {e.scalar(value, dtype), e.shape(shape)});
}

// layer_norm(input, normalized_shape, weight, bias, eps, cudnn_enable).
void layer_norm(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const auto& sizes = std::get<IntList>(call.arg(1));
  std::vector<std::string> operands = {e.tensor(call.arg(0))};
  operands.push_back(call.has(2) ? e.tensor(call.arg(2)) : filled(e, sizes, 1, dtype));
  if (call.has(3)) operands.push_back(e.tensor(call.arg(3)));
  call.give(
      e.op("LayerNormalization", operands,
           {{"axis", -static_cast<int64_t>(sizes.size())}, {"epsilon", epsilon(call, 4, dtype)}}));
}

// One node, of the standard or of ONNX Runtime's own, over the last dims.
void rms_norm_node(const LoweringCall& call, const std::string& op) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const auto& sizes = std::get<IntList>(call.arg(1));
  const std::string scale = call.has(2) ? e.tensor(call.arg(2)) : filled(e, sizes, 1, dtype);
  call.give(e.op(op, {e.tensor(call.arg(0)), scale},
                 {{"axis", -static_cast<int64_t>(sizes.size())},
                  {"epsilon", epsilon(call, 3, dtype)},
                  {"stash_type", int64_t{1}}}));
}

// rms_norm(input, normalized_shape, weight, eps).
void rms_norm(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const auto& sizes = std::get<IntList>(call.arg(1));
  const bool standard = e.runtime() == OnnxRuntime::kStandard || e.runtime() == OnnxRuntime::kCpu;
  if (standard && e.opset() >= kRmsNormOpset) return rms_norm_node(call, "RMSNormalization");
  if (e.runtime() != OnnxRuntime::kStandard) {
    return rms_norm_node(call, "SimplifiedLayerNormalization");
  }
  const std::string x = e.tensor(call.arg(0));
  const std::string mean =
      e.op("ReduceMean", {e.op("Mul", {x, x}), e.ints(trailing_axes(sizes.size()))});
  const std::string root =
      e.op("Sqrt", {e.op("Add", {mean, e.scalar(epsilon(call, 3, dtype), dtype)})});
  const std::string normal = e.op("Div", {x, root});
  call.give(call.has(2) ? e.op("Mul", {normal, e.tensor(call.arg(2))}) : normal);
}

// A per-channel operand [C] shaped to broadcast over [N, C, ...].
std::string per_channel(Emitter& e, const std::string& value, size_t rank) {
  std::vector<int64_t> axes;
  for (size_t i = 1; i + 1 < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  return e.unsqueeze(value, axes);
}

// group_norm(input, num_groups, weight, bias, eps, cudnn_enabled).
void group_norm(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const TensorType& type = call.type(0);
  const int64_t groups = constant_int(call.arg(1));
  const std::string x = e.tensor(call.arg(0));
  // Each group as one long channel of an instance normalisation with unit affine.
  const std::string grouped = e.op("Reshape", {x, e.ints({0, groups, -1})});
  const std::vector<Expr> channels = {groups};
  const std::string normal =
      e.op("InstanceNormalization",
           {grouped, filled(e, channels, 1, dtype), filled(e, channels, 0, dtype)},
           {{"epsilon", epsilon(call, 4, dtype)}});
  std::string result = e.op("Reshape", {normal, e.shape(type.shape)});
  if (call.has(2)) {
    result = e.op("Mul", {result, per_channel(e, e.tensor(call.arg(2)), type.rank())});
  }
  if (call.has(3)) {
    result = e.op("Add", {result, per_channel(e, e.tensor(call.arg(3)), type.rank())});
  }
  call.give(result);
}

// weight, bias, mean, var at 1..4; eps at `eps`.
void batch_norm_with(const LoweringCall& call, size_t eps) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::vector<Expr> channels = {call.type(0).shape.at(1)};
  auto operand = [&](size_t i, double fallback) {
    return call.has(i) ? e.tensor(call.arg(i)) : filled(e, channels, fallback, dtype);
  };
  call.give(
      e.op("BatchNormalization",
           {e.tensor(call.arg(0)), operand(1, 1), operand(2, 0), operand(3, 0), operand(4, 1)},
           {{"epsilon", epsilon(call, eps, dtype)}}));
}

// batch_norm(input, weight, bias, mean, var, training, momentum, eps, cudnn_enabled).
void batch_norm(const LoweringCall& call) {
  if (flag(call.arg(5))) {
    throw Error(ErrorCode::kUnsupported, "batch_norm in training mode: call model.eval()");
  }
  batch_norm_with(call, 7);
}

// _native_batch_norm_legit_no_training(input, weight, bias, mean, var, momentum, eps).
void native_batch_norm(const LoweringCall& call) { batch_norm_with(call, 6); }

// instance_norm(input, weight, bias, mean, var, use_input_stats, momentum, eps, cudnn_enabled).
void instance_norm(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::vector<Expr> channels = {call.type(0).shape.at(1)};
  const std::string scale = call.has(1) ? e.tensor(call.arg(1)) : filled(e, channels, 1, dtype);
  const std::string bias = call.has(2) ? e.tensor(call.arg(2)) : filled(e, channels, 0, dtype);
  call.give(e.op("InstanceNormalization", {e.tensor(call.arg(0)), scale, bias},
                 {{"epsilon", epsilon(call, 7, dtype)}}));
}

}  // namespace

std::span<const Lowering> normalization_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.layer_norm.default", layer_norm},
      Lowering{"aten.native_layer_norm.default", layer_norm},
      Lowering{"aten.rms_norm.default", rms_norm},
      Lowering{"aten.group_norm.default", group_norm},
      Lowering{"aten.batch_norm.default", batch_norm},
      Lowering{"aten._native_batch_norm_legit_no_training.default", native_batch_norm},
      Lowering{"aten.instance_norm.default", instance_norm},
  };
  return kRows;
}

}  // namespace portwright
