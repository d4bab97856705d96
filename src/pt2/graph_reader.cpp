#include "pt2/graph_reader.h"

#include <algorithm>
#include <cstdlib>

#include "ir/data_symbols.h"
#include "ir/loop_node.h"
#include "pt2/argument_reader.h"

namespace portwright {
namespace {

constexpr int kMaxDepth = 32;
constexpr std::string_view kOperators = "torch.ops.";
constexpr std::string_view kHigherOrder = "torch.ops.higher_order.";
constexpr std::string_view kScan = "torch.ops.higher_order.scan";

const Json& named_input(const Json& node, const std::string& name, size_t position) {
  const Json& inputs = node.at("inputs");
  for (const Json& input : inputs) {
    if (input.at("name") == name) return input.at("arg");
  }
  return inputs.at(position).at("arg");
}

const std::string& name_in(const Json& argument) {
  const auto [field, value] = union_of(argument);
  return value.at(field == "as_tensor" ? "name" : "as_name").get_ref<const std::string&>();
}

// "aten.add_.Tensor" -> "aten.add.Tensor"; nothing when it is no in-place name.
std::optional<std::string> functional_name(const std::string& op) {
  const size_t overload = op.rfind('.');
  if (overload == std::string::npos || overload == 0 || op[overload - 1] != '_') {
    return std::nullopt;
  }
  if (overload >= 2 && op[overload - 2] == '_') return std::nullopt;  // __iadd__
  return op.substr(0, overload - 1) + op.substr(overload);
}

// What a node of control flow calls its results.
std::vector<std::string> result_names(const Json& node) {
  std::vector<std::string> names;
  for (const Json& output : node.at("outputs")) {
    const auto [field, value] = union_of(output);
    if (field == "as_tensors") {
      for (const Json& item : value) names.push_back(item.at("name").get<std::string>());
    } else {
      names.push_back(name_in(output));
    }
  }
  return names;
}

// Of an operand that is a list of tensors.
ValueList tensors(const Json& argument, const Scope& scope) {
  const auto [field, value] = union_of(argument);
  if (field != "as_tensors" && !value.empty()) {
    throw Error(ErrorCode::kUnsupported,
                "a scan with operands of the kind '" + field + "' in a .pt2 file is not supported");
  }
  ValueList list;
  for (const Json& item : value) list.push_back(scope.tensor(item.at("name").get<std::string>()));
  return list;
}

bool asserts(const std::string& op) { return op == "aten._assert_scalar.default"; }

}  // namespace

ValueId GraphReader::add_input(const Json& graph, const std::string& name) {
  const ValueId id =
      program_.graph.add_value(symbols_.type(graph.at("tensor_values").at(name)), name);
  program_.graph.inputs.push_back(id);
  scope_.define(name, id);
  return id;
}

template <typename Item>
uint32_t GraphReader::index_in(std::vector<Item>& table, const Item& item) {
  for (size_t i = table.size(); i-- > 0;) {  // neighbours have the same place
    if (table[i] == item) return static_cast<uint32_t>(i);
  }
  table.push_back(item);
  return static_cast<uint32_t>(table.size() - 1);
}

// The last module of the stack and the innermost line of the trace.
Provenance GraphReader::place(const Json& node) {
  const Json& metadata = node.at("metadata");
  Provenance place;
  if (metadata.contains("nn_module_stack")) {
    const std::string stack = metadata.at("nn_module_stack").get<std::string>();
    const std::string last = stack.substr(stack.rfind(';') + 1);
    const size_t comma = last.find(',');
    const size_t second = comma == std::string::npos ? comma : last.find(',', comma + 1);
    if (second != std::string::npos) {
      place.module = index_in(program_.module_paths, last.substr(comma + 1, second - comma - 1));
    }
  }
  if (metadata.contains("stack_trace")) {
    const std::string trace = metadata.at("stack_trace").get<std::string>();
    constexpr std::string_view kFile = "File \"";
    constexpr std::string_view kLine = "\", line ";
    const size_t file = trace.rfind(kFile);
    const size_t line = file == std::string::npos ? file : trace.find(kLine, file);
    if (line != std::string::npos) {
      const std::string path = trace.substr(file + kFile.size(), line - file - kFile.size());
      const char* digits = trace.c_str() + line + kLine.size();
      const auto number = static_cast<int>(std::strtol(digits, nullptr, 10));
      place.source = index_in(program_.source_lines, SourceLine{path, number});
    }
  }
  return place;
}

void GraphReader::read_nodes(const Json& graph, Scope& scope, int depth) {
  if (depth > kMaxDepth) corrupt("graphs are nested too deeply");
  for (const Json& node : graph.at("nodes")) {
    const auto& target = node.at("target").get_ref<const std::string&>();
    if (target == kScan) {
      read_scan(node, scope, depth);
    } else if (target.starts_with(kHigherOrder)) {
      read_wrapped(node, target.substr(kHigherOrder.size()), scope, depth);
    } else if (!target.starts_with(kOperators)) {
      read_arithmetic(node, target, scope);
    } else {
      read_operator(graph, node, target.substr(kOperators.size()), scope);
    }
  }
}

void GraphReader::read_arithmetic(const Json& node, const std::string& target, Scope& scope) {
  std::vector<NamedValue> operands;
  for (const Json& input : node.at("inputs")) {
    operands.push_back(read_number(input.at("arg"), scope));
  }
  scope.define(name_in(node.at("outputs").at(0)),
               SymbolReader::apply(target, operands, *program_.symbols));
}

void GraphReader::read_operator(const Json& graph, const Json& node, const std::string& op,
                                Scope& scope) {
  if (read_sizes(graph, node, op, scope)) return;
  const Schema* schema = schemas_.find(op);
  if (schema == nullptr) {
    read_in_place(graph, node, op, scope);
    return;
  }
  Node result = operator_node(node, op, *schema, scope);
  for (const Json& output : node.at("outputs")) {
    result.outputs.push_back(read_output(graph, output, scope));
  }
  result.provenance = place(node);
  aliased_.resize(graph_->values.size(), false);
  if (schema->makes_view) {
    for_each_output(result, [&](ValueId id) { aliased_[id] = true; });
    for (const Argument& argument : result.arguments) {
      for_each_value(argument, [&](ValueId id) { aliased_[id] = true; });
    }
  }
  graph_->nodes.push_back(std::move(result));
}

Node GraphReader::operator_node(const Json& node, const std::string& op, const Schema& schema,
                                const Scope& scope) const {
  Node result;
  result.op = op;
  size_t found = 0;
  for (const SchemaArgument& slot : schema.arguments) {
    const Json* given = nullptr;
    for (const Json& input : node.at("inputs")) {
      if (input.at("name") == slot.name) given = &input.at("arg");
    }
    if (given != nullptr) {
      result.arguments.push_back(read_argument(*given, slot.type, scope));
      ++found;
    } else if (slot.fallback) {
      result.arguments.push_back(*slot.fallback);
    } else {
      corrupt(op + " lacks the operand '" + slot.name + "'");
    }
  }
  if (found != node.at("inputs").size()) corrupt(op + " has operands that its schema has not");
  return result;
}

Output GraphReader::read_output(const Json& graph, const Json& output, Scope& scope) {
  auto define = [&](const std::string& name) {
    const ValueId id = graph_->add_value(symbols_.type(graph.at("tensor_values").at(name)));
    scope.define(name, id);
    return id;
  };
  const auto [field, value] = union_of(output);
  if (field == "as_none") return None{};
  if (field == "as_tensor") return define(value.at("name").get<std::string>());
  if (field != "as_tensors") {
    throw Error(ErrorCode::kUnsupported,
                "an operator's result of the kind '" + field + "' is not supported");
  }
  ValueList list;
  for (const Json& item : value) list.push_back(define(item.at("name").get<std::string>()));
  return list;
}

// Operators about sizes, which become expressions, bindings or guards.
bool GraphReader::read_sizes(const Json& graph, const Json& node, const std::string& op,
                             Scope& scope) {
  if (op == "aten.sym_size.int") {
    const Json& tensor = named_input(node, "self", 0);
    const ValueId id = scope.tensor(name_in(tensor));
    const int64_t dim = named_input(node, "dim", 1).at("as_int").get<int64_t>();
    const std::vector<Expr>& shape = graph_->type(id).shape;
    const auto rank = static_cast<int64_t>(shape.size());
    if (dim < -rank || dim >= rank) corrupt("a size of a dim that the tensor has not");
    const int64_t position = dim < 0 ? dim + rank : dim;
    const Expr size = shape[static_cast<size_t>(position)];
    scope.define(name_in(node.at("outputs").at(0)), size);
    bind(size, Node{kBindSize, {ValueRef{id}, Expr(position), size}, {}, {}, place(node)});
    return true;
  }
  if (op == "aten.item.default" || op == "aten._local_scalar_dense.default") {
    const auto [field, result] = union_of(node.at("outputs").at(0));
    const std::string name = result.at("as_name").get<std::string>();
    if (field != "as_sym_int") {
      throw Error(ErrorCode::kUnsupported,
                  "item() of a tensor that holds no integer is not supported");
    }
    const ValueId id = scope.tensor(name_in(named_input(node, "self", 0)));
    const Expr value = symbols_.size(graph.at("sym_int_values").at(name));
    scope.define(name, value);
    bind(value, Node{kBindItem, {ValueRef{id}, value}, {}, {}, place(node)});
    return true;
  }
  if (asserts(op)) {
    const NamedValue condition = read_number(named_input(node, "self", 0), scope);
    const auto* predicate = std::get_if<Predicate>(&condition);
    if (predicate == nullptr) corrupt("an assertion of something that is no condition");
    if (predicate->maybe_constant() == true) return true;
    const Provenance at = place(node);
    std::vector<Guard> guards = program_.symbols->guards();
    guards.push_back({*predicate, GuardKind::kRuntimeAssert, program_.source_lines[at.source],
                      program_.module_paths[at.module]});
    program_.symbols->set_guards(std::move(guards));
    return true;
  }
  // Ranges are in the document's table, too.
  return op == "aten.sym_constrain_range.default" ||
         op == "aten.sym_constrain_range_for_size.default";
}

void GraphReader::bind(const Expr& symbol, Node node) {
  const auto id = symbol.symbol();
  if (!id || !program_.symbols->info(*id).unbacked) return;
  bound_.resize(program_.symbols->size(), false);
  if (bound_[*id]) return;
  bound_[*id] = true;
  graph_->nodes.push_back(std::move(node));
}

void GraphReader::read_in_place(const Json& graph, const Json& node, const std::string& op,
                                Scope& scope) {
  const auto name = functional_name(op);
  const Schema* schema = name ? schemas_.find(*name) : nullptr;
  if (schema == nullptr || schema->arguments.empty()) {
    throw Error(ErrorCode::kUnsupported,
                "the operator " + op +
                    " is not known, or writes to a tensor in a way that is not "
                    "supported: save the program after run_decompositions({}), which makes it "
                    "functional");
  }
  const ValueId self = scope.tensor(name_in(named_input(node, "self", 0)));
  aliased_.resize(graph_->values.size(), false);
  if (aliased_[self]) {
    throw Error(ErrorCode::kUnsupported,
                op + " writes to a tensor that has views: save the program after "
                     "run_decompositions({}), which makes it functional");
  }
  Node result = operator_node(node, *name, *schema, scope);
  result.provenance = place(node);
  const Output output = read_output(graph, node.at("outputs").at(0), scope);
  const ValueId written = std::get<ValueId>(output);
  result.outputs = {output};
  graph_->nodes.push_back(std::move(result));
  scope.replace(self, written);
  const auto earlier = std::find_if(writes_.begin(), writes_.end(),
                                    [&](const auto& write) { return write.second == self; });
  const std::vector<ValueId>& inputs = graph_->inputs;
  if (earlier != writes_.end()) {
    earlier->second = written;
  } else if (std::find(inputs.begin(), inputs.end(), self) != inputs.end()) {
    writes_.emplace_back(self, written);
  }
}

// torch.no_grad() and autocast that is off change nothing: their bodies are read in place.
void GraphReader::read_wrapped(const Json& node, const std::string& target, Scope& scope,
                               int depth) {
  const Json& inputs = node.at("inputs");
  const Json* body = nullptr;
  size_t first_operand = 0;
  for (; first_operand < inputs.size() && body == nullptr; ++first_operand) {
    const Json& argument = inputs[first_operand].at("arg");
    if (argument.contains("as_graph")) body = &argument.at("as_graph").at("graph");
  }
  const bool grad = target == "wrap_with_set_grad_enabled";
  const bool autocast =
      target == "wrap_with_autocast" && named_input(node, "enabled", 2) == Json{{"as_bool", false}};
  if (body == nullptr || !(grad || autocast)) {
    throw Error(ErrorCode::kUnsupported,
                "the control flow '" + target + "' in a .pt2 file is not supported");
  }
  const Json& parameters = body->at("inputs");
  if (inputs.size() - first_operand != parameters.size()) {
    corrupt("a graph is called with another number of operands than it has");
  }
  Scope inner;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Json& operand = inputs[first_operand + i].at("arg");
    const auto [field, value] = union_of(operand);
    if (field == "as_tensor") {
      inner.define(name_in(parameters[i]), scope.tensor(name_in(operand)));
    } else {
      inner.define(name_in(parameters[i]), read_number(operand, scope));
    }
  }
  read_nodes(*body, inner, depth + 1);
  const std::vector<std::string> names = result_names(node);
  const Json& results = body->at("outputs");
  if (names.size() != results.size()) corrupt("a graph gives another number of results");
  for (size_t i = 0; i < names.size(); ++i) {
    scope.define(names[i], inner.find(name_in(results[i])));
  }
}

