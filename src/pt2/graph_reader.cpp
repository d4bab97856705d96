#include "pt2/graph_reader.h"

#include <cstdlib>

#include "ir/data_symbols.h"
#include "pt2/argument_reader.h"
#include "pt2/in_place.h"
#include "pt2/node_parts.h"

namespace portwright {
namespace {

constexpr int kMaxDepth = 32;
constexpr std::string_view kOperators = "torch.ops.";

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
  views_->at(place(node));
  if (read_sizes(graph, node, op, scope)) return;
  const Schema* schema = schemas_.find(op);
  if (schema == nullptr) {
    read_in_place(graph, node, op, scope);
    return;
  }
  Node result = operator_node(node, op, *schema, std::nullopt, scope);
  for (const Json& output : node.at("outputs")) {
    result.outputs.push_back(read_output(graph, output, scope));
  }
  views_->add_node(std::move(result), *schema);
}

Node GraphReader::operator_node(const Json& node, const std::string& op, const Schema& schema,
                                const std::optional<std::string>& first_name,
                                const Scope& scope) const {
  Node result;
  result.op = op;
  size_t found = 0;
  for (const SchemaArgument& slot : schema.arguments) {
    const Json* given = nullptr;
    for (const Json& input : node.at("inputs")) {
      const bool first = first_name && &slot == &schema.arguments.front();
      if (input.at("name") == (first ? *first_name : slot.name)) given = &input.at("arg");
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
    read_item(graph, node, scope);
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

void GraphReader::read_item(const Json& graph, const Json& node, Scope& scope) {
  const auto [field, result] = union_of(node.at("outputs").at(0));
  const std::string name = result.at("as_name").get<std::string>();
  const ValueId id = views_->current(scope.tensor(name_in(named_input(node, "self", 0))));
  Expr value;
  if (field == "as_sym_int") {
    value = symbols_.size(graph.at("sym_int_values").at(name));
    scope.define(name, value);
  } else if (field == "as_sym_bool") {
    value = flag_symbol(graph.at("sym_bool_values").at(name));
    scope.define(name, Predicate::compare(value, Relation::kEq, 1));
  } else {
    value = float_symbol(graph.at("sym_float_values").at(name));
    scope.define(name, Real::from_data(value));
  }
  bind(value, Node{kBindItem, {ValueRef{id}, value}, {}, {}, place(node)});
}

// torch has `u0 == 1` for the item of bools, or what it knows it to be.
Expr GraphReader::flag_symbol(const Json& item) {
  const auto known = symbols_.unknown(item);
  const auto* condition = known ? std::get_if<Predicate>(&*known) : nullptr;
  std::optional<SymbolId> symbol;
  if (condition != nullptr) condition->for_each_symbol([&](SymbolId id) { symbol = id; });
  if (symbol) {
    const Expr flag = program_.symbols->symbol(*symbol);
    if (*condition == Predicate::compare(flag, Relation::kEq, 1)) return flag;
  }
  return add_symbol("flag", {0, 1}, "the item of a tensor of bools");
}

Expr GraphReader::float_symbol(const Json& item) {
  const auto known = symbols_.unknown(item);
  const auto* real = known ? std::get_if<Real>(&*known) : nullptr;
  if (real != nullptr && real->op() == RealOp::kFromData) return real->numerator();
  return add_symbol("float", {}, "the item of a tensor of floats", true);
}

Expr GraphReader::add_symbol(const std::string& prefix, Interval range, const std::string& origin,
                             bool is_float) {
  SymbolInfo info;
  info.name = prefix + std::to_string(program_.symbols->size());
  info.range = range;
  info.origin = origin;
  info.unbacked = true;
  info.is_size = false;
  info.is_float = is_float;
  return program_.symbols->add_symbol(std::move(info));
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
  if (schema == nullptr || schema->arguments.empty() || schema->arguments[0].type != "Tensor" ||
      schema->returns != std::vector<std::string>{"Tensor"}) {
    throw Error(ErrorCode::kUnsupported,
                "the operator " + op +
                    " is not known, or writes to a tensor in a way that is not "
                    "supported: save the program after run_decompositions({}), which makes it "
                    "functional");
  }
  // What an in-place operator calls self may have another name in its functional form.
  Node functional = operator_node(node, *name, *schema, "self", scope);
  const auto* self = std::get_if<ValueRef>(&functional.arguments[0]);
  if (self == nullptr) corrupt(op + " writes to something that is no tensor");
  const ValueId written = self->id;
  const Json& output = node.at("outputs").at(0);
  if (!schema->makes_view) {
    views_->write(op, std::move(functional));
    scope.define(name_in(output), written);
    return;
  }
  functional.outputs = {read_output(graph, output, scope)};
  const ValueId view = functional.result();
  views_->add_node(std::move(functional), *schema);
  views_->become(written, view);
}

}  // namespace portwright
