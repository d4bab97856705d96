#include "pt2/model_writer.h"

#include <algorithm>
#include <map>

#include "ir/data_symbols.h"
#include "ir/loop_node.h"
#include "pt2/argument_writer.h"
#include "pt2/format.h"
#include "pt2/sympy_text.h"
#include "pt2/tensor_meta.h"

namespace portwright {
namespace {

const std::map<InputKind, std::string_view> kPrefixes = {{InputKind::kUserInput, ""},
                                                         {InputKind::kParameter, "p_"},
                                                         {InputKind::kBuffer, "b_"},
                                                         {InputKind::kConstantTensor, "c_"}};

Json tensor_argument(const std::string& name) { return {{"as_tensor", {{"name", name}}}}; }

Json constant_json(const LeafConstant& constant) {
  static constexpr std::array kFields = {"as_none",  "as_bool",   "as_int",
                                         "as_float", "as_string", "as_int"};
  Json value = std::visit(
      [](const auto& item) -> Json {
        using T = std::decay_t<decltype(item)>;
        if constexpr (std::is_same_v<T, None>)
          return true;
        else if constexpr (std::is_same_v<T, double>)
          return float_json(item);
        else if constexpr (std::is_same_v<T, Expr>)
          return item.constant();
        else
          return item;
      },
      constant);
  return {{kFields.at(constant.index()), std::move(value)}};
}

class ModelWriter {
 public:
  ModelWriter(const Program& program, const Pt2Interface& interface, SchemaTable& schemas)
      : program_(program),
        interface_(interface),
        schemas_(schemas),
        symbols_(*program.symbols, graph_),
        names_(program.graph.values.size()) {}

  Json write() {
    write_inputs();
    set_place({});
    write_size_guards();
    for (const Node& node : program_.graph.nodes) write_node(node);
    write_outputs();
    Json graph = {{"inputs", std::move(inputs_)},
                  {"outputs", std::move(outputs_)},
                  {"nodes", std::move(graph_.nodes)},
                  {"tensor_values", std::move(graph_.tensor_values)},
                  {"sym_int_values", std::move(graph_.sym_int_values)},
                  {"sym_bool_values", std::move(graph_.sym_bool_values)},
                  {"is_single_tensor_return", false},
                  {"custom_obj_values", Json::object()},
                  {"sym_float_values", std::move(graph_.sym_float_values)}};
    return {
        {"graph_module",
         {{"graph", std::move(graph)},
          {"signature",
           {{"input_specs", std::move(input_specs_)}, {"output_specs", std::move(output_specs_)}}},
          {"module_call_graph", module_call_graph()},
          {"metadata", Json::object()},
          {"treespec_namedtuple_fields", Json::object()}}},
        {"opset_version", {{"aten", pt2::kAtenOpset}}},
        {"range_constraints", range_constraints()},
        {"schema_version", {{"major", pt2::kSchemaMajor}, {"minor", pt2::kSchemaMinor}}},
        {"verifiers", {"TRAINING"}},
        {"torch_version", pt2::kTorchVersion},
        {"guards_code", Json::array()}};
  }

 private:
  void add_value(ValueId id, const std::string& name, bool requires_grad = false) {
    names_[id] = name;
    graph_.tensor_values[name] = tensor_meta(program_.graph.type(id), symbols_, requires_grad);
  }

  void write_weight_input(size_t i) {
    const InputSpec& spec = program_.inputs[i];
    const std::string name = graph_.names.fresh(std::string(kPrefixes.at(spec.kind)) + spec.target);
    add_value(program_.graph.inputs[i], name, interface_.trainable.contains(spec.target));
    inputs_.push_back(tensor_argument(name));
    const Json argument = {{"name", name}};
    switch (spec.kind) {
      case InputKind::kParameter:
        input_specs_.push_back(
            {{"parameter", {{"arg", argument}, {"parameter_name", spec.target}}}});
        break;
      case InputKind::kBuffer:
        input_specs_.push_back(
            {{"buffer",
              {{"arg", argument}, {"buffer_name", spec.target}, {"persistent", spec.persistent}}}});
        break;
      default:
        input_specs_.push_back(
            {{"tensor_constant", {{"arg", argument}, {"tensor_constant_name", spec.target}}}});
    }
  }

  void write_inputs() {
    for (size_t i = 0; i < program_.inputs.size(); ++i) {
      if (program_.inputs[i].weight) write_weight_input(i);
    }
    const std::vector<size_t> user = program_.user_inputs();
    for (const InterfaceLeaf& leaf : interface_.inputs) {
      if (!leaf.tensor) {
        write_constant_input(leaf);
        continue;
      }
      const size_t i = user.at(*leaf.tensor);
      const ValueId id = program_.graph.inputs[i];
      const std::string name = graph_.names.fresh(program_.inputs[i].target);
      if (names_[id].empty()) {
        add_value(id, name);
      } else {  // the same tensor at a second place
        graph_.tensor_values[name] = tensor_meta(program_.graph.type(id), symbols_, false);
      }
      inputs_.push_back(tensor_argument(name));
      input_specs_.push_back({{"user_input", {{"arg", tensor_argument(name)}}}});
    }
    for (size_t i : user) {
      const ValueId id = program_.graph.inputs[i];
      if (names_[id].empty()) {
        throw Error(ErrorCode::kInvalidArgument,
                    "the input '" + program_.inputs[i].target + "' is no leaf of the input tree");
      }
      const std::vector<Expr>& shape = program_.graph.type(id).shape;
      for (size_t dim = 0; dim < shape.size(); ++dim) {
        symbols_.add_source(names_[id], dim, shape[dim]);
      }
    }
  }

