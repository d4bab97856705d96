// When the tensors of a method live, and their places in its arenas.
#pragma once

#include <vector>

#include "executorch/memory_plan.h"
#include "executorch/pte_model.h"

namespace portwright {

struct AllocationOptions {
  // Whether inputs and outputs lie in the arena; otherwise the caller brings their memory.
  bool graph_input = true;
  bool graph_output = true;
  bool mutable_buffers = true;
};

// Gives every tensor that needs one a place: intermediate results in arena 1, mutable buffers
// (those with an initial state) in arena 2. Results of executorch_prim::et_view have none: they
// share the memory of what they are views of, which lives as long as they do.
// A result may lie where an operand of its kernel lay that nothing reads afterwards.
void allocate_memory(PteMethod& method, const AllocationOptions& options);

struct PlannedTensor {
  MemoryRequest request;
  uint64_t offset = 0;  // in arena 1
};
// What lies in arena 1 of a method after allocate_memory.
std::vector<PlannedTensor> planned_tensors(const PteMethod& method);

}  // namespace portwright
