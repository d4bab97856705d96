// The values that traced tensors have for the sample inputs, computed when the model asks for one:
// the nodes that a value needs run for real, at the symbols' hints.
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "capture/graph_runner.h"
#include "capture/tracer.h"
#include "ir/data_symbols.h"
#include "ir/loop_node.h"

namespace portwright {
namespace {

constexpr c10::DispatchKey kTracerKey = c10::DispatchKey::TESTING_ONLY_GenericMode;

// Larger results are computed again when they are asked for again.
constexpr int64_t kKeptElements = 1 << 16;

}  // namespace

torch::jit::Stack Tracer::run_on_samples(const OpInfo& op, const std::vector<Argument>& arguments) {
  std::vector<ValueId> wanted;
  for (const Argument& argument : arguments) {
    for_each_value(argument, [&](ValueId id) { wanted.push_back(id); });
  }
  std::unordered_map<ValueId, at::Tensor> values = sample_all(wanted);
  return run_with(op, arguments, values);
}

at::Tensor Tracer::sample(ValueId id) { return sample_all({id}).at(id); }

torch::jit::Stack Tracer::run_with(const OpInfo& op, const std::vector<Argument>& arguments,
                                   const std::unordered_map<ValueId, at::Tensor>& values) {
  const at::NoGradGuard no_grad;
  const c10::DispatchKeySet off{kTracerKey, c10::DispatchKey::AutocastCPU};
  c10::impl::ExcludeDispatchKeyGuard exclude(off);
  const std::function<at::Tensor(ValueId)> tensor = [&](ValueId id) { return values.at(id); };
  torch::jit::Stack stack;
  for (size_t i = 0; i < arguments.size(); ++i) {
    stack.push_back(to_ivalue(arguments[i], op.operands[i], symbols().hints(), tensor));
  }
  op.handle.callBoxed(stack);
  return stack;
}

// All rounds of a loop; `values` has what it reads.
std::unordered_map<ValueId, at::Tensor> Tracer::sample_loop(
    const Node& node, const std::unordered_map<ValueId, at::Tensor>& values) {
  const at::NoGradGuard no_grad;
  c10::impl::ExcludeDispatchKeyGuard exclude(kTracerKey);
  Graph graph;
  graph.values = program_->graph.values;
  graph.nodes = {node};
  std::vector<at::Tensor> tensors(graph.values.size());
  for (const auto& [id, tensor] : values) tensors[id] = tensor;
  for_each_output(node, [&](ValueId id) { graph.outputs.push_back(id); });
  const std::span<const int64_t> hints = symbols().hints();
  SymbolValues known(symbols(), {hints.begin(), hints.end()}, true);
  GraphRunner(*program_, graph, catalog_).run(known, tensors);
  std::unordered_map<ValueId, at::Tensor> results;
  for (ValueId id : graph.outputs) results.emplace(id, tensors[id]);
  return results;
}

void Tracer::find_producers() {
  const Graph& graph = program_->graph;
  for (; producers_known_ < graph.nodes.size(); ++producers_known_) {
    for_each_output(graph.nodes[producers_known_],
                    [&](ValueId id) { producers_[id] = producers_known_; });
  }
}

std::unordered_map<ValueId, at::Tensor> Tracer::sample_all(const std::vector<ValueId>& wanted) {
  const Graph& graph = program_->graph;
  find_producers();
  std::unordered_map<ValueId, at::Tensor> values;
  std::vector<bool> needed(graph.nodes.size(), false);
  std::vector<ValueId> open = wanted;
  while (!open.empty()) {
    const ValueId id = open.back();
    open.pop_back();
    if (id == kNoValue || values.contains(id)) continue;
    if (auto known = samples_.find(id); known != samples_.end()) {
      values.emplace(id, known->second);
    } else if (const at::Tensor* tensor = constant(id)) {
      values.emplace(id, *tensor);
    } else if (auto first = initial_of_.find(id); first != initial_of_.end()) {
      values.emplace(id, sample(first->second));
    } else {
      const size_t node = producers_.at(id);
      if (needed[node]) continue;
      needed[node] = true;
      for (const Argument& argument : graph.nodes[node].arguments) {
        for_each_value(argument, [&](ValueId operand) { open.push_back(operand); });
      }
    }
  }
  for (size_t i = 0; i < needed.size(); ++i) {
    if (!needed[i] || binds_symbol(graph.nodes[i])) continue;
    const Node& node = graph.nodes[i];
    auto keep = [&](ValueId id, const at::Tensor& tensor) {
      values[id] = tensor;
      if (tensor.numel() <= kKeptElements) samples_[id] = tensor;
    };
    if (is_loop(node)) {
      for (const auto& [id, tensor] : sample_loop(node, values)) keep(id, tensor);
      continue;
    }
    const torch::jit::Stack results =
        run_with(catalog_.find(runnable_name(node.op)), node.arguments, values);
    for (size_t j = 0; j < node.outputs.size(); ++j) {
      if (const auto* id = std::get_if<ValueId>(&node.outputs[j])) {
        keep(*id, results.at(j).toTensor());
      } else if (const auto* list = std::get_if<ValueList>(&node.outputs[j])) {
        const std::vector<at::Tensor> tensors = results.at(j).toTensorVector();
        for (size_t k = 0; k < list->size(); ++k) keep((*list)[k], tensors.at(k));
      }
    }
  }
  return values;
}

}  // namespace portwright
