#include "executorch/xnnpack/builder.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "base/error.h"

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
const std::string& key_of(const Program& program, const InputSpec& wanted) {
  for (const InputSpec& input : program.inputs) {
    if (input.weight && same_storage(*input.weight, *wanted.weight)) return input.target;
  }
  return wanted.target;
}

// A constant's own dims for XNNPACK, which has no use for a rank of 0.
std::vector<int64_t> at_least_1d(const std::vector<int64_t>& shape) {
  return shape.empty() ? std::vector<int64_t>{1} : shape;
}

std::vector<uint32_t> to_u32(const std::vector<size_t>& values) {
  return {values.begin(), values.end()};
}

bool is_identity(const std::vector<size_t>& order) {
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] != i) return false;
  }
  return true;
}

bool swaps_last_two(const std::vector<uint32_t>& order) {
  const size_t rank = order.size();
  for (size_t i = 0; i + 2 < rank; ++i) {
    if (order[i] != i) return false;
  }
  return rank >= 2 && order[rank - 2] == rank - 1 && order[rank - 1] == rank - 2;
}

// Whether the order moves nothing but dims of 1, so that the elements stay in their places.
bool moves_only_ones(const std::vector<size_t>& order, const Shape& shape) {
  size_t last = 0;
  for (const size_t dim : order) {
    if (shape[dim].is_constant(1)) continue;
    if (dim < last) return false;
    last = dim;
  }
  return true;
}

}  // namespace

Shape broadcast(const Shape& a, const Shape& b) {
  Shape shape(std::max(a.size(), b.size()), Expr(1));
  for (size_t i = 0; i < shape.size(); ++i) {
    const Expr left = i < a.size() ? a[a.size() - 1 - i] : Expr(1);
    const Expr right = i < b.size() ? b[b.size() - 1 - i] : Expr(1);
    shape[shape.size() - 1 - i] = left.is_constant(1) ? right : left;
  }
  return shape;
}

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
  const XnnId made =
      constant(key_of(scope_.program(), *input), *input->weight, at_least_1d(input->weight->shape));
  bind(id, made);
  return made;
}

void XnnBuilder::input(ValueId id) {
  const TensorType& type = scope_.type(id);
  const XnnId made = add_value(type.dtype, type.shape);
  graph_.values[made].external = static_cast<uint32_t>(graph_.inputs.size());
  graph_.inputs.push_back(made);
  bind(id, made);
}