// scan(body, initial, scanned, captures) is a loop over the first dim of what is scanned, of which
// each round selects its part.
void GraphReader::read_scan(const Json& node, Scope& scope, int depth) {
  const Json& inputs = node.at("inputs");
  if (inputs.size() != 4) corrupt("a scan without its four operands");
  const Json& body = inputs[0].at("arg").at("as_graph").at("graph");
  const ValueList initial = tensors(inputs[1].at("arg"), scope);
  const ValueList scanned = tensors(inputs[2].at("arg"), scope);
  ValueList captures = scanned;
  const ValueList more = tensors(inputs[3].at("arg"), scope);
  captures.insert(captures.end(), more.begin(), more.end());
  const Json& parameters = body.at("inputs");
  if (scanned.empty() || parameters.size() != initial.size() + captures.size()) {
    corrupt("a scan's body with another number of operands than it is given");
  }
  if (graph_->type(scanned[0]).rank() == 0) corrupt("a scan over a tensor without dims");
  const Expr trips = graph_->type(scanned[0]).shape[0];
  const Expr counter = add_round();

  Graph* const outer = graph_;
  Graph inside;
  const auto enter = [&](ValueId id) {
    inside.inputs.push_back(inside.add_value(outer->type(id)));
    return inside.inputs.back();
  };
  Scope names;
  for (size_t i = 0; i < initial.size(); ++i) {
    names.define(name_in(parameters[i]), enter(initial[i]));
  }
  for (size_t i = 0; i < captures.size(); ++i) {
    ValueId id = enter(captures[i]);
    if (i < scanned.size()) id = add_select(inside, id, counter);
    names.define(name_in(parameters[initial.size() + i]), id);
  }
  std::vector<bool> aliased = std::exchange(aliased_, {});
  graph_ = &inside;
  read_nodes(body, names, depth + 1);
  graph_ = outer;
  aliased_ = std::move(aliased);
  for (const Json& output : body.at("outputs")) {
    inside.outputs.push_back(names.tensor(name_in(output)));
  }

  ValueList results;
  for (const std::string& name : result_names(node)) {
    const size_t i = results.size();
    if (i >= inside.outputs.size()) break;
    TensorType type = inside.type(inside.outputs[i]);
    if (i < initial.size()) {
      type = outer->type(initial[i]);
    } else {
      type.strides.reset();
      type.shape.insert(type.shape.begin(), trips);
    }
    results.push_back(outer->add_value(std::move(type)));
    scope.define(name, results.back());
  }
  if (results.size() != inside.outputs.size() || results.size() < initial.size()) {
    corrupt("a scan gives another number of results than its body");
  }
  const auto first_stacked = results.begin() + static_cast<std::ptrdiff_t>(initial.size());
  Node loop{kLoop, {trips, counter, initial, captures, IntList{}}, {}, {}, place(node)};
  loop.outputs = {ValueList(results.begin(), first_stacked),
                  ValueList(first_stacked, results.end()), ValueList{}};
  loop.graphs.push_back(std::move(inside));
  outer->nodes.push_back(std::move(loop));
}

// The symbol that counts the rounds of a loop, by a name that no document gives to a symbol.
Expr GraphReader::add_round() {
  SymbolInfo info;
  info.name = "round" + std::to_string(program_.symbols->size());
  info.range = {0, Interval::kInfinity};
  info.origin = "the round of a scan";
  info.unbacked = true;
  info.is_size = false;
  return program_.symbols->add_symbol(std::move(info));
}

// A round's part of what is scanned.
ValueId GraphReader::add_select(Graph& graph, ValueId whole, const Expr& round) {
  TensorType type = graph.type(whole);
  if (type.rank() == 0) corrupt("a scan over a tensor without dims");
  type.shape.erase(type.shape.begin());
  if (type.strides) type.strides->erase(type.strides->begin());
  const ValueId part = graph.add_value(std::move(type));
  graph.nodes.push_back({"aten.select.int", {ValueRef{whole}, Expr(0), round}, {part}, {}, {}});
  return part;
}

}  // namespace portwright
