#include "capture/graph_runner.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <bit>

#include "capture/tracer.h"
#include "ir/data_symbols.h"
#include "ir/loop_node.h"

namespace portwright {
namespace {

at::Tensor empty_of(const TensorType& type, std::span<const int64_t> symbols) {
  std::vector<int64_t> sizes;
  for (const Expr& size : type.shape) sizes.push_back(evaluate(size, symbols));
  return at::empty(sizes, to_scalar_type(type.dtype));
}

}  // namespace

GraphRunner::GraphRunner(const Program& program, const Graph& graph, OpCatalog& catalog)
    : program_(program) {
  std::vector<bool> used_later(graph.values.size(), false);
  for (ValueId id : graph.outputs) used_later[id] = true;
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    Step step;
    step.node = &node;
    if (is_loop(node)) {
      step.body = std::make_shared<const GraphRunner>(program, node.graphs.at(0), catalog);
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
    steps_.push_back(std::move(step));
  }
  std::reverse(steps_.begin(), steps_.end());
}

void GraphRunner::run(SymbolValues& symbols, std::vector<at::Tensor>& values) const {
  for (const Step& step : steps_) {
    if (step.body) {
      run_loop(step, symbols, values);
    } else if (binds_symbol(*step.node)) {
      symbols.bind(bound_symbol(*step.node), read_symbol(*step.node, values));
    } else {
      run_step(step, symbols.values(), values);
    }
    for (ValueId id : step.last_uses) values[id].reset();
  }
}

// Reads what a binding node defines.
int64_t GraphRunner::read_symbol(const Node& node, const std::vector<at::Tensor>& values) const {
  const at::Tensor& tensor = values[std::get<ValueRef>(node.arguments[0]).id];
  if (node.op == kBindSize) return tensor.size(std::get<Expr>(node.arguments[1]).constant());
  return item_bits(tensor);
}

int64_t item_bits(const at::Tensor& tensor) {
  const at::Scalar item = tensor.item();
  return item.isFloatingPoint() ? std::bit_cast<int64_t>(item.to<double>()) : item.to<int64_t>();
}

void GraphRunner::run_step(const Step& step, std::span<const int64_t> symbols,
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
                program_.source(*step.node), program_.module_path(*step.node));
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

void GraphRunner::run_loop(const Step& step, SymbolValues& symbols,
                           std::vector<at::Tensor>& values) const {
  const LoopNode loop = as_loop(*step.node);
  const Graph& body = loop.body;
  const std::vector<SymbolId> own = round_symbols(loop);
  const int64_t trips = evaluate(loop.trips, symbols.values());
  std::vector<at::Tensor> carried;
  for (ValueId id : loop.initial) carried.push_back(values[id]);
  std::vector<std::vector<at::Tensor>> items(loop.stacked.size() + loop.joined.size());
  for (int64_t round = 0; round < trips; ++round) {
    for (SymbolId id : own) symbols.unbind(id);
    symbols.bind(loop.counter, round);
    std::vector<at::Tensor> inner(body.values.size());
    for (size_t i = 0; i < body.inputs.size(); ++i) {
      const size_t capture = i - carried.size();
      inner[body.inputs[i]] = i < carried.size() ? carried[i] : values[loop.captures[capture]];
    }
    step.body->run(symbols, inner);
    for (size_t i = 0; i < carried.size(); ++i) carried[i] = inner[body.outputs[i]];
    for (size_t i = 0; i < items.size(); ++i) {
      items[i].push_back(inner[body.outputs[carried.size() + i]]);
    }
  }
  for (SymbolId id : own) symbols.unbind(id);
  for (size_t i = 0; i < loop.last.size(); ++i) values[loop.last[i]] = carried[i];
  for (size_t i = 0; i < items.size(); ++i) {
    const bool stacks = i < loop.stacked.size();
    const size_t place = stacks ? i : i - loop.stacked.size();
    at::Tensor& result = values[stacks ? loop.stacked[place] : loop.joined[place]];
    const int64_t dim = stacks ? 0 : loop.dims[place].constant();
    if (trips > 0) {
      result = stacks ? at::stack(items[i]) : at::cat(items[i], dim);
      continue;
    }
    TensorType type = body.type(body.outputs[carried.size() + i]);
    if (stacks) {
      type.shape.insert(type.shape.begin(), 0);
    } else {
      type.shape[dim] = 0;
    }
    result = empty_of(type, symbols.values());
  }
}

}  // namespace portwright
