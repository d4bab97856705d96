// Operators that write to their first operand, and those that compute what they write. Internal to
// this folder.
#pragma once

#include <optional>
#include <string>

#include "ir/program.h"

namespace portwright {

// "aten.add_.Tensor" -> "aten.add.Tensor"; nothing when it is no in-place name.
std::optional<std::string> functional_name(const std::string& op);

// The dtype of what the functional form gives, which the write casts to that of the first operand.
DType computed_dtype(const Node& functional, const Graph& graph);

}  // namespace portwright
