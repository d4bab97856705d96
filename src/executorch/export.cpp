#include "executorch/export.h"

#include <utility>

#include "executorch/edge/edge.h"
#include "executorch/emitter.h"
#include "fusion/fusion.h"
#include "passes/complex_pairs.h"
#include "passes/pass.h"

namespace portwright {

ExecutorchExport lower_to_executorch(const Program& program, const ExecutorchOptions& options) {
  ExecutorchExport result;
  Program edge = program;
  if (has_complex_values(edge)) complex_to_pairs(edge);
  fuse(edge, FusionTarget{});
  const Bounds bounds = choose_bounds(edge, options.bounds, result.notes);
  lower_to_edge(edge);
  eliminate_dead_code(edge);
  eliminate_common_subexpressions(edge);

  PteMethod method;
  method.name = options.method;
  PteEmitter emitter(edge, bounds, result.model, method);
  emitter.emit();
  allocate_memory(method, options.allocation);
  result.model.methods.push_back(std::move(method));
  return result;
}

}  // namespace portwright
