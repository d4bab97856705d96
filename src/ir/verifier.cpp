#include "ir/verifier.h"

#include <algorithm>
#include <unordered_set>

#include "ir/loop_node.h"
#include "ir/symbol_scopes.h"

namespace portwright {
namespace {

[[noreturn]] void violation(const std::string& what) {
  throw Error(ErrorCode::kInternal, "invalid program: " + what);
}

class GraphVerifier {
 public:
  GraphVerifier(const Program& program, const Graph& graph)
      : program_(program), graph_(graph), defined_(graph.values.size(), false) {}

  void run() {
    for (ValueId id : graph_.inputs) define(id, "graph input");
    for (const Node& node : graph_.nodes) check_node(node);
    for (ValueId id : graph_.outputs) use(id, "graph output");
    check_names();
    for (const Value& value : graph_.values) check_type(value);
  }

 private:
  void check_id(ValueId id, const std::string& where) const {
    if (id >= graph_.values.size()) {
      violation(where + " names value " + std::to_string(id) + " of " +
                std::to_string(graph_.values.size()));
    }
  }

  void define(ValueId id, const std::string& where) {
    check_id(id, where);
    if (defined_[id]) violation(where + " defines %" + std::to_string(id) + " a second time");
    defined_[id] = true;
  }

  void use(ValueId id, const std::string& where) const {
    check_id(id, where);
    if (!defined_[id]) {
      violation(where + " uses %" + std::to_string(id) + " before it is defined");
    }
  }

  void check_node(const Node& node) {
    const auto dots = std::count(node.op.begin(), node.op.end(), '.');
    if (dots < 2) violation("'" + node.op + "' is not namespace.name.overload");
    if (node.provenance.module >= program_.module_paths.size() ||
        node.provenance.source >= program_.source_lines.size()) {
      violation(node.op + " has a provenance outside the tables");
    }
    for (const Argument& argument : node.arguments) {
      for_each_value(argument, [&](ValueId id) { use(id, node.op); });
      if (const auto* expr = std::get_if<Expr>(&argument)) check_expr(*expr, node.op);
      if (const auto* list = std::get_if<IntList>(&argument)) {
        for (const Expr& item : *list) check_expr(item, node.op);
      }
    }
    for_each_output(node, [&](ValueId id) { define(id, node.op); });
    if (is_loop(node)) check_loop(node);
    for (const Graph& body : node.graphs) GraphVerifier(program_, body).run();
  }

  void check_loop(const Node& node) const {
    if (node.arguments.size() != 5 || node.outputs.size() != 3 || node.graphs.size() != 1) {
      violation("a loop without its 5 arguments, 3 results or 1 body");
    }
    const auto& arguments = node.arguments;
    const auto* counter = std::get_if<Expr>(&arguments[1]);
    if (counter == nullptr || !counter->symbol()) violation("a loop whose counter is no symbol");
    const bool lists =
        std::all_of(node.outputs.begin(), node.outputs.end(),
                    [](const auto& output) { return std::holds_alternative<ValueList>(output); });
    if (!lists || !std::holds_alternative<Expr>(arguments[0]) ||
        !std::holds_alternative<ValueList>(arguments[2]) ||
        !std::holds_alternative<ValueList>(arguments[3]) ||
        !std::holds_alternative<IntList>(arguments[4])) {
      violation("a loop with operands of other kinds");
    }
    const LoopNode loop = as_loop(node);
    const size_t items = loop.stacked.size() + loop.joined.size();
    if (loop.body.inputs.size() != loop.initial.size() + loop.captures.size() ||
        loop.body.outputs.size() != loop.initial.size() + items ||
        loop.last.size() != loop.initial.size() || loop.dims.size() != loop.joined.size()) {
      violation("a loop whose body takes or gives another number of values");
    }
    for (size_t i = 0; i < loop.joined.size(); ++i) {
      const auto dim = loop.dims[i].maybe_constant();
      const auto rank = static_cast<int64_t>(graph_.type(loop.joined[i]).rank());
      if (!dim || *dim < 0 || *dim >= rank) violation("a loop joins along no dim of its items");
    }
  }

  void check_expr(const Expr& expr, const std::string& where) const {
    if (expr.table() != nullptr && expr.table() != program_.symbols.get()) {
      violation(where + " has an expression of another symbol table: " + to_string(expr));
    }
  }

  void check_type(const Value& value) const {
    for (const Expr& size : value.type.shape) check_expr(size, "a shape");
    if (!value.type.strides) return;
    for (const Expr& stride : *value.type.strides) check_expr(stride, "a stride");
    if (value.type.strides->size() != value.type.shape.size()) {
      violation("a value has " + std::to_string(value.type.strides->size()) + " strides and rank " +
                std::to_string(value.type.rank()));
    }
  }

  void check_names() const {
    std::unordered_set<std::string> names;
    for (const Value& value : graph_.values) {
      if (value.name.empty()) continue;
      if (!names.insert(value.name).second) violation("two values are named '" + value.name + "'");
    }
  }

  const Program& program_;
  const Graph& graph_;
  std::vector<bool> defined_;
};

void check_weight(const InputSpec& spec, const TensorType& type) {
  const bool user = spec.kind == InputKind::kUserInput;
  if (user != !spec.weight.has_value()) {
    violation("input '" + spec.target + (user ? "' has" : "' lacks") + " a weight");
  }
  if (user) return;
  const Weight& weight = *spec.weight;
  if (weight.dtype != type.dtype || weight.shape.size() != type.rank() ||
      weight.strides.size() != type.rank()) {
    violation("weight '" + spec.target + "' does not fit its value's dtype or rank");
  }
  int64_t last = weight.storage_offset;
  for (size_t i = 0; i < weight.shape.size(); ++i) {
    if (!type.shape[i].is_constant(weight.shape[i])) {
      violation("weight '" + spec.target + "' has another shape than its value");
    }
    last += (weight.shape[i] - 1) * weight.strides[i];
  }
  const size_t needed = static_cast<size_t>(last + 1) * element_size(weight.dtype);
  if (weight.numel() > 0 && needed > weight.source->bytes().size()) {
    violation("weight '" + spec.target + "' needs " + std::to_string(needed) + " bytes of " +
              std::to_string(weight.source->bytes().size()));
  }
}

}  // namespace

void verify(const Program& program) {
  const Graph& graph = program.graph;
  if (graph.inputs.size() != program.inputs.size()) {
    violation(std::to_string(graph.inputs.size()) + " graph inputs, " +
              std::to_string(program.inputs.size()) + " in the signature");
  }
  if (graph.outputs.size() != program.outputs.size()) {
    violation(std::to_string(graph.outputs.size()) + " graph outputs, " +
              std::to_string(program.outputs.size()) + " in the signature");
  }
  GraphVerifier(program, graph).run();
  if (const auto symbol = misplaced_symbol(graph, *program.symbols)) {
    violation(program.symbols->info(*symbol).name + " is used where it has no value");
  }
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    check_weight(program.inputs[i], graph.type(graph.inputs[i]));
  }
}

}  // namespace portwright
