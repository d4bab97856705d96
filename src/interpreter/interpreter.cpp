#include "interpreter/interpreter.h"

#include <ATen/core/grad_mode.h>

#include "capture/torch_weight.h"
#include "capture/traced_tensor.h"
#include "ir/data_symbols.h"
#include "ir/input_check.h"
#include "ir/symbol_values.h"

namespace portwright {
Interpreter::Interpreter(const Program& program)
    : program_(std::make_shared<const Program>(program)), user_inputs_(program_->user_inputs()) {
  const Graph& graph = program_->graph;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const InputSpec& spec = program_->inputs[i];
    if (spec.weight) weights_.emplace_back(graph.inputs[i], weight_tensor(*spec.weight));
  }
  OpCatalog catalog;
  runner_ = std::make_unique<const GraphRunner>(*program_, graph, catalog);
}

at::Tensor Interpreter::mutation_target(const std::string& name,
                                        const std::vector<at::Tensor>& inputs) const {
  for (size_t i = 0; i < user_inputs_.size(); ++i) {
    if (program_->inputs[user_inputs_[i]].target == name) return inputs[i];
  }
  for (const InputSpec& spec : program_->inputs) {
    if (spec.target == name && spec.weight) return weight_tensor(*spec.weight);
  }
  throw Error(ErrorCode::kInternal, "the mutated '" + name + "' is no input of the program");
}

std::vector<int64_t> Interpreter::check(const std::vector<at::Tensor>& inputs) const {
  std::vector<GivenInput> given;
  for (const at::Tensor& input : inputs) {
    const c10::IntArrayRef sizes = input.sizes();
    given.push_back({to_dtype(input.scalar_type()), {sizes.data(), sizes.size()}});
  }
  return check_inputs(*program_, given);
}

std::vector<std::optional<int64_t>> Interpreter::known_symbols(
    const std::vector<at::Tensor>& inputs) const {
  const std::vector<int64_t> values = check(inputs);
  std::vector<std::optional<int64_t>> known(values.begin(), values.end());
  for (SymbolId id = 0; id < known.size(); ++id) {
    if (program_->symbols->info(id).unbacked) known[id].reset();
  }
  const Graph& graph = program_->graph;
  for (const Node& node : graph.nodes) {
    const auto* ref = node.op == kBindItem ? std::get_if<ValueRef>(&node.arguments[0]) : nullptr;
    for (size_t i = 0; ref != nullptr && i < inputs.size(); ++i) {
      if (graph.inputs[user_inputs_[i]] != ref->id) continue;
      known[bound_symbol(node)] = item_bits(inputs[i]);
    }
  }
  return known;
}

Interpreter::Results Interpreter::run(const std::vector<at::Tensor>& inputs) const {
  const at::NoGradGuard no_grad;
  SymbolValues symbols(*program_->symbols, check(inputs), false);
  c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastCPU);  // casts are nodes
  const Graph& graph = program_->graph;
  std::vector<at::Tensor> values(graph.values.size());
  for (const auto& [id, tensor] : weights_) values[id] = tensor;
  for (size_t i = 0; i < inputs.size(); ++i) values[graph.inputs[user_inputs_[i]]] = inputs[i];
  runner_->run(symbols, values);

  std::vector<at::Tensor> outputs;
  std::vector<std::pair<at::Tensor, at::Tensor>> writes;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const OutputSpec& spec = program_->outputs[i];
    const at::Tensor& value = values[graph.outputs[i]];
    if (spec.kind == OutputKind::kUserOutput) {
      outputs.push_back(value);
      continue;
    }
    writes.emplace_back(mutation_target(spec.target, inputs), value);
  }
  for (auto& [target, value] : writes) target.copy_(value);
  return {std::move(outputs), {symbols.values().begin(), symbols.values().end()}};
}

}  // namespace portwright
