// A delegate node as the runtime takes it.
#pragma once

#include <string>
#include <vector>

#include "executorch/bounds.h"
#include "executorch/pte_model.h"
#include "executorch/xnnpack/scope.h"

namespace portwright {

struct XnnDelegate {
  std::string payload;                   // of a PteDelegate for kXnnpackBackend
  std::vector<PteNamedData> named_data;  // what the payload asks for
  // The delegate call's arguments, of the graph that the node is in: those of the node's that are
  // no constants, in their order; the node's results follow them in the call.
  std::vector<ValueId> inputs;
};

// Weights of one storage have one key in all delegates of a program.
XnnDelegate lower_to_xnnpack(const Program& program, const Node& delegate, const Bounds& bounds);

}  // namespace portwright
