#include "executorch/xnnpack/builder.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/error.h"
#include "ir/scalar_bytes.h"

namespace portwright {
namespace {

// FNV-1a. Source: RFC 9923.
uint64_t hash_of(std::span<const std::byte> bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) {
    hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

// The first input of the program that holds this weight, so that tied weights have one key.
const std::string& stored_key(const Program& program, const InputSpec& wanted) {
  for (const InputSpec& input : program.inputs) {
    if (input.weight && same_storage(*input.weight, *wanted.weight)) return input.target;
  }
  return wanted.target;
}

// A constant's own dims for XNNPACK, which has no use for a rank of 0.
std::vector<int64_t> at_least_1d(const std::vector<int64_t>& shape) {
  return shape.empty() ? std::vector<int64_t>{1} : shape;
}

}  // namespace

std::vector<uint32_t> XnnBuilder::initial(const Shape& shape) const {
  std::vector<uint32_t> dims;
  const auto typical = scope_.program().symbols->typical();
  for (const Expr& size : shape) {
    const int64_t initial = std::min(evaluate(size, typical), bounds_.upper(size));
    dims.push_back(static_cast<uint32_t>(std::max<int64_t>(initial, 1)));
  }
  return dims;
}

XnnId XnnBuilder::add_value(DType dtype, Shape shape) {
  graph_.values.push_back({dtype, initial(shape), {}, {}});
  shapes_.push_back(std::move(shape));
  return static_cast<XnnId>(graph_.values.size() - 1);
}

XnnId XnnBuilder::value(ValueId id) {
  const auto found = bound_.find(id);
  if (found != bound_.end()) return found->second;
  const InputSpec* input = scope_.constant(id);
  if (input == nullptr) {
    throw Error(ErrorCode::kInternal, "a delegate uses %" + std::to_string(id) + " before it is");
  }
  const XnnId made = constant(key_of(id), *input->weight, at_least_1d(input->weight->shape));
  bind(id, made);
  return made;
}

std::string XnnBuilder::key_of(ValueId id) const {
  return stored_key(scope_.program(), *scope_.constant(id));
}

void XnnBuilder::input(ValueId id) {
  const TensorType& type = scope_.type(id);
  const XnnId made = add_value(type.dtype, type.shape);
  graph_.values[made].external = static_cast<uint32_t>(graph_.inputs.size());
  graph_.inputs.push_back(made);
  bind(id, made);
}

XnnId XnnBuilder::constant(const std::string& key, const Weight& weight,
                           const std::vector<int64_t>& shape) {
  std::string form = key;
  for (const int64_t size : shape) form += ',' + std::to_string(size);
  const auto found = constants_.find(form);
  if (found != constants_.end()) return found->second;
  const XnnId id = add_value(weight.dtype, {shape.begin(), shape.end()});
  const auto stored = std::find_if(graph_.constants.begin(), graph_.constants.end(),
                                   [&](const PteNamedData& data) { return data.key == key; });
  graph_.values[id].constant = static_cast<uint32_t>(stored - graph_.constants.begin());
  if (stored == graph_.constants.end()) graph_.constants.push_back({key, weight});
  constants_[form] = id;
  return id;
}

XnnId XnnBuilder::floats(const std::vector<int64_t>& shape, const std::vector<float>& values,
                         DType dtype) {
  std::vector<std::byte> bytes = bytes_of_floats(values, dtype);
  const std::string key = "portwright." + std::to_string(hash_of(bytes)) + "." +
                          std::string(to_string(dtype)) + "." + std::to_string(values.size());
  return constant(key, Weight::from_host(dtype, shape, std::move(bytes)), shape);
}

XnnId XnnBuilder::number(double value, DType dtype) {
  return floats({1}, {static_cast<float>(value)}, dtype);
}

XnnId XnnBuilder::operand(const Argument& argument, DType dtype) {
  if (const auto* ref = std::get_if<ValueRef>(&argument)) return value(ref->id);
  if (const auto* real = std::get_if<double>(&argument)) return number(*real, dtype);
  if (const auto* flag = std::get_if<bool>(&argument)) return number(*flag ? 1 : 0, dtype);
  return number(static_cast<double>(std::get<Expr>(argument).constant()), dtype);
}

const XnnNode* XnnBuilder::maker(XnnId id) const {
  const auto found = makers_.find(id);
  return found == makers_.end() ? nullptr : &graph_.nodes[found->second];
}

std::optional<std::vector<float>> XnnBuilder::elements(XnnId id) const {
  const XnnValue& value = graph_.values[id];
  if (!value.constant) return std::nullopt;
  return floats_of_bytes(graph_.constants[*value.constant].weight.copy_bytes(), value.dtype);
}

// A result must have a node that makes it, and be one result only.
XnnId XnnBuilder::as_output(ValueId id) {
  const XnnId made = value(id);
  const bool taken = graph_.values[made].external || graph_.values[made].constant;
  if (!taken) return made;
  return add_node({XnnOp::kCopy, {made}, kNoXnnValue, {}, 0, {}}, shape(made));
}

// The nodes that results need, each as late as those that read it allow, so that what it writes is
// still in the cache when it is read: a model joins keys and values before it reads either. Marks
// the values that these use.
std::vector<XnnNode> XnnBuilder::needed_nodes(std::vector<bool>& needed) {
  std::vector<size_t> readers(graph_.values.size(), 0);  // that have no place yet
  std::vector<size_t> ready;
  for (size_t i = graph_.nodes.size(); i-- > 0;) {
    const XnnNode& node = graph_.nodes[i];
    if (!needed[node.output]) continue;
    if (readers[node.output] == 0) ready.push_back(i);
    for (const XnnId id : node.inputs) {
      if (id == kNoXnnValue) continue;
      needed[id] = true;
      ++readers[id];
    }
  }
  std::reverse(ready.begin(), ready.end());
  std::vector<XnnNode> nodes;  // from the last to the first
  while (!ready.empty()) {
    XnnNode& node = graph_.nodes[ready.back()];
    ready.pop_back();
    for (const XnnId id : node.inputs) {
      if (id == kNoXnnValue || --readers[id] != 0) continue;
      const auto made = makers_.find(id);
      if (made != makers_.end()) ready.push_back(made->second);
    }
    nodes.push_back(std::move(node));
  }
  std::reverse(nodes.begin(), nodes.end());
  return nodes;
}

// Moves the values that are needed, and their constants, and gives where each is now.
std::vector<XnnId> XnnBuilder::move_values(const std::vector<bool>& needed, XnnGraph& kept) {
  std::vector<XnnId> places(graph_.values.size(), kNoXnnValue);
  std::vector<uint32_t> constants(graph_.constants.size(), UINT32_MAX);
  for (XnnId id = 0; id < graph_.values.size(); ++id) {
    if (!needed[id]) continue;
    XnnValue value = std::move(graph_.values[id]);
    if (value.constant) {
      uint32_t& place = constants[*value.constant];
      if (place == UINT32_MAX) {
        place = static_cast<uint32_t>(kept.constants.size());
        kept.constants.push_back(std::move(graph_.constants[*value.constant]));
      }
      value.constant = place;
    }
    places[id] = static_cast<XnnId>(kept.values.size());
    kept.values.push_back(std::move(value));
  }
  return places;
}

XnnGraph XnnBuilder::finish(const std::vector<ValueId>& outputs) {
  for (const ValueId id : outputs) {
    const XnnId made = as_output(id);
    graph_.values[made].external =
        static_cast<uint32_t>(graph_.inputs.size() + graph_.outputs.size());
    graph_.outputs.push_back(made);
  }
  std::vector<bool> needed(graph_.values.size());
  for (const XnnId id : graph_.outputs) needed[id] = true;
  for (const XnnId id : graph_.inputs) needed[id] = true;
  XnnGraph kept;
  kept.nodes = needed_nodes(needed);
  const std::vector<XnnId> places = move_values(needed, kept);
  const auto move = [&](std::vector<XnnId>& ids) {
    for (XnnId& id : ids) id = id == kNoXnnValue ? id : places[id];
  };
  for (XnnNode& node : kept.nodes) {
    move(node.inputs);
    node.output = places[node.output];
  }
  kept.inputs = std::move(graph_.inputs);
  kept.outputs = std::move(graph_.outputs);
  move(kept.inputs);
  move(kept.outputs);
  return kept;
}

}  // namespace portwright
