#include "pt2/model_writer.h"

#include <algorithm>
#include <map>

#include "ir/data_symbols.h"
#include "pt2/file_hints.h"
#include "pt2/format.h"
#include "pt2/graph_writer.h"
#include "pt2/sympy_text.h"

namespace portwright {
namespace {

const std::map<InputKind, std::string_view> kPrefixes = {{InputKind::kUserInput, ""},
                                                         {InputKind::kParameter, "p_"},
                                                         {InputKind::kBuffer, "b_"},
                                                         {InputKind::kConstantTensor, "c_"}};

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
        hints_(file_hints(*program.symbols)),
        graph_(program, program.graph, schemas, hints_) {}

  Json write() {
    write_inputs();
    write_size_guards();
    graph_.write_nodes();
    write_outputs();
    return {
        {"graph_module",
         {{"graph", graph_.document(std::move(inputs_), std::move(outputs_))},
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
  void write_weight_input(size_t i) {
    const InputSpec& spec = program_.inputs[i];
    const std::string name = graph_.fresh(std::string(kPrefixes.at(spec.kind)) + spec.target);
    graph_.add_value(program_.graph.inputs[i], name, interface_.trainable.contains(spec.target));
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
      const std::string name = graph_.fresh(program_.inputs[i].target);
      if (!graph_.is_named(id)) {
        graph_.add_value(id, name);
      } else {  // the same tensor at a second place
        graph_.add_type(name, program_.graph.type(id));
      }
      inputs_.push_back(tensor_argument(name));
      input_specs_.push_back({{"user_input", {{"arg", tensor_argument(name)}}}});
    }
    for (size_t i : user) {
      const ValueId id = program_.graph.inputs[i];
      if (!graph_.is_named(id)) {
        throw Error(ErrorCode::kInvalidArgument,
                    "the input '" + program_.inputs[i].target + "' is no leaf of the input tree");
      }
      const std::vector<Expr>& shape = program_.graph.type(id).shape;
      for (size_t dim = 0; dim < shape.size(); ++dim) {
        graph_.symbols().add_source(graph_.name(id), dim, shape[dim]);
      }
    }
  }

  void write_constant_input(const InterfaceLeaf& leaf) {
    const std::string name = graph_.fresh(leaf.name);
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
      if (checked_by_torch || symbols.replacement(id) || !graph_.symbols().knows(id)) continue;
      const Expr symbol = program_.symbols->symbol(id);
      graph_.assert_true(Predicate::compare(symbol, Relation::kGe, info.range.lo), {});
    }
    for (const Guard& guard : symbols.guards()) {
      const Predicate predicate = resolved(guard, symbols);
      if (!about_data(predicate, symbols)) graph_.assert_true(predicate, guard.source);
    }
  }

  void write_outputs() {
    std::vector<std::string> user;
    for (size_t i = 0; i < program_.outputs.size(); ++i) {
      const OutputSpec& spec = program_.outputs[i];
      const std::string& name = graph_.name(program_.graph.outputs[i]);
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
    return size != nullptr ? graph_.symbols().integer(*size) : constant_json(leaf.constant);
  }

  const std::string& input_name(const std::string& target) const {
    for (size_t i : program_.user_inputs()) {
      if (program_.inputs[i].target == target) return graph_.name(program_.graph.inputs[i]);
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
    for (ValueId id = 0; id < program_.graph.values.size(); ++id) {
      if (!graph_.is_named(id)) continue;
      for (const Expr& size : program_.graph.type(id).shape) for_each_symbol(size, add);
    }
    for (const Node& node : program_.graph.nodes) {
      if (is_loop(node)) std::ranges::for_each(round_symbols(as_loop(node)), add);
    }
    for (SymbolId id = 0; id < symbols.size(); ++id) {
      if (symbols.info(id).unbacked && graph_.symbols().knows(id)) add(id);
    }
    return constraints;
  }

  const Program& program_;
  const Pt2Interface& interface_;
  const std::vector<int64_t> hints_;
  GraphWriter graph_;
  Json inputs_ = Json::array(), outputs_ = Json::array();
  Json input_specs_ = Json::array(), output_specs_ = Json::array();
};

}  // namespace

std::string write_model(const Program& program, const Pt2Interface& interface,
                        SchemaTable& schemas) {
  return ModelWriter(program, interface, schemas).write().dump();
}

}  // namespace portwright
