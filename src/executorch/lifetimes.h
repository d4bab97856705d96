// When the tensors of a method live, and their places in its arenas.
#pragma once

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
void allocate_memory(PteMethod& method, const AllocationOptions& options);

}  // namespace portwright
