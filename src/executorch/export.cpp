#include "executorch/export.h"

#include <utility>

#include "executorch/branches.h"
#include "executorch/edge/edge.h"
#include "executorch/emitter.h"
#include "executorch/record.h"
#include "executorch/xnnpack/delegate.h"
#include "executorch/xnnpack/partition.h"
#include "executorch/xnnpack_payload.h"
#include "fusion/fusion.h"
#include "passes/complex_pairs.h"
#include "passes/pass.h"

namespace portwright {
namespace {

LoweredDelegate lower_delegate(const Program& program, const Node& node, const Bounds& bounds) {
  XnnDelegate made = lower_to_xnnpack(program, node, bounds);
  return {{kXnnpackBackend, std::move(made.payload), {}},
          std::move(made.named_data),
          std::move(made.inputs)};
}

constexpr uint64_t kLargePlan = uint64_t{4} << 30;  // bytes that a phone does not have

void note_large_plan(const PteMethod& method, std::vector<std::string>& notes) {
  uint64_t bytes = 0;
  for (uint64_t size : method.arena_sizes) bytes += size;
  if (bytes < kLargePlan) return;
  notes.push_back("the runtime will ask for " + std::to_string(bytes >> 20) +
                  " MiB of planned memory when it loads the program: state smaller bounds with "
                  "Dim(max=) or ExecutorchConfig.upper_bounds");
}

// The nodes in the order in which they are emitted.
std::vector<Branch> arrange_branches(Graph& graph) {
  BranchPlan plan = find_branches(graph);
  std::vector<Node> nodes;
  nodes.reserve(plan.order.size());
  for (const size_t i : plan.order) nodes.push_back(std::move(graph.nodes[i]));
  graph.nodes = std::move(nodes);
  return std::move(plan.branches);
}

void check_states(const PteMethod& method, const AllocationOptions& options) {
  if (options.mutable_buffers) return;
  for (const PteValue& value : method.values) {
    const auto* tensor = std::get_if<PteTensor>(&value);
    if (tensor == nullptr || !tensor->is_state) continue;
    throw Error(
        ErrorCode::kUnsupported,
        "the model writes to a buffer, and ExecuTorch's runtime takes no memory for buffers "
        "from its caller: leave alloc_mutable_buffers=True");
  }
}

}  // namespace

ExecutorchExport lower_to_executorch(const Program& program, const ExecutorchOptions& options) {
  ExecutorchExport result;
  Program edge = program;
  if (has_complex_values(edge)) complex_to_pairs(edge);
  for (const std::string& note : fuse(edge, FusionTarget{})) result.notes.push_back(note);
  const Bounds bounds = choose_bounds(edge, options.bounds, result.notes);
  const bool xnnpack = options.backend == ExecutorchBackend::kXnnpack;
  if (xnnpack) partition_for_xnnpack(edge, bounds);
  lower_to_edge(edge);
  eliminate_dead_code(edge);
  eliminate_common_subexpressions(edge);

  PteMethod method;
  method.name = options.method;
  PteEmitter emitter(edge, bounds, arrange_branches(edge.graph), result.model, method);
  if (xnnpack) emitter.set_delegate_lowering(lower_delegate);
  emitter.emit();
  check_states(method, options.allocation);
  allocate_memory(method, options.allocation);
  note_large_plan(method, result.notes);
  result.model.methods.push_back(std::move(method));
  std::vector<std::string> notes = options.notes;
  notes.insert(notes.end(), result.notes.begin(), result.notes.end());
  result.symbols = program.symbols;
  result.bounds = bounds_of_dims(*program.symbols, bounds);
  result.record = pte_record(program, result.bounds, notes, options.versions);
  add_record(result.model, result.record);
  return result;
}

}  // namespace portwright