XnnId XnnBuilder::constant(const std::string& key, const Weight& weight,
                           std::vector<int64_t> shape) {
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

XnnId XnnBuilder::floats(std::vector<int64_t> shape, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  const std::string key =
      "portwright." + std::to_string(hash_of(bytes)) + "." + std::to_string(values.size());
  return constant(key, Weight::from_host(DType::kFloat32, shape, std::move(bytes)), shape);
}

XnnId XnnBuilder::number(double value) { return floats({1}, {static_cast<float>(value)}); }

XnnId XnnBuilder::operand(const Argument& argument) {
  if (const auto* ref = std::get_if<ValueRef>(&argument)) return value(ref->id);
  if (const auto* real = std::get_if<double>(&argument)) return number(*real);
  if (const auto* flag = std::get_if<bool>(&argument)) return number(*flag ? 1 : 0);
  return number(static_cast<double>(std::get<Expr>(argument).constant()));
}

const XnnNode* XnnBuilder::maker(XnnId id) const {
  const auto found = makers_.find(id);
  return found == makers_.end() ? nullptr : &graph_.nodes[found->second];
}

XnnId XnnBuilder::add_node(XnnNode node, Shape shape) {
  if (shape.size() > kXnnMaxRank) {
    throw Error(ErrorCode::kInternal, "a tensor of rank " + std::to_string(shape.size()) +
                                          " was to be lowered to XNNPACK");
  }
  node.output = add_value(DType::kFloat32, std::move(shape));
  makers_[node.output] = graph_.nodes.size();
  graph_.nodes.push_back(std::move(node));
  return graph_.nodes.back().output;
}

XnnId XnnBuilder::unary(XnnOp op, XnnId x, XnnAttributes attributes) {
  return add_node({op, {x}, kNoXnnValue, std::move(attributes), 0, {}}, shape(x));
}

XnnId XnnBuilder::clamp(XnnId x, float low, float high) {
  return add_node({XnnOp::kClamp, {x}, kNoXnnValue, {}, 0, XnnRange{low, high}}, shape(x));
}

XnnId XnnBuilder::binary(XnnOp op, XnnId a, XnnId b) {
  return add_node({op, {a, b}, kNoXnnValue, {}, 0, {}}, broadcast(shape(a), shape(b)));
}

XnnId XnnBuilder::scale(XnnId x, double factor) {
  return factor == 1 ? x : binary(XnnOp::kMultiply, x, number(factor));
}

XnnId XnnBuilder::reshape(XnnId x, Shape shape) {
  const XnnNode* before = maker(x);
  if (before != nullptr && before->op == XnnOp::kReshape) x = before->inputs[0];
  if (shapes_.at(x) == shape) return x;
  if (dynamic_dims(shape) > 1) {
    throw Error(ErrorCode::kInternal, "XNNPACK infers one dim of a reshape only");
  }
  XnnDims dims;
  for (const Expr& size : shape) {
    dims.dims.push_back(static_cast<uint32_t>(size.maybe_constant().value_or(0)));
  }
  return add_node({XnnOp::kReshape, {x}, kNoXnnValue, std::move(dims), 0, {}}, std::move(shape));
}

XnnId XnnBuilder::transpose(XnnId x, const std::vector<size_t>& order) {
  const XnnNode* before = maker(x);
  if (before != nullptr && before->op == XnnOp::kTranspose) {
    const auto& first = std::get<XnnDims>(before->attributes).dims;
    std::vector<size_t> both;
    for (const size_t dim : order) both.push_back(first[dim]);
    return transpose(before->inputs[0], both);
  }
  if (is_identity(order)) return x;
  const Shape from = shape(x);
  Shape to;
  for (const size_t dim : order) to.push_back(from[dim]);
  if (moves_only_ones(order, from) && dynamic_dims(to) <= 1) return reshape(x, to);
  return add_node({XnnOp::kTranspose, {x}, kNoXnnValue, XnnDims{to_u32(order)}, 0, {}},
                  std::move(to));
}

XnnId XnnBuilder::slice(XnnId x, size_t dim, int64_t start, int64_t size, const Expr& result) {
  Shape to = shape(x);
  if (start == 0 && to.at(dim) == result) return x;
  XnnSlice slice{std::vector<uint32_t>(to.size(), 0), std::vector<uint32_t>(to.size(), 0)};
  slice.offsets[dim] = static_cast<uint32_t>(start);
  slice.sizes[dim] = static_cast<uint32_t>(std::min<int64_t>(size, INT32_MAX));
  to[dim] = result;
  return add_node({XnnOp::kSlice, {x}, kNoXnnValue, std::move(slice), 0, {}}, std::move(to));
}

XnnId XnnBuilder::concatenate(std::vector<XnnId> items, size_t dim) {
  while (items.size() > 1) {
    const size_t count = std::min(items.size(), kXnnMaxConcatenated);
    const std::vector<XnnId> first(items.begin(), items.begin() + static_cast<ptrdiff_t>(count));
    Shape to = shape(first[0]);
    for (size_t i = 1; i < count; ++i) to[dim] = to[dim] + shapes_.at(first[i])[dim];
    items.erase(items.begin(), items.begin() + static_cast<ptrdiff_t>(count));
    const XnnAxis axis{static_cast<uint32_t>(dim)};
    items.insert(items.begin(),
                 add_node({XnnOp::kConcatenate, first, kNoXnnValue, axis, 0, {}}, std::move(to)));
  }
  return items.at(0);
}

XnnId XnnBuilder::fully_connected(XnnId x, XnnId filter, XnnId bias, uint32_t flags) {
  Shape to = shape(x);
  const Shape weights = shape(filter);
  to.back() = (flags & kXnnTransposeWeights) != 0 ? weights.at(1) : weights.at(0);
  return add_node({XnnOp::kFullyConnected, {x, filter, bias}, kNoXnnValue, {}, flags, {}},
                  std::move(to));
}

XnnId XnnBuilder::matmul(XnnId a, XnnId b) {
  const Shape left = shape(a), right = shape(b);
  Shape to = broadcast({left.begin(), left.end() - 2}, {right.begin(), right.end() - 2});
  to.push_back(left[left.size() - 2]);
  to.push_back(right.back());
  uint32_t flags = 0;
  const XnnNode* before = maker(b);
  if (before != nullptr && before->op == XnnOp::kTranspose &&
      swaps_last_two(std::get<XnnDims>(before->attributes).dims)) {
    b = before->inputs[0];
    flags = kXnnTransposeWeights;
  }
  return add_node({XnnOp::kBatchMatrixMultiply, {a, b}, kNoXnnValue, {}, flags, {}}, std::move(to));
}

// XNNPACK's own sums are not in the delegate: a filter of one row sums.
XnnId XnnBuilder::reduce_last(XnnId x, double factor, double offset) {
  const int64_t width = shape(x).back().constant();
  const XnnId filter = floats(
      {1, width}, std::vector<float>(static_cast<size_t>(width), static_cast<float>(factor)));
  return fully_connected(x, filter, offset == 0 ? kNoXnnValue : number(offset));
}

// A result must have a node that makes it, and be one result only.
XnnId XnnBuilder::as_output(ValueId id) {
  const XnnId made = value(id);
  const bool taken = graph_.values[made].external || graph_.values[made].constant;
  return taken ? unary(XnnOp::kCopy, made) : made;
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
  std::vector<XnnNode> nodes;
  for (size_t i = graph_.nodes.size(); i-- > 0;) {
    XnnNode& node = graph_.nodes[i];
    if (!needed[node.output]) continue;
    for (const XnnId id : node.inputs) {
      if (id != kNoXnnValue) needed[id] = true;
    }
    nodes.push_back(std::move(node));
  }
  std::reverse(nodes.begin(), nodes.end());
  for (const XnnId id : graph_.inputs) needed[id] = true;

  XnnGraph kept;
  std::vector<XnnId> renamed(graph_.values.size(), kNoXnnValue);
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
    renamed[id] = static_cast<XnnId>(kept.values.size());
    kept.values.push_back(std::move(value));
  }
  const auto rename = [&](XnnId& id) {
    if (id != kNoXnnValue) id = renamed[id];
  };
  for (XnnNode& node : nodes) {
    for (XnnId& id : node.inputs) rename(id);
    rename(node.output);
  }
  kept.nodes = std::move(nodes);
  kept.inputs = std::move(graph_.inputs);
  kept.outputs = std::move(graph_.outputs);
  for (XnnId& id : kept.inputs) rename(id);
  for (XnnId& id : kept.outputs) rename(id);
  return kept;
}

}  // namespace portwright
