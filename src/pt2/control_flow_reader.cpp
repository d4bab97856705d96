// Control flow of a .pt2 document.
#include <utility>

#include "ir/loop_node.h"
#include "pt2/argument_reader.h"
#include "pt2/graph_reader.h"
#include "pt2/node_parts.h"

namespace portwright {
namespace {

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
ValueList tensors_in(const Json& argument, const Scope& scope) {
  const auto [field, value] = union_of(argument);
  if (field != "as_tensors" && !value.empty()) {
    throw Error(ErrorCode::kUnsupported,
                "a scan with operands of the kind '" + field + "' in a .pt2 file is not supported");
  }
  ValueList list;
  for (const Json& item : value) list.push_back(scope.tensor(item.at("name").get<std::string>()));
  return list;
}

}  // namespace

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
  const auto tensors = [&](const Json& input) {
    ValueList list = tensors_in(input.at("arg"), scope);
    for (ValueId& id : list) id = views_->current(id);
    return list;
  };
  const ValueList initial = tensors(inputs[1]);
  const ValueList scanned = tensors(inputs[2]);
  ValueList captures = scanned;
  const ValueList more = tensors(inputs[3]);
  captures.insert(captures.end(), more.begin(), more.end());
  const Json& parameters = body.at("inputs");
  if (scanned.empty() || parameters.size() != initial.size() + captures.size()) {
    corrupt("a scan's body with another number of operands than it is given");
  }
  if (graph_->type(scanned[0]).rank() == 0) corrupt("a scan over a tensor without dims");
  const Expr trips = graph_->type(scanned[0]).shape[0];
  const Expr counter = add_symbol("round", {0, Interval::kInfinity}, "the round of a scan");

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
  Functionalizer inside_views(program_, inside);
  Functionalizer* const outer_views = std::exchange(views_, &inside_views);
  graph_ = &inside;
  read_nodes(body, names, depth + 1);
  for (const Json& output : body.at("outputs")) {
    inside.outputs.push_back(views_->current(names.tensor(name_in(output))));
  }
  graph_ = outer;
  views_ = outer_views;
  if (!inside_views.writes().empty()) {
    throw Error(ErrorCode::kUnsupported,
                "a scan whose body writes to its operands is not supported");
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
