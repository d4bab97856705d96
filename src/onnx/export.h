// From Program to an ONNX model in memory.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/program.h"
#include "onnx/model.h"
#include "onnx/runtime.h"

namespace portwright {

inline constexpr int64_t kOldestOpset = 18;
inline constexpr int64_t kNewestOpset = 28;   // that ONNX Runtime 1.32 runs
inline constexpr int64_t kDefaultOpset = 23;  // that older ones and other tools read, too
inline constexpr int64_t kNewestRandomOpset =
    21;  // that ONNX Runtime's CPU provider has kernels for

// kDefaultOpset, or an older one at which ONNX Runtime runs all of the program's operators.
int64_t default_opset(const Program& program);

struct LoweringCall;  // onnx/lowering.h

// Lowerings of a caller's own, by operator ("library.op.default").
using OwnLowerings = std::map<std::string, std::function<void(const LoweringCall&)>>;

struct OnnxOptions {
  int64_t opset = kDefaultOpset;
  // false: parameters and buffers become graph inputs under their names, without data.
  bool export_params = true;
  // true: initializers are graph inputs too, which a caller may override.
  bool keep_initializers_as_inputs = false;
  // false: operators of bfloat16 are written as such; ONNX Runtime's CPU provider has few of them.
  bool bfloat16_in_float32 = true;
  // Fuse composites into operators that the opset has, or `runtime` itself.
  bool fuse = false;
  OnnxRuntime runtime = OnnxRuntime::kStandard;
  // Further metadata_props.
  std::map<std::string, std::string> metadata;
  // What the capture decided, and the libraries that took part: for the record (onnx/record.h).
  std::vector<std::string> notes;
  std::map<std::string, std::string> versions;
  // Come before the built-in table.
  OwnLowerings lowerings;
};

// The operators of the built-in table.
std::vector<std::string> lowered_operators();

// Lowers every node. Error(kInvalidArgument) for an opset outside [18, 28];
// Error(kMissingLowering) that lists all operators without a lowering, each with the model's lines
// and modules; Error(kUnsupported) for an operator whose operands cannot be expressed.
OnnxModel lower(const Program& program, const OnnxOptions& options);

}  // namespace portwright