  void write_constant_input(const InterfaceLeaf& leaf) {
    const std::string name = graph_.names.fresh(leaf.name);
    inputs_.push_back(constant_json(leaf.constant));
    input_specs_.push_back(
        {{"constant_input", {{"name", name}, {"value", constant_json(leaf.constant)}}}});
  }

  // torch.export's own checks cover equal and fixed sizes, and bounds other than small lower ones.
  void write_size_guards() {
    const SymbolTable& symbols = *program_.symbols;
    for (SymbolId id = 0; id < symbols.size(); ++id) {
      const SymbolInfo& info = symbols.info(id);
      const bool checked_by_torch = info.range.lo <= 0 || info.range.lo > pt2::kSmallestSize;
      if (checked_by_torch || symbols.replacement(id) || !symbols_.knows(id)) continue;
      const Expr symbol = program_.symbols->symbol(id);
      assert_true(Predicate::compare(symbol, Relation::kGe, info.range.lo), {});
    }
    for (const Guard& guard : symbols.guards()) {
      const Predicate predicate = resolved(guard);
      if (!about_data(predicate, symbols)) assert_true(predicate, guard.source);
    }
  }

  // As the interpreter reads a guard: a symbol from data has its own value, whatever it equals.
  Predicate resolved(const Guard& guard) const {
    const SymbolTable& symbols = *program_.symbols;
    return guard.predicate.substitute([&](SymbolId id) {
      return symbols.info(id).unbacked ? std::nullopt : symbols.replacement(id);
    });
  }

  void assert_true(const Predicate& predicate, const SourceLine& source) {
    if (predicate.maybe_constant() == true) return;
    std::string message = "the program was captured for inputs with " + to_string(predicate);
    if (source.known()) message += " (" + to_string(source) + ")";
    const Json condition = symbols_.boolean(predicate);
    graph_.add_node("torch.ops.aten._assert_scalar.default",
                    Json::array({named_argument("self", condition),
                                 named_argument("assert_msg", {{"as_string", message}})}),
                    Json::array(), graph_.names.fresh("_assert_scalar_default"));
  }

  // Where the next nodes come from, in torch's words.
  void set_place(const Provenance& place) {
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
    graph_.metadata = {{"nn_module_stack", std::move(stack)}};
    if (!source.known()) return;
    graph_.metadata["stack_trace"] =
        "  File \"" + source.file + "\", line " + std::to_string(source.line) + ", in forward";
  }

  void write_node(const Node& node) {
    set_place(node.provenance);
    if (binds_symbol(node)) {
      write_binding(node);
      return;
    }
    if (is_loop(node)) {
      throw Error(ErrorCode::kUnsupported,
                  "the .pt2 writer has no loops: capture the model with loops=False",
                  program_.source(node), program_.module_path(node));
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
    const std::string name = graph_.names.fresh(base);
    Json outputs = Json::array();
    if (single != nullptr) {
      add_value(*single, name);
      outputs.push_back(tensor_argument(name));
    } else {
      for (const Output& output : node.outputs) outputs.push_back(output_json(output));
    }
    graph_.add_node("torch.ops." + op, std::move(inputs), std::move(outputs), name);
  }

  Json output_json(const Output& output) {
    if (std::holds_alternative<None>(output)) return {{"as_none", true}};
    if (const auto* id = std::get_if<ValueId>(&output)) {
      add_value(*id, graph_.names.fresh("getitem"));
      return tensor_argument(names_[*id]);
    }
    Json list = Json::array();
    for (ValueId id : std::get<ValueList>(output)) {
      add_value(id, graph_.names.fresh("getitem"));
      list.push_back({{"name", names_[id]}});
    }
    return {{"as_tensors", std::move(list)}};
  }

  void write_binding(const Node& node) {
    const SymbolId id = bound_symbol(node);
    const ValueId tensor = std::get<ValueRef>(node.arguments[0]).id;
    if (node.op == kBindSize) {
      const auto dim = static_cast<size_t>(std::get<Expr>(node.arguments[1]).constant());
      symbols_.bind_size(id, names_[tensor], dim);
    } else {
      const std::string name = graph_.names.fresh("item");
      graph_.add_node("torch.ops.aten.item.default",
                      Json::array({named_argument("self", tensor_argument(integer(tensor)))}),
                      Json::array({{{"as_sym_int", {{"as_name", name}}}}}), name);
      symbols_.bind(id, name);
    }
    write_data_guards(id);
  }

  // item() of a bool would be a SymBool: such a tensor is read as int64.
  std::string integer(ValueId tensor) {
    if (program_.graph.type(tensor).dtype != DType::kBool) return names_[tensor];
    const std::string name = graph_.names.fresh("_to_copy");
    TensorType type = program_.graph.type(tensor);
    type.dtype = DType::kInt64;
    graph_.tensor_values[name] = tensor_meta(type, symbols_, false);
    graph_.add_node(
        "torch.ops.aten._to_copy.default",
        Json::array({named_argument("self", tensor_argument(names_[tensor])),
                     named_argument("dtype", {{"as_scalar_type", pt2::kInt64}}, kKeyword)}),
        Json::array({tensor_argument(name)}), name);
    return name;
  }

  // What is known of a symbol once it has its value: its range, and the guards that it completes.
  void write_data_guards(SymbolId id) {
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
      const Predicate predicate = resolved(guard);
      bool concerned = false;
      bool known = true;
      predicate.for_each_symbol([&](SymbolId other) {
        concerned = concerned || other == id;
        known = known && (!symbols.info(other).unbacked || symbols_.knows(other));
      });
      if (concerned && known) assert_true(predicate, guard.source);
    }
  }

