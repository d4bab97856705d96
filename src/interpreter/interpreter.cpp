#include "interpreter/interpreter.h"

#include <ATen/core/grad_mode.h>

#include "capture/torch_weight.h"
#include "capture/traced_tensor.h"
#include "ir/data_symbols.h"
#include "ir/symbol_values.h"
#include "symbolic/linear.h"

namespace portwright {
namespace {

std::string shape_text(const std::vector<Expr>& shape) {
  std::string text = "[";
  for (const Expr& size : shape) text += (text.size() > 1 ? ", " : "") + to_string(size);
  return text + "]";
}

std::string size_text(const Expr& size, std::span<const int64_t> values) {
  const std::string value = std::to_string(evaluate(size, values));
  return size.is_constant() ? value : to_string(size) + " = " + value;
}

// The guard by which the dim of this origin equals a constant, or an expression of other dims.
const Guard* equality_of(const std::string& origin, const SymbolTable& symbols) {
  for (const Guard& guard : symbols.guards()) {
    if (guard.predicate.kind() != Predicate::Kind::kInteger ||
        guard.predicate.relation() != Relation::kEq ||
        symbols.resolve(guard.predicate).maybe_constant() != true) {
      continue;  // no equality that was learnt
    }
    bool found = false;
    guard.predicate.for_each_symbol([&](SymbolId id) {
      found = found || (symbols.info(id).origin == origin && symbols.replacement(id));
    });
    if (found) return &guard;
  }
  return nullptr;
}

// The guard that took this value out of the symbol's range.
const Guard* excluder(SymbolId id, int64_t value, const SymbolTable& symbols) {
  for (const Narrowing& narrowing : symbols.narrowings()) {
    if (narrowing.symbol == id && narrowing.before.contains(value) &&
        !narrowing.after.contains(value)) {
      return &narrowing.guard;
    }
  }
  return nullptr;
}

}  // namespace

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

std::vector<int64_t> Interpreter::bind_symbols(const std::vector<at::Tensor>& inputs) const {
  const SymbolTable& symbols = *program_->symbols;
  std::vector<int64_t> values(symbols.hints().begin(), symbols.hints().end());
  std::vector<bool> bound(values.size(), false);
  const Graph& graph = program_->graph;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorType& type = graph.type(graph.inputs[user_inputs_[i]]);
    const std::string& name = program_->inputs[user_inputs_[i]].target;
    if (to_dtype(inputs[i].scalar_type()) != type.dtype) {
      throw Error(ErrorCode::kInvalidArgument,
                  "input '" + name + "' has dtype " +
                      std::string(to_string(to_dtype(inputs[i].scalar_type()))) +
                      ", the program takes " + std::string(to_string(type.dtype)));
    }
    if (inputs[i].dim() != static_cast<int64_t>(type.rank())) {
      throw Error(ErrorCode::kInvalidArgument, "input '" + name + "' has rank " +
                                                   std::to_string(inputs[i].dim()) +
                                                   ", the program takes " + shape_text(type.shape));
    }
  }
  // Symbols that are dims first, then those that are only in derived ones (2 * rows + 1).
  for (const bool derived : {false, true}) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const TensorType& type = graph.type(graph.inputs[user_inputs_[i]]);
      for (size_t d = 0; d < type.rank(); ++d) {
        const auto form = as_linear(type.shape[d]);
        if (!form || bound[form->symbol] || type.shape[d].symbol().has_value() == derived) continue;
        const int64_t multiple = inputs[i].size(static_cast<int64_t>(d)) - form->offset;
        if (multiple % form->factor != 0) continue;  // the check below says so
        values[form->symbol] = multiple / form->factor;
        bound[form->symbol] = true;
      }
    }
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorType& type = graph.type(graph.inputs[user_inputs_[i]]);
    const std::string& name = program_->inputs[user_inputs_[i]].target;
    for (size_t d = 0; d < type.rank(); ++d) {
      const int64_t size = inputs[i].size(static_cast<int64_t>(d));
      if (evaluate(type.shape[d], values) == size) continue;
      const auto form = as_linear(type.shape[d]);
      const std::string problem =
          "input '" + name + "' has size " + std::to_string(size) + " in dim " + std::to_string(d) +
          ", the program needs " +
          (form && !bound[form->symbol] ? to_string(type.shape[d])
                                        : size_text(type.shape[d], values)) +
          " there";
      const Guard* guard =
          equality_of(name + ".size(" + std::to_string(d) + ")", *program_->symbols);
      if (guard == nullptr) {
        throw Error(ErrorCode::kGuardViolated,
                    problem + "; export with that dim dynamic, or pass such an input");
      }
      throw Error(ErrorCode::kGuardViolated,
                  problem + ": the model needs " + to_string(guard->predicate), guard->source,
                  guard->module_path);
    }
  }
  return values;
}

void Interpreter::check_guards(std::span<const int64_t> values) const {
  const SymbolTable& symbols = *program_->symbols;
  for (SymbolId id = 0; id < symbols.size(); ++id) {
    if (symbols.replacement(id)) continue;
    const SymbolInfo& info = symbols.info(id);
    if (info.unbacked || info.range.contains(values[id])) continue;
    const std::string problem = "dim '" + info.name + "' (" + info.origin + ") is " +
                                std::to_string(values[id]) + ", the program takes " +
                                to_string(info.range);
    const Guard* guard = excluder(id, values[id], symbols);
    if (guard == nullptr) throw Error(ErrorCode::kGuardViolated, problem);
    throw Error(ErrorCode::kGuardViolated,
                problem + ": the model needs " + to_string(guard->predicate), guard->source,
                guard->module_path);
  }
  for (const Guard& guard : symbols.guards()) {
    if (!about_data(guard.predicate, symbols)) check_guard(guard, symbols, values);
  }
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
  if (inputs.size() != user_inputs_.size()) {
    throw Error(ErrorCode::kInvalidArgument,
                "the program takes " + std::to_string(user_inputs_.size()) + " tensors, " +
                    std::to_string(inputs.size()) + " were given");
  }
  std::vector<int64_t> symbols = bind_symbols(inputs);
  check_guards(symbols);
  return symbols;
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
