// The edge form of a Program: every node is a kernel of ExecuTorch's runtime, an aten.view, a
// binding of a symbol (ir/data_symbols.h), a loop, or a delegate.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ir/program.h"

namespace portwright {

// portwright.delegate.default(ValueList of inputs) -> ValueList: the body runs in a delegate.
inline const std::string kDelegate = "portwright.delegate.default";

inline bool is_delegate(const Node& node) { return node.op == kDelegate; }

// Error(kMissingLowering) that lists all operators without a kernel, each with the model's lines.
void lower_to_edge(Program& program);

// Operators that lower_to_edge() takes.
std::vector<std::string> edge_operators();

}  // namespace portwright
