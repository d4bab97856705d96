#include "executorch/lifetimes.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace portwright {
namespace {

constexpr uint32_t kActivations = 1;
constexpr uint32_t kMutableBuffers = 2;

// Calls visit(PteId) for each tensor among a value's parts.
template <typename Visitor>
void for_each_tensor(const PteMethod& method, PteId id, Visitor&& visit) {
  if (id == kNoPteValue) return;
  const PteValue& value = method.values.at(id);
  if (std::holds_alternative<PteTensor>(value)) {
    visit(id);
  } else if (const auto* list = std::get_if<PteTensorList>(&value)) {
    for (PteId item : list->items) for_each_tensor(method, item, visit);
  } else if (const auto* optional = std::get_if<PteOptionalTensorList>(&value)) {
    for (PteId item : optional->items) for_each_tensor(method, item, visit);
  }
}

const std::vector<PteId>& args_of(const PteInstruction& instruction) {
  static const std::vector<PteId> kNone;
  if (const auto* call = std::get_if<PteKernelCall>(&instruction)) return call->args;
  if (const auto* call = std::get_if<PteDelegateCall>(&instruction)) return call->args;
  return kNone;
}

bool is_view(const PteMethod& method, const PteInstruction& instruction) {
  const auto* call = std::get_if<PteKernelCall>(&instruction);
  return call != nullptr && method.operators.at(call->op).name == "executorch_prim::et_view";
}

uint64_t bytes_of(const PteTensor& tensor) {
  uint64_t count = element_size(tensor.dtype);
  for (int32_t size : tensor.sizes) count *= static_cast<uint64_t>(size);
  return count;
}

class Lifetimes {
 public:
  explicit Lifetimes(const PteMethod& method)
      : method_(method), owner_(method.values.size()), spans_(method.values.size()) {
    for (size_t i = 0; i < owner_.size(); ++i) owner_[i] = static_cast<PteId>(i);
    for (PteId id : method.inputs) use(id, 0);
    for (size_t i = 0; i < method.instructions.size(); ++i) {
      const PteInstruction& instruction = method.instructions[i];
      const auto at = static_cast<uint32_t>(i);
      if (is_view(method, instruction)) {
        const std::vector<PteId>& args = args_of(instruction);
        owner_.at(args.at(2)) = owner_.at(args.at(0));
      }
      for (PteId id : args_of(instruction)) use(id, at);
      if (const auto* move = std::get_if<PteMoveCall>(&instruction)) {
        use(move->from, at);
        use(move->to, at);
      }
    }
    const auto end = static_cast<uint32_t>(method.instructions.size());
    for (PteId id : method.outputs) use(id, end);
    extend_over_loops();
  }

  bool is_own(PteId id) const { return owner_.at(id) == id; }
  PteId owner(PteId id) const { return owner_.at(id); }
  bool is_used(PteId id) const { return spans_.at(id).used; }
  MemoryRequest request(PteId id, uint64_t bytes) const {
    return {bytes, spans_.at(id).first, spans_.at(id).last};
  }

 private:
  struct Span {
    bool used = false;
    uint32_t first = 0, last = 0;
  };

  void use(PteId id, uint32_t at) {
    for_each_tensor(method_, id, [&](PteId tensor) {
      Span& span = spans_.at(owner_.at(tensor));
      if (!span.used) span = {true, at, at};
      span.last = std::max(span.last, at);
    });
  }

  // What is there before a loop and read in it is there in every round.
  void extend_over_loops() {
    for (size_t i = method_.instructions.size(); i-- > 0;) {
      const auto* jump = std::get_if<PteJumpFalse>(&method_.instructions[i]);
      if (jump == nullptr || jump->destination > i) continue;
      for (Span& span : spans_) {
        const bool enters = span.used && span.first < jump->destination &&
                            span.last >= jump->destination && span.last < i;
        if (enters) span.last = static_cast<uint32_t>(i);
      }
    }
  }

