#include "ir/program.h"

#include <utility>

namespace portwright {

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

}  // namespace portwright
