#include "executorch/edge/writer.h"

#include <algorithm>

#include "executorch/edge/lowering.h"
#include "ir/broadcast.h"

namespace portwright {

void EdgeWriter::kernel(const std::string& op, std::vector<Argument> arguments,
                        std::vector<Output> results) {
  for (Argument& argument : arguments) {
    argument = map_values(argument, [this](ValueId id) { return current(id); });
  }
  nodes_.push_back({op, std::move(arguments), std::move(results), {}, place_});
}

ValueId EdgeWriter::kernel(const std::string& op, std::vector<Argument> arguments,
                           TensorType type) {
  const ValueId id = make(std::move(type));
  kernel(op, std::move(arguments), std::vector<Output>{id});
  return id;
}

void EdgeWriter::give(const std::string& op, std::vector<Argument> arguments,
                      std::vector<Output> results) {
  give(Node{op, std::move(arguments), std::move(results), {}, place_});
}

void EdgeWriter::give(const Node& node) {
  Node current_node = node;
  for (Argument& argument : current_node.arguments) {
    argument = map_values(argument, [this](ValueId id) { return current(id); });
  }
  if (const EdgeFn lower = find_edge_lowering(node.op)) {
    lower({*this, current_node});
  } else {
    nodes_.push_back(std::move(current_node));
  }
}

ValueId EdgeWriter::add(const std::string& op, std::vector<Argument> arguments, TensorType type) {
  type.strides.reset();
  const ValueId id = make(std::move(type));
  give(op, std::move(arguments), std::vector<Output>{id});
  return current(id);
}

ValueId EdgeWriter::cast(ValueId id, DType dtype) {
  if (type(id).dtype == dtype) return id;
  return kernel("aten._to_copy.default",
                {ValueRef{id}, dtype, None{}, None{}, None{}, false, None{}},
                TensorType{dtype, type(id).shape, {}});
}

ValueId EdgeWriter::view(ValueId id, const std::vector<Expr>& shape) {
  if (type(id).shape == shape) return id;
  return kernel("aten.view.default", {ValueRef{id}, IntList(shape)},
                TensorType{type(id).dtype, shape, {}});
}

ValueId EdgeWriter::expand(ValueId id, const std::vector<Expr>& shape) {
  if (type(id).shape == shape) return id;
  return kernel("aten.expand.default", {ValueRef{id}, IntList(shape), false},
                TensorType{type(id).dtype, shape, {}});
}

ValueId EdgeWriter::permute(ValueId id, const std::vector<int64_t>& order) {
  TensorType permuted{type(id).dtype, {}, {}};
  IntList dims;
  for (int64_t from : order) {
    permuted.shape.push_back(type(id).shape.at(from));
    dims.emplace_back(from);
  }
  if (std::is_sorted(order.begin(), order.end())) return id;
  return kernel("aten.permute.default", {ValueRef{id}, dims}, permuted);
}

ValueId EdgeWriter::binary(const std::string& op, ValueId a, ValueId b) {
  TensorType result{type(a).dtype, broadcast(type(a).shape, type(b).shape), {}};
  return add(op, {ValueRef{a}, ValueRef{b}}, std::move(result));
}

ValueId EdgeWriter::sum(ValueId a, ValueId b) {
  TensorType result{type(a).dtype, broadcast(type(a).shape, type(b).shape), {}};
  return add("aten.add.Tensor", {ValueRef{a}, ValueRef{b}, Expr(1)}, std::move(result));
}

ValueId EdgeWriter::difference(ValueId a, ValueId b) {
  TensorType result{type(a).dtype, broadcast(type(a).shape, type(b).shape), {}};
  return add("aten.sub.Tensor", {ValueRef{a}, ValueRef{b}, Expr(1)}, std::move(result));
}

ValueId EdgeWriter::with_number(const std::string& op, ValueId id, Argument number) {
  return add(op, {ValueRef{id}, std::move(number)}, type(id));
}

ValueId EdgeWriter::plus(ValueId id, Argument number) {
  return add("aten.add.Scalar", {ValueRef{id}, std::move(number), Expr(1)}, type(id));
}

ValueId EdgeWriter::compared(const std::string& op, ValueId id, Argument number) {
  return add(op, {ValueRef{id}, std::move(number)}, TensorType{DType::kBool, type(id).shape, {}});
}

ValueId EdgeWriter::slice(ValueId id, int64_t dim, const Expr& start, const Expr& end) {
  TensorType part{type(id).dtype, type(id).shape, {}};
  if (start.is_constant(0) && part.shape.at(dim) == end) return id;
  part.shape.at(dim) = end - start;
  return add("aten.slice.Tensor", {ValueRef{id}, Expr(dim), start, end, Expr(1)}, std::move(part));
}

ValueId EdgeWriter::full(const std::vector<Expr>& shape, Argument number, DType dtype) {
  return kernel("aten.full.default",
                {IntList(shape), std::move(number), dtype, None{}, None{}, None{}},
                TensorType{dtype, shape, {}});
}

ValueId EdgeWriter::matrix_transposed(ValueId id) {
  std::vector<int64_t> order(type(id).rank());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::swap(order[order.size() - 1], order[order.size() - 2]);
  return permute(id, order);
}

ValueId EdgeWriter::reduced(const std::string& op, ValueId id, const std::vector<int64_t>& dims) {
  TensorType result{type(id).dtype, type(id).shape, {}};
  IntList list;
  for (int64_t dim : dims) {
    result.shape.at(dim) = 1;
    list.emplace_back(dim);
  }
  return add(op, {ValueRef{id}, list, true, None{}}, std::move(result));
}

}  // namespace portwright
