// Kernels that compute each element of their result from the elements of the operands at the same
// place alone, so that the result may lie where an operand of its sizes and dtype lay.
#pragma once

#include <string>
#include <vector>

#include "executorch/pte_model.h"

namespace portwright {

bool computes_by_element(const PteOperator& kernel);
// "aten::add.out", ..., sorted.
std::vector<std::string> elementwise_kernels();

}  // namespace portwright
