#include "interpreter/interpreter.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>

#include "capture/torch_weight.h"
#include "capture/tracer.h"
#include "ir/data_symbols.h"
#include "ir/loop_node.h"

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

std::string values_of(const Predicate& predicate, const SymbolTable& symbols,
                      std::span<const int64_t> values) {
  std::string text;
  predicate.for_each_symbol([&](SymbolId id) {
    const SymbolInfo& info = symbols.info(id);
    text += (text.empty() ? "" : ", ") + info.name + " = " + std::to_string(values[id]);
    if (!info.origin.empty()) text += " (" + info.origin + ")";
  });
  return text;
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
  block_ = prepared(graph, catalog);
}

Interpreter::Block Interpreter::prepared(const Graph& graph, OpCatalog& catalog) {
  Block block{&graph, {}};
  std::vector<bool> used_later(graph.values.size(), false);
  for (ValueId id : graph.outputs) used_later[id] = true;
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    Step step{std::nullopt, {}, &node, {}, nullptr};
    if (is_loop(node)) {
      step.body = std::make_shared<const Block>(prepared(node.graphs.at(0), catalog));
    } else if (!binds_symbol(node)) {
      const OpInfo& info = catalog.find(runnable_name(node.op));
      step.op = info.handle;
      step.operands = info.operands;
    }
    auto note = [&](ValueId id) {
      if (!used_later[id]) step.last_uses.push_back(id);
      used_later[id] = true;
    };
    for (const Argument& argument : node.arguments) for_each_value(argument, note);
    for_each_output(node, note);
    block.steps.push_back(std::move(step));
  }
  std::reverse(block.steps.begin(), block.steps.end());
  return block;
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
    for (size_t d = 0; d < type.rank(); ++d) {
      const auto id = type.shape[d].symbol();
      if (!id || bound[*id]) continue;
      values[*id] = inputs[i].size(static_cast<int64_t>(d));
      bound[*id] = true;
    }
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorType& type = graph.type(graph.inputs[user_inputs_[i]]);
    const std::string& name = program_->inputs[user_inputs_[i]].target;
    for (size_t d = 0; d < type.rank(); ++d) {
      const int64_t size = inputs[i].size(static_cast<int64_t>(d));
      if (evaluate(type.shape[d], values) == size) continue;
      throw Error(ErrorCode::kGuardViolated,
                  "input '" + name + "' has size " + std::to_string(size) + " in dim " +
                      std::to_string(d) + ", the program needs " +
                      size_text(type.shape[d], values) +
                      " there; export with that dim dynamic, or pass such an input");
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
    throw Error(ErrorCode::kGuardViolated, "dim '" + info.name + "' (" + info.origin + ") is " +
                                               std::to_string(values[id]) + ", the program takes " +
                                               to_string(info.range));
  }
  for (const Guard& guard : symbols.guards()) {
    if (!about_data(guard.predicate, symbols)) check_guard(guard, values);
  }
}

void Interpreter::check_guard(const Guard& guard, std::span<const int64_t> values) const {
  const SymbolTable& symbols = *program_->symbols;
  // An unbacked symbol has its own value from the data, whatever it was found to equal.
  const Predicate predicate = guard.predicate.substitute([&](SymbolId id) {
    return symbols.info(id).unbacked ? std::nullopt : symbols.replacement(id);
  });
  if (predicate.evaluate(values)) return;
  throw Error(ErrorCode::kGuardViolated,
              "the program was captured for inputs with " + to_string(guard.predicate) + ", but " +
                  values_of(predicate, symbols, values),
              guard.source, guard.module_path);
}

void Interpreter::check_data_guards(std::span<const int64_t> values,
                                    const std::vector<bool>& bound) const {
  const SymbolTable& symbols = *program_->symbols;
  for (const Guard& guard : symbols.guards()) {
    bool known = about_data(guard.predicate, symbols);
    guard.predicate.for_each_symbol([&](SymbolId id) { known = known && bound[id]; });
    if (known) check_guard(guard, values);
  }
}

// Reads what a binding node defines.
int64_t Interpreter::read_symbol(const Node& node, const std::vector<at::Tensor>& values) const {
  const at::Tensor& tensor = values[std::get<ValueRef>(node.arguments[0]).id];
  if (node.op == kBindSize) return tensor.size(std::get<Expr>(node.arguments[1]).constant());
  return tensor.item().to<int64_t>();
}

