#include "ir/program.h"

#include <map>
#include <utility>

namespace portwright {
namespace {

// Those at `positions` of both lists, reordered; specs are renamed.
template <typename Spec>
void reorder(std::vector<Spec>& specs, std::vector<ValueId>& values,
             const std::vector<size_t>& positions, const std::vector<Placed>& places) {
  std::vector<bool> taken(positions.size());
  bool complete = places.size() == positions.size();
  for (const Placed& place : places) {
    complete = complete && place.before < taken.size() && !taken[place.before];
    if (complete) taken[place.before] = true;
  }
  if (!complete) throw Error(ErrorCode::kInternal, "arrange() was not given a permutation");
  const std::vector<Spec> old_specs = specs;
  const std::vector<ValueId> old_values = values;
  for (size_t i = 0; i < places.size(); ++i) {
    specs[positions[i]] = old_specs[positions[places[i].before]];
    specs[positions[i]].target = places[i].name;
    values[positions[i]] = old_values[positions[places[i].before]];
  }
}

}  // namespace

ValueId Node::result() const {
  if (outputs.size() == 1) {
    if (const auto* id = std::get_if<ValueId>(&outputs[0])) return *id;
  }
  throw Error(ErrorCode::kInternal, op + " does not have exactly one tensor result");
}

ValueId Graph::add_value(TensorType type, std::string name) {
  values.push_back({std::move(type), std::move(name)});
  return static_cast<ValueId>(values.size() - 1);
}

const Weight* Program::weight(ValueId id) const {
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    if (graph.inputs[i] == id) return inputs[i].weight ? &*inputs[i].weight : nullptr;
  }
  return nullptr;
}

std::vector<size_t> Program::user_inputs() const {
  std::vector<size_t> positions;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].kind == InputKind::kUserInput) positions.push_back(i);
  }
  return positions;
}

void arrange(Program& program, const std::vector<Placed>& inputs,
             const std::vector<Placed>& outputs) {
  const std::vector<size_t> user_inputs = program.user_inputs();
  std::vector<size_t> user_outputs;
  std::map<std::string, std::string> renamed;
  for (const Placed& place : inputs) {
    if (place.before >= user_inputs.size()) continue;  // refused below
    renamed[program.inputs[user_inputs[place.before]].target] = place.name;
  }
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    if (program.outputs[i].kind == OutputKind::kUserOutput) user_outputs.push_back(i);
  }
  reorder(program.inputs, program.graph.inputs, user_inputs, inputs);
  reorder(program.outputs, program.graph.outputs, user_outputs, outputs);
  for (OutputSpec& spec : program.outputs) {
    if (spec.kind == OutputKind::kUserInputMutation) spec.target = renamed.at(spec.target);
  }
  for (const size_t i : user_inputs) {
    const std::string& name = program.inputs[i].target;
    for (Value& value : program.graph.values) {
      if (value.name == name) value.name.clear();
    }
    program.graph.values[program.graph.inputs[i]].name = name;
  }
}

}  // namespace portwright
