// Whether tensors that are needed at the same time share memory. Looks at instructions and places
// alone, not at what the planner (executorch/lifetimes.h) knew.
#pragma once

#include "executorch/problems.h"
#include "executorch/pte_model.h"

namespace portwright {

// All indices of the method must be right.
void check_memory(const PteMethod& method, Problems& problems);

}  // namespace portwright
