#include "executorch/xnnpack/scope.h"

#include <algorithm>
#include <string>
#include <unordered_set>

namespace portwright {
namespace {

std::unordered_map<ValueId, const InputSpec*> constants_of(const Program& program) {
  std::unordered_set<std::string> written;
  for (const OutputSpec& output : program.outputs) {
    if (output.kind == OutputKind::kBufferMutation) written.insert(output.target);
  }
  std::unordered_map<ValueId, const InputSpec*> constants;
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    const InputSpec& input = program.inputs[i];
    if (input.weight && written.count(input.target) == 0) {
      constants.emplace(program.graph.inputs[i], &input);
    }
  }
  return constants;
}

std::vector<size_t> uses_of(const Graph& graph) {
  std::vector<size_t> uses(graph.values.size());
  for (const Node& node : graph.nodes) {
    for (const Argument& argument : node.arguments) {
      for_each_value(argument, [&](ValueId id) { ++uses[id]; });
    }
  }
  for (const ValueId id : graph.outputs) ++uses[id];
  return uses;
}

}  // namespace

XnnScope::XnnScope(const Program& program)
    : program_(program),
      graph_(program.graph),
      constants_(constants_of(program)),
      uses_(uses_of(graph_)) {}

XnnScope::XnnScope(const Program& program, const Node& delegate)
    : program_(program), graph_(delegate.graphs.at(0)), uses_(uses_of(graph_)) {
  const auto outer = constants_of(program);
  const auto& arguments = std::get<ValueList>(delegate.arguments.at(0));
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto found = outer.find(arguments[i]);
    if (found != outer.end()) constants_.emplace(graph_.inputs.at(i), found->second);
  }
}

const InputSpec* XnnScope::constant(ValueId id) const {
  const auto found = constants_.find(id);
  return found == constants_.end() ? nullptr : found->second;
}

bool XnnNodeView::has(size_t i) const {
  return i < node.arguments.size() && !std::holds_alternative<None>(node.arguments[i]);
}

const Weight* XnnNodeView::weight(size_t i) const {
  if (!is_tensor(i)) return nullptr;
  const InputSpec* input = scope.constant(id(i));
  return input == nullptr ? nullptr : &*input->weight;
}

std::optional<double> XnnNodeView::number(size_t i) const {
  const Argument& argument = arg(i);
  if (const auto* value = std::get_if<double>(&argument)) return *value;
  if (const auto* value = std::get_if<bool>(&argument)) return *value ? 1 : 0;
  if (const auto* value = std::get_if<Expr>(&argument)) {
    if (const auto constant = value->maybe_constant()) return static_cast<double>(*constant);
  }
  return std::nullopt;
}

std::optional<int64_t> XnnNodeView::integer(size_t i) const {
  const auto* value = std::get_if<Expr>(&arg(i));
  return value == nullptr ? std::nullopt : value->maybe_constant();
}

std::optional<std::vector<int64_t>> XnnNodeView::integers(size_t i) const {
  const auto* list = std::get_if<IntList>(&arg(i));
  if (list == nullptr || !is_constant(*list)) return std::nullopt;
  std::vector<int64_t> values;
  for (const Expr& item : *list) values.push_back(item.constant());
  return values;
}

bool XnnNodeView::flag(size_t i) const {
  const auto* value = std::get_if<bool>(&arg(i));
  return value != nullptr && *value;
}

std::optional<size_t> XnnNodeView::dim(size_t i, size_t rank) const {
  const auto value = integer(i);
  const auto size = static_cast<int64_t>(rank);
  if (!value || *value < -size || *value >= size) return std::nullopt;
  return static_cast<size_t>(*value < 0 ? *value + size : *value);
}

std::optional<std::vector<size_t>> XnnNodeView::dims(size_t i, size_t rank) const {
  const auto values = integers(i);
  if (!values) return std::nullopt;
  std::vector<size_t> found;
  const auto size = static_cast<int64_t>(rank);
  for (const int64_t value : *values) {
    if (value < -size || value >= size) return std::nullopt;
    found.push_back(static_cast<size_t>(value < 0 ? value + size : value));
  }
  return found;
}

bool is_constant(const std::vector<Expr>& shape) { return dynamic_dims(shape) == 0; }

size_t dynamic_dims(const std::vector<Expr>& shape) {
  return static_cast<size_t>(std::count_if(shape.begin(), shape.end(),
                                           [](const Expr& size) { return !size.is_constant(); }));
}

}  // namespace portwright
