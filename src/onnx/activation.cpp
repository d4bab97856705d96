// Activation functions and softmax.
#include <array>
#include <cmath>

#include "onnx/lowering.h"

namespace portwright {
namespace {

constexpr char kRelu[] = "Relu";
constexpr char kSigmoid[] = "Sigmoid";
constexpr char kHardSwish[] = "HardSwish";
constexpr char kSoftsign[] = "Softsign";
constexpr char kMish[] = "Mish";

template <const char* kType>
void direct(const LoweringCall& call) {
  call.give(call.emit.op(kType, {call.emit.tensor(call.arg(0), call.result().dtype)}));
}

void silu(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string x = e.tensor(call.arg(0));
  if (e.runtime() != OnnxRuntime::kStandard) {
    return call.give(e.op("com.microsoft::QuickGelu", {x}, {{"alpha", 1.0F}}));
  }
  call.give(e.op("Mul", {x, e.op("Sigmoid", {x})}));
}

void gelu(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string x = e.tensor(call.arg(0));
  const auto* mode = std::get_if<std::string>(&call.arg(1));
  const bool tanh = mode != nullptr && *mode == "tanh";
  if (e.opset() >= 20) {
    return call.give(e.op("Gelu", {x}, {{"approximate", std::string(tanh ? "tanh" : "none")}}));
  }
  std::string inner;
  if (tanh) {
    const std::string cube = e.op("Mul", {e.op("Mul", {x, x}), x});
    const std::string sum = e.op("Add", {x, e.op("Mul", {cube, e.scalar(0.044715, dtype)})});
    inner = e.op("Tanh", {e.op("Mul", {sum, e.scalar(0.79788456080286535588, dtype)})});
  } else {
    inner = e.op("Erf", {e.op("Mul", {x, e.scalar(0.70710678118654752440, dtype)})});
  }
  const std::string gate = e.op("Add", {inner, e.scalar(1, dtype)});
  call.give(e.op("Mul", {e.op("Mul", {x, e.scalar(0.5, dtype)}), gate}));
}

float number_at(const LoweringCall& call, size_t i) {
  return static_cast<float>(constant_number(call.arg(i)).value());
}

void leaky_relu(const LoweringCall& call) {
  call.give(
      call.emit.op("LeakyRelu", {call.emit.tensor(call.arg(0))}, {{"alpha", number_at(call, 1)}}));
}

// elu(self, alpha, scale, input_scale).
void elu(const LoweringCall& call) {
  if (number_at(call, 3) != 1) throw Error(ErrorCode::kUnsupported, "elu with an input_scale");
  Emitter& e = call.emit;
  const std::string x = e.op("Elu", {e.tensor(call.arg(0))}, {{"alpha", number_at(call, 1)}});
  const float scale = number_at(call, 2);
  call.give(scale == 1 ? x : e.op("Mul", {x, e.scalar(scale, call.result().dtype)}));
}

void hardsigmoid(const LoweringCall& call) {
  call.give(call.emit.op("HardSigmoid", {call.emit.tensor(call.arg(0))},
                         {{"alpha", 1.0F / 6.0F}, {"beta", 0.5F}}));
}

void hardtanh(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string low = e.op("Max", {e.tensor(call.arg(0)), e.tensor(call.arg(1), dtype)});
  call.give(e.op("Min", {low, e.tensor(call.arg(2), dtype)}));
}

void relu6(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  call.give(e.op("Min", {e.op("Relu", {e.tensor(call.arg(0))}), e.scalar(6, dtype)}));
}

// softplus(self, beta, threshold): linear above the threshold, where they agree in fp32.
void softplus(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string x = e.tensor(call.arg(0));
  const std::string beta = e.tensor(call.arg(1), dtype);
  const std::string scaled = e.op("Mul", {x, beta});
  const std::string soft = e.op("Div", {e.op("Softplus", {scaled}), beta});
  const std::string linear = e.op("Greater", {scaled, e.tensor(call.arg(2), dtype)});
  call.give(e.op("Where", {linear, x, soft}));
}

void log_sigmoid(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("Neg", {e.op("Softplus", {e.op("Neg", {e.tensor(call.arg(0))})})}));
}

template <bool kLog>
void softmax(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string x = e.tensor(call.arg(0), call.result().dtype);
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  call.give(e.op(kLog ? "LogSoftmax" : "Softmax", {x}, {{"axis", axis}}));
}

// prelu(self, weight): one slope, or one per channel (dim 1).
void prelu(const LoweringCall& call) {
  Emitter& e = call.emit;
  const TensorType& weight = call.type(1);
  std::string slope = e.tensor(call.arg(1));
  const size_t rank = call.type(0).rank();
  if (rank > 2 && !weight.shape.at(0).is_constant(1)) {
    std::vector<int64_t> axes;
    for (size_t i = 1; i + 1 < rank; ++i) axes.push_back(static_cast<int64_t>(i));
    slope = e.unsqueeze(slope, axes);
  }
  call.give(e.op("PRelu", {e.tensor(call.arg(0)), slope}));
}

// glu(self, dim): the first half times the sigmoid of the second.
void glu(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  const auto halves =
      e.ops("Split", {e.tensor(call.arg(0))}, 2, {{"axis", axis}, {"num_outputs", int64_t{2}}});
  call.give(e.op("Mul", {halves[0], e.op("Sigmoid", {halves[1]})}));
}

}  // namespace

std::span<const Lowering> activation_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.relu.default", direct<kRelu>},
      Lowering{"aten.sigmoid.default", direct<kSigmoid>},
      Lowering{"aten.hardswish.default", direct<kHardSwish>},
      Lowering{"aten.softsign.default", direct<kSoftsign>},
      Lowering{"aten.mish.default", direct<kMish>},
      Lowering{"aten.silu.default", silu},
      Lowering{"aten.gelu.default", gelu},
      Lowering{"aten.leaky_relu.default", leaky_relu},
      Lowering{"aten.elu.default", elu},
      Lowering{"aten.hardsigmoid.default", hardsigmoid},
      Lowering{"aten.hardtanh.default", hardtanh},
      Lowering{"aten.relu6.default", relu6},
      Lowering{"aten.softplus.default", softplus},
      Lowering{"aten.log_sigmoid.default", log_sigmoid},
      Lowering{"aten.softmax.int", softmax<false>},
      Lowering{"aten._softmax.default", softmax<false>},
      Lowering{"aten.log_softmax.int", softmax<true>},
      Lowering{"aten._log_softmax.default", softmax<true>},
      Lowering{"aten.prelu.default", prelu},
      Lowering{"aten._prelu_kernel.default", prelu},
      Lowering{"aten.glu.default", glu},
  };
  return kRows;
}

}  // namespace portwright
