// Nodes whose lowering is written later, into the finished model: by translations in Python.
#pragma once

#include "onnx/lowering.h"

namespace portwright {

inline constexpr const char* kPlaceholderDomain = "portwright.placeholder";

// A lowering for any operator: a node of the type `node.op` in kPlaceholderDomain that has all
// tensors of the operands as its inputs. Its attribute "arguments" is a JSON list with an entry per
// argument of the schema: null, a bool, a number, a string, {"type": onnx dtype} for a dtype,
// {"input": index, "dtype": onnx dtype, "shape": [3, "s0"]} for a tensor or a symbolic number, and
// lists of these. "outputs" is a list of the results' dtypes and shapes in the same form.
// Error(kUnsupported) for a symbolic condition.
void lower_as_placeholder(const LoweringCall& call);

}  // namespace portwright