  const PteMethod& method_;
  std::vector<PteId> owner_;
  std::vector<Span> spans_;
};

// The tensors that the caller brings memory for.
std::unordered_set<PteId> brought(const PteMethod& method, const Lifetimes& lifetimes,
                                  const AllocationOptions& options) {
  std::unordered_set<PteId> ids;
  if (!options.graph_input) ids.insert(method.inputs.begin(), method.inputs.end());
  if (!options.graph_output) {
    for (PteId id : method.outputs) ids.insert(lifetimes.owner(id));
  }
  return ids;
}

// By request: the one in whose place its tensor may be written, as an operand that ends there.
std::vector<std::optional<size_t>> replaced_requests(const PteMethod& method,
                                                     const Lifetimes& lifetimes,
                                                     const std::vector<PteId>& ids,
                                                     const std::vector<MemoryRequest>& requests) {
  std::unordered_map<PteId, size_t> index;
  for (size_t i = 0; i < ids.size(); ++i) index[ids[i]] = i;
  std::vector<std::optional<size_t>> replaced(ids.size());
  for (uint32_t at = 0; at < method.instructions.size(); ++at) {
    const auto* call = std::get_if<PteKernelCall>(&method.instructions[at]);
    if (call == nullptr || call->replaceable.empty()) continue;
    const auto result = index.find(call->args.back());
    if (result == index.end() || requests[result->second].first != at) continue;
    for (PteId operand : call->replaceable) {
      const auto base = index.find(lifetimes.owner(operand));
      const bool ends = base != index.end() && requests[base->second].first < at &&
                        requests[base->second].last == at;
      if (ends) replaced[result->second] = base->second;
    }
  }
  return replaced;
}

void place(PteMethod& method, uint32_t arena, const std::vector<PteId>& ids,
           const MemoryPlan& plan) {
  if (ids.empty()) return;
  for (size_t i = 0; i < ids.size(); ++i)
    std::get<PteTensor>(method.values.at(ids[i])).allocation = {arena, plan.offsets[i]};
  if (method.arena_sizes.size() <= arena) method.arena_sizes.resize(arena + 1);
  method.arena_sizes[arena] = plan.bytes;
}

}  // namespace

void allocate_memory(PteMethod& method, const AllocationOptions& options) {
  const Lifetimes lifetimes(method);
  const std::unordered_set<PteId> given = brought(method, lifetimes, options);
  std::vector<PteId> activations, buffers;
  std::vector<MemoryRequest> activation_requests, buffer_requests;
  const auto always = static_cast<uint32_t>(method.instructions.size());
  for (PteId id = 0; id < static_cast<PteId>(method.values.size()); ++id) {
    const auto* tensor = std::get_if<PteTensor>(&method.values[id]);
    if (tensor == nullptr || !lifetimes.is_own(id) || given.contains(id)) continue;
    if (tensor->is_state) {
      if (!options.mutable_buffers) continue;
      buffers.push_back(id);
      buffer_requests.push_back({bytes_of(*tensor), 0, always});
    } else if (!tensor->data && !tensor->is_callers && lifetimes.is_used(id)) {
      activations.push_back(id);
      activation_requests.push_back(lifetimes.request(id, bytes_of(*tensor)));
    }
  }
  const auto replaced = replaced_requests(method, lifetimes, activations, activation_requests);
  place(method, kActivations, activations, plan_memory(activation_requests, replaced));
  place(method, kMutableBuffers, buffers, plan_memory(buffer_requests));
}

std::vector<PlannedTensor> planned_tensors(const PteMethod& method) {
  const Lifetimes lifetimes(method);
  std::vector<PlannedTensor> found;
  for (PteId id = 0; id < static_cast<PteId>(method.values.size()); ++id) {
    const auto* tensor = std::get_if<PteTensor>(&method.values[id]);
    if (tensor == nullptr || !tensor->allocation || tensor->allocation->arena != kActivations)
      continue;
    found.push_back({lifetimes.request(id, bytes_of(*tensor)), tensor->allocation->offset});
  }
  return found;
}

}  // namespace portwright
