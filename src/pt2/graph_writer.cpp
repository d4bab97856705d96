#include "pt2/graph_writer.h"

#include <algorithm>

#include "ir/data_symbols.h"
#include "ir/symbol_scopes.h"
#include "pt2/format.h"
#include "pt2/tensor_meta.h"
#include "pt2/torch_numbers.h"

namespace portwright {

void GraphWriter::add_type(const std::string& name, const TensorType& type, bool requires_grad) {
  state_.tensor_values[name] = tensor_meta(type, symbols_, requires_grad);
}

void GraphWriter::add_value(ValueId id, const std::string& name, bool requires_grad) {
  names_[id] = name;
  add_type(name, graph_.type(id), requires_grad);
}

void GraphWriter::write_nodes() {
  for (const Node& node : graph_.nodes) write_node(node);
}

Json GraphWriter::document(Json inputs, Json outputs) {
  return {{"inputs", std::move(inputs)},
          {"outputs", std::move(outputs)},
          {"nodes", std::move(state_.nodes)},
          {"tensor_values", std::move(state_.tensor_values)},
          {"sym_int_values", std::move(state_.sym_int_values)},
          {"sym_bool_values", std::move(state_.sym_bool_values)},
          {"is_single_tensor_return", false},
          {"custom_obj_values", Json::object()},
          {"sym_float_values", std::move(state_.sym_float_values)}};
}

void GraphWriter::assert_true(const Predicate& predicate, const SourceLine& source) {
  if (predicate.maybe_constant() == true) return;
  std::string message = "the program was captured for inputs with " + to_string(predicate);
  if (source.known()) message += " (" + to_string(source) + ")";
  const Json condition = symbols_.boolean(predicate);
  state_.add_node("torch.ops.aten._assert_scalar.default",
                  Json::array({named_argument("self", condition),
                               named_argument("assert_msg", {{"as_string", message}})}),
                  Json::array(), state_.names.fresh("_assert_scalar_default"));
}

// Where the next nodes come from, in torch's words.
void GraphWriter::set_place(const Provenance& place) {
  const SourceLine& source = program_.source_lines[place.source];
  constexpr const char* kModuleType = ",torch.nn.modules.module.Module";
  std::string stack = std::string("L__self__,") + kModuleType;
  const std::string& path = program_.module_paths[place.module];
  for (size_t dot = 0; !path.empty() && dot != std::string::npos;) {
    dot = path.find('.', dot + 1);
    const std::string part = path.substr(0, dot);
    std::string key = "L__self___" + part;
    std::replace(key.begin(), key.end(), '.', '_');
    stack.append(";").append(key).append(",").append(part).append(kModuleType);
  }
  state_.metadata = {{"nn_module_stack", std::move(stack)}};
  if (!source.known()) return;
  state_.metadata["stack_trace"] =
      "  File \"" + source.file + "\", line " + std::to_string(source.line) + ", in forward";
}

void GraphWriter::write_node(const Node& node) {
  set_place(node.provenance);
  if (binds_symbol(node)) {
    write_binding(node);
    return;
  }
  if (is_loop(node)) {
    write_loop(node);
    return;
  }
  const std::string op = pt2::runnable_name(node.op);
  const Schema* schema = schemas_.find(op);
  if (schema == nullptr || schema->arguments.size() != node.arguments.size()) {
    throw Error(ErrorCode::kUnsupported,
                "no schema of " + op + " with " + std::to_string(node.arguments.size()) +
                    " operands is known, so it cannot be written to a .pt2 file",
                program_.source(node), program_.module_path(node));
  }
  Json inputs = write_arguments(node, *schema, names_, symbols_);
  const size_t overload = op.rfind('.');
  const size_t name_at = op.rfind('.', overload - 1) + 1;
  const std::string base = op.substr(name_at, overload - name_at);
  const auto* single =
      node.outputs.size() == 1 ? std::get_if<ValueId>(node.outputs.data()) : nullptr;
  const std::string name = state_.names.fresh(base);
  Json outputs = Json::array();
  if (single != nullptr) {
    add_value(*single, name);
    outputs.push_back(tensor_argument(name));
  } else {
    for (const Output& output : node.outputs) outputs.push_back(output_json(output));
  }
  state_.add_node("torch.ops." + op, std::move(inputs), std::move(outputs), name);
}

Json GraphWriter::output_json(const Output& output) {
  if (std::holds_alternative<None>(output)) return {{"as_none", true}};
  if (const auto* id = std::get_if<ValueId>(&output)) {
    add_value(*id, state_.names.fresh("getitem"));
    return tensor_argument(names_[*id]);
  }
  Json list = Json::array();
  for (ValueId id : std::get<ValueList>(output)) {
    add_value(id, state_.names.fresh("getitem"));
    list.push_back({{"name", names_[id]}});
  }
  return {{"as_tensors", std::move(list)}};
}

void GraphWriter::write_binding(const Node& node) {
  const SymbolId id = bound_symbol(node);
  const ValueId tensor = std::get<ValueRef>(node.arguments[0]).id;
  if (node.op == kBindItem) {
    bind_item(id, integer(tensor));
    return;
  }
  const auto dim = static_cast<size_t>(std::get<Expr>(node.arguments[1]).constant());
  symbols_.bind_size(id, names_[tensor], dim);
  write_data_guards(id);
}

void GraphWriter::bind_item(SymbolId id, const std::string& tensor) {
  const std::string name = fresh("item");
  const char* field = program_.symbols->info(id).is_float ? "as_sym_float" : "as_sym_int";
  state_.add_node("torch.ops.aten.item.default",
                  Json::array({named_argument("self", tensor_argument(tensor))}),
                  Json::array({{{field, {{"as_name", name}}}}}), name);
  symbols_.bind(id, name);
  write_data_guards(id);
}

// item() of a bool would be a SymBool: such a tensor is read as int64.
std::string GraphWriter::integer(ValueId tensor) {
  TensorType type = graph_.type(tensor);
  if (type.dtype != DType::kBool) return names_[tensor];
  type.dtype = DType::kInt64;
  return add_operator(
      "_to_copy.default",
      Json::array({named_argument("self", tensor_argument(names_[tensor])),
                   named_argument("dtype", {{"as_scalar_type", pt2::kInt64}}, kKeyword)}),
      type);
}

std::string GraphWriter::add_operator(const std::string& op, Json inputs, const TensorType& type) {
  const std::string name = fresh(op.substr(0, op.find('.')));
  add_type(name, type);
  state_.add_node("torch.ops.aten." + op, std::move(inputs), Json::array({tensor_argument(name)}),
                  name);
  return name;
}

// What is known of a symbol once it has its value: its range, and the guards that it completes.
void GraphWriter::write_data_guards(SymbolId id) {
  const SymbolTable& symbols = *program_.symbols;
  const SymbolInfo& info = symbols.info(id);
  const Expr symbol = program_.symbols->symbol(id);
  if (info.range.lo > -Interval::kInfinity) {
    assert_true(Predicate::compare(symbol, Relation::kGe, info.range.lo), {});
  }
  if (info.range.hi < Interval::kInfinity) {
    assert_true(Predicate::compare(symbol, Relation::kLe, info.range.hi), {});
  }
  for (const Guard& guard : symbols.guards()) {
    const Predicate predicate = resolved(guard, symbols);
    bool concerned = false;
    bool known = true;
    predicate.for_each_symbol([&](SymbolId other) {
      concerned = concerned || other == id;
      known = known && (!symbols.info(other).unbacked || symbols_.knows(other));
    });
    if (concerned && known) assert_true(predicate, guard.source);
  }
}

}  // namespace portwright