void Interpreter::run_step(const Step& step, std::span<const int64_t> symbols,
                           std::vector<at::Tensor>& values) const {
  torch::jit::Stack stack;
  stack.reserve(step.operands.size());
  const std::function<at::Tensor(ValueId)> tensor = [&](ValueId id) { return values[id]; };
  for (size_t i = 0; i < step.operands.size(); ++i) {
    stack.push_back(to_ivalue(step.node->arguments[i], step.operands[i], symbols, tensor));
  }
  try {
    step.op->callBoxed(stack);
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::kInvalidArgument,
                step.node->op + " failed: " + error.what_without_backtrace(),
                program_->source(*step.node), program_->module_path(*step.node));
  }
  for (size_t i = 0; i < step.node->outputs.size(); ++i) {
    const Output& output = step.node->outputs[i];
    if (const auto* id = std::get_if<ValueId>(&output)) {
      values[*id] = stack.at(i).toTensor();
    } else if (const auto* list = std::get_if<ValueList>(&output)) {
      const std::vector<at::Tensor> tensors = stack.at(i).toTensorVector();
      for (size_t j = 0; j < list->size(); ++j) values[(*list)[j]] = tensors.at(j);
    }
  }
}

void Interpreter::run_block(const Block& block, Symbols& symbols,
                            std::vector<at::Tensor>& values) const {
  for (const Step& step : block.steps) {
    if (step.body) {
      run_loop(step, symbols, values);
    } else if (binds_symbol(*step.node)) {
      const SymbolId id = bound_symbol(*step.node);
      symbols.values[id] = read_symbol(*step.node, values);
      symbols.bound[id] = true;
      check_data_guards(symbols.values, symbols.bound);
    } else {
      run_step(step, symbols.values, values);
    }
    for (ValueId id : step.last_uses) values[id].reset();
  }
}

void Interpreter::run_loop(const Step& step, Symbols& symbols,
                           std::vector<at::Tensor>& values) const {
  const LoopNode loop = as_loop(*step.node);
  const Graph& body = loop.body;
  const int64_t trips = evaluate(loop.trips, symbols.values);
  std::vector<at::Tensor> carried;
  for (ValueId id : loop.initial) carried.push_back(values[id]);
  std::vector<std::vector<at::Tensor>> items(loop.stacked.size());
  for (int64_t round = 0; round < trips; ++round) {
    symbols.values[loop.counter] = round;
    std::vector<at::Tensor> inner(body.values.size());
    for (size_t i = 0; i < body.inputs.size(); ++i) {
      const size_t capture = i - carried.size();
      inner[body.inputs[i]] = i < carried.size() ? carried[i] : values[loop.captures[capture]];
    }
    run_block(*step.body, symbols, inner);
    for (size_t i = 0; i < carried.size(); ++i) carried[i] = inner[body.outputs[i]];
    for (size_t i = 0; i < items.size(); ++i) {
      items[i].push_back(inner[body.outputs[carried.size() + i]]);
    }
  }
  for (size_t i = 0; i < loop.last.size(); ++i) values[loop.last[i]] = carried[i];
  for (size_t i = 0; i < items.size(); ++i) {
    if (trips > 0) {
      values[loop.stacked[i]] = at::stack(items[i]);
      continue;
    }
    const TensorType& type = body.type(body.outputs[carried.size() + i]);
    std::vector<int64_t> sizes{0};
    for (const Expr& size : type.shape) sizes.push_back(evaluate(size, symbols.values));
    values[loop.stacked[i]] = at::empty(sizes, to_scalar_type(type.dtype));
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

Interpreter::Results Interpreter::run(const std::vector<at::Tensor>& inputs) const {
  const at::NoGradGuard no_grad;
  c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastCPU);  // casts are nodes
  Symbols symbols{check(inputs), {}};
  for (SymbolId id = 0; id < symbols.values.size(); ++id) {
    symbols.bound.push_back(!program_->symbols->info(id).unbacked);
  }
  const Graph& graph = program_->graph;
  std::vector<at::Tensor> values(graph.values.size());
  for (const auto& [id, tensor] : weights_) values[id] = tensor;
  for (size_t i = 0; i < inputs.size(); ++i) values[graph.inputs[user_inputs_[i]]] = inputs[i];
  run_block(block_, symbols, values);

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
  return {std::move(outputs), std::move(symbols.values)};
}

}  // namespace portwright