  void write_outputs() {
    std::vector<std::string> user;
    for (size_t i = 0; i < program_.outputs.size(); ++i) {
      const OutputSpec& spec = program_.outputs[i];
      const std::string& name = names_[program_.graph.outputs[i]];
      if (spec.kind == OutputKind::kUserOutput) {
        user.push_back(name);
        continue;
      }
      outputs_.push_back(tensor_argument(name));
      const Json argument = {{"name", name}};
      if (spec.kind == OutputKind::kBufferMutation) {
        output_specs_.push_back(
            {{"buffer_mutation", {{"arg", argument}, {"buffer_name", spec.target}}}});
      } else {
        output_specs_.push_back(
            {{"user_input_mutation",
              {{"arg", argument}, {"user_input_name", input_name(spec.target)}}}});
      }
    }
    for (const InterfaceLeaf& leaf : interface_.outputs) {
      Json argument = leaf.tensor ? tensor_argument(user.at(*leaf.tensor)) : leaf_json(leaf);
      outputs_.push_back(argument);
      output_specs_.push_back({{"user_output", {{"arg", std::move(argument)}}}});
    }
  }

  Json leaf_json(const InterfaceLeaf& leaf) {
    const auto* size = std::get_if<Expr>(&leaf.constant);
    return size != nullptr ? symbols_.integer(*size) : constant_json(leaf.constant);
  }

  const std::string& input_name(const std::string& target) const {
    for (size_t i : program_.user_inputs()) {
      if (program_.inputs[i].target == target) return names_[program_.graph.inputs[i]];
    }
    throw Error(ErrorCode::kInternal, "the mutated '" + target + "' is no input of the program");
  }

  Json module_call_graph() const {
    const Json signature = {{"inputs", Json::array()},
                            {"outputs", Json::array()},
                            {"in_spec", interface_.in_spec},
                            {"out_spec", interface_.out_spec},
                            {"forward_arg_names", interface_.argument_names}};
    return Json::array({{{"fqn", ""}, {"signature", signature}}});
  }

  // Of every symbol that the graph's shapes mention. Sizes start at 2 where the program takes all:
  // torch's reasoning about sizes assumes it, and does not check it.
  Json range_constraints() const {
    const SymbolTable& symbols = *program_.symbols;
    Json constraints = Json::object();
    auto add = [&](SymbolId id) {
      Interval range = symbols.info(id).range;
      if (!symbols.info(id).unbacked) range.lo = std::max(range.lo, pt2::kSmallestSize);
      Json& entry = constraints[torch_symbol(symbols, id)];
      entry["min_val"] = range.lo == -Interval::kInfinity ? Json() : Json(range.lo);
      entry["max_val"] = range.hi == Interval::kInfinity ? Json() : Json(range.hi);
    };
    for (ValueId id = 0; id < names_.size(); ++id) {
      if (names_[id].empty()) continue;
      for (const Expr& size : program_.graph.type(id).shape) for_each_symbol(size, add);
    }
    for (SymbolId id = 0; id < symbols.size(); ++id) {
      if (symbols.info(id).unbacked && symbols_.knows(id)) add(id);
    }
    return constraints;
  }

  const Program& program_;
  const Pt2Interface& interface_;
  SchemaTable& schemas_;
  GraphState graph_;
  SymbolNodes symbols_;
  ValueNames names_;
  Json inputs_ = Json::array(), outputs_ = Json::array();
  Json input_specs_ = Json::array(), output_specs_ = Json::array();
};

}  // namespace

std::string write_model(const Program& program, const Pt2Interface& interface,
                        SchemaTable& schemas) {
  return ModelWriter(program, interface, schemas).write().dump();
}

}  // namespace portwright
