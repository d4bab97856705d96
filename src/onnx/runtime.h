// Which runtime's own operators a model may have.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fusion/fusion.h"

namespace portwright {

// ONNX Runtime's execution providers, and none: operators of the standard alone.
enum class OnnxRuntime : uint8_t { kStandard, kCpu, kCuda, kWebGpu, kDirectMl };

// "cpu", "cuda", "webgpu", "dml". Error(kInvalidArgument) for others.
OnnxRuntime runtime_named(const std::string& name);

// What can be fused for it at an opset.
FusionTarget fusion_target(OnnxRuntime runtime, int64_t opset);

}  // namespace portwright
