// The operators of a program that a format has nothing for, and where the model uses them.
#pragma once

#include <functional>
#include <string>

#include "ir/program.h"

namespace portwright {

// Error(kMissingLowering) unless `knows` every node: "2 operator(s) <what>:", each with the model's
// lines and modules, and what to do. Looks into bodies of nodes that `enters` says to.
void check_operators(const Program& program, const std::string& what,
                     const std::function<bool(const Node&)>& knows,
                     const std::function<bool(const Node&)>& enters);

}  // namespace portwright
