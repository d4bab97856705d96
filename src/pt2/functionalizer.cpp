#include "pt2/functionalizer.h"

#include <algorithm>

#include "pt2/in_place.h"

namespace portwright {
namespace {

std::vector<ValueId> values_in(const Node& node) {
  std::vector<ValueId> values;
  for (const Argument& argument : node.arguments) {
    for_each_value(argument, [&](ValueId id) { values.push_back(id); });
  }
  return values;
}

const std::string kAsStrided = "aten.as_strided.default";

ValueId first_tensor(const Node& node) { return std::get<ValueRef>(node.arguments.at(0)).id; }

}  // namespace

Functionalizer::Tensor& Functionalizer::find(ValueId id) {
  const auto [entry, added] = tensors_.try_emplace(id);
  if (added) {
    entry->second.base = std::make_shared<AliasBase>(AliasBase{id, 0});
    entry->second.value = id;
  }
  return entry->second;
}

ValueId Functionalizer::current(ValueId tensor) {
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) return tensor;
  Tensor& known = found->second;
  if (known.version != known.base->version) {
    known.value = replay_chain(*this, known.view.get(), known.base->value);
    known.version = known.base->version;
  }
  return known.value;
}

void Functionalizer::use_current(Node& node) {
  for (Argument& argument : node.arguments) {
    argument = map_values(argument, [this](ValueId id) { return current(id); });
  }
  node.provenance = place_;
}

void Functionalizer::add_node(Node node, const Schema& schema) {
  const std::vector<ValueId> operands = values_in(node);
  // Before the current values are taken: the layout is that of the tensors as they were traced.
  const Sharing how = operands.empty() ? Sharing::kNone : sharing(node, schema, graph_);
  use_current(node);
  if (node.op == kAsStrided && first_tensor(node) != operands[0]) {
    node.arguments[0] = ValueRef{row_major(first_tensor(node))};
  }
  share(how, node, operands);
  graph_.nodes.push_back(std::move(node));
}

void Functionalizer::share(Sharing how, const Node& node, const std::vector<ValueId>& operands) {
  if (how == Sharing::kNone) return;
  ValueList results;
  for_each_output(node, [&](ValueId id) { results.push_back(id); });
  if (how == Sharing::kUnknown) {
    for (ValueId id : operands) leave_unfollowed(id, node.op);
    for (ValueId id : results) leave_unfollowed(id, node.op);
    return;
  }
  const Tensor viewed = find(operands[0]);
  for (uint32_t i = 0; i < results.size(); ++i) {
    std::shared_ptr<const ViewStep> view = viewed.view;
    if (how == Sharing::kView) {
      view = std::make_shared<ViewStep>(
          ViewStep{viewed.view, node.op, node.arguments, i, node.outputs.at(0)});
    }
    tensors_[results[i]] = {viewed.base, std::move(view), results[i], viewed.base->version};
  }
  // It reads memory, not elements: of a tensor in row-major order only is it known what that holds.
  if (node.op == kAsStrided && graph_.type(operands[0]).strides) {
    leave_unfollowed(operands[0], node.op);
  }
}

void Functionalizer::leave_unfollowed(ValueId tensor, const std::string& op) {
  unfollowed_.emplace(find(tensor).base.get(), op);
}

ValueId Functionalizer::row_major(ValueId value) {
  return add("aten.clone.default", {ValueRef{value}, MemoryFormat{"contiguous_format"}},
             {graph_.type(value).dtype, graph_.type(value).shape, std::nullopt});
}

void Functionalizer::become(ValueId tensor, ValueId view) {
  const std::vector<ValueId>& inputs = graph_.inputs;
  if (std::find(inputs.begin(), inputs.end(), tensor) != inputs.end()) {
    refuse("an in-place operator changes the shape of an input");
  }
  tensors_[tensor] = find(view);
}

void Functionalizer::write(const std::string& op, Node functional) {
  const ValueId tensor = first_tensor(functional);
  const auto unfollowed = unfollowed_.find(find(tensor).base.get());
  if (unfollowed != unfollowed_.end()) {
    refuse(op + " writes to a tensor whose memory " + unfollowed->second +
           " shares in a way that cannot be followed");
  }
  const TensorType target = graph_.type(current(tensor));
  use_current(functional);
  ValueId part = kNoValue;
  if (const auto stated = stated_write(*this, op, functional.arguments)) {
    part = *stated;
  } else {
    const DType dtype = computed_dtype(functional, graph_);
    part = add(functional.op, std::move(functional.arguments), {dtype, target.shape, std::nullopt});
  }
  part = conform(*this, part, target);
  Tensor& written = find(tensor);
  written.base->value = write_through(*this, written.view.get(), written.base->value, part);
  ++written.base->version;
  written.value = part;
  written.version = written.base->version;
}

std::vector<std::pair<ValueId, ValueId>> Functionalizer::writes() const {
  std::vector<std::pair<ValueId, ValueId>> list;
  for (ValueId input : graph_.inputs) {
    const auto found = tensors_.find(input);
    if (found == tensors_.end() || found->second.base->version == 0) continue;
    list.emplace_back(input, found->second.base->value);
  }
  return list;
}

ValueId Functionalizer::add(const std::string& op, std::vector<Argument> arguments,
                            TensorType type) {
  const ValueId result = graph_.add_value(std::move(type));
  graph_.nodes.push_back({op, std::move(arguments), {result}, {}, place_});
  return result;
}

ValueId Functionalizer::replay(const ViewStep& step, ValueId operand) {
  Node node{step.op, step.arguments, {}, {}, place_};
  const DType before = graph_.type(first_tensor(node)).dtype;
  const auto fresh = [&](ValueId first) {
    TensorType type = graph_.type(first);
    if (type.dtype == before) type.dtype = graph_.type(operand).dtype;
    return graph_.add_value(std::move(type));
  };
  ValueId result = kNoValue;
  if (const auto* list = std::get_if<ValueList>(&step.results)) {
    ValueList results;
    for (ValueId first : *list) results.push_back(fresh(first));
    result = results.at(step.output);
    node.outputs = {std::move(results)};
  } else {
    result = fresh(std::get<ValueId>(step.results));
    node.outputs = {result};
  }
  node.arguments[0] = ValueRef{step.op == kAsStrided ? row_major(operand) : operand};
  graph_.nodes.push_back(std::move(node));
  return result;
}

bool Functionalizer::holds(const Predicate& predicate) {
  return program_.symbols->decide(predicate) == true;
}

void Functionalizer::refuse_write(const std::string& view) {
  refuse("an in-place operator writes through " + view + ", which cannot be made functional");
}

void Functionalizer::refuse(const std::string& what) const {
  throw Error(ErrorCode::kUnsupported,
              what +
                  ": write to a copy (.clone()) in the model, or save the program after "
                  "run_decompositions({})",
              program_.source_lines.at(place_.source), program_.module_paths.at(place_.module));
}

}  // namespace portwright
