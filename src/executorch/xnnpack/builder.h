// Writes an XnnGraph: values with symbolic shapes, nodes, constants stored once. Copies that change
// nothing are left out.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "executorch/bounds.h"
#include "executorch/xnnpack/graph.h"
#include "executorch/xnnpack/scope.h"

namespace portwright {

using Shape = std::vector<Expr>;

class XnnBuilder {
 public:
  // `scope` is a delegate's body.
  XnnBuilder(const XnnScope& scope, const Bounds& bounds) : scope_(scope), bounds_(bounds) {}

  const XnnScope& scope() const { return scope_; }

  // The XNNPACK value of a value of the body; constants are made where they are first asked for.
  XnnId value(ValueId id);
  void bind(ValueId id, XnnId value) { bound_[id] = value; }
  void input(ValueId id);  // in the order of the call's arguments
  // Copies are by value: what is added later moves the shapes.
  Shape shape(XnnId id) const { return shapes_.at(id); }
  DType dtype(XnnId id) const { return graph_.values.at(id).dtype; }

  // What a constant of the body is stored under.
  std::string key_of(ValueId id) const;
  XnnId constant(const std::string& key, const Weight& weight, const std::vector<int64_t>& shape);
  // Constants that are made here, float32 or float16; equal ones are stored once.
  XnnId floats(const std::vector<int64_t>& shape, const std::vector<float>& values, DType dtype);
  XnnId number(double value, DType dtype);  // of shape [1]
  // A tensor operand, or a number as a constant.
  XnnId operand(const Argument& argument, DType dtype);

  // A node as it stands, whose result is of its first input's dtype, and what follows here: nodes
  // with what is needless left out. Tensors of channels that convolutions left as NHWC stay so
  // through these until something needs NCHW.
  XnnId add_node(XnnNode node, Shape shape);
  XnnId convert(XnnId x, DType dtype);
  XnnId unary(XnnOp op, XnnId x, XnnAttributes attributes = {});
  XnnId clamp(XnnId x, float low, float high);
  XnnId binary(XnnOp op, XnnId a, XnnId b);
  XnnId scale(XnnId x, double factor);  // x itself for 1
  XnnId reshape(XnnId x, Shape shape);
  XnnId transpose(XnnId x, const std::vector<size_t>& order);
  XnnId slice(XnnId x, size_t dim, int64_t start, int64_t size, const Expr& result);
  XnnId pad(XnnId x, XnnPadding padding, Shape result);
  XnnId concatenate(std::vector<XnnId> items, size_t dim);
  XnnId fully_connected(XnnId x, XnnId filter, XnnId bias, uint32_t flags = 0);
  XnnId matmul(XnnId a, XnnId b);
  XnnId softmax(XnnId x);  // float32
  // 1 / sqrt(x), infinite at 0, where XNNPACK's own has no number.
  XnnId inverse_root(XnnId x);
  // Over the last dim, which stays as 1: the sum of the elements times `factor`, plus `offset`.
  // float32.
  XnnId reduce_last(XnnId x, double factor, double offset = 0);

  // [batch, channels, height, width] as XNNPACK has it, and back.
  XnnId to_nhwc(XnnId x) { return transpose(x, {0, 2, 3, 1}); }
  XnnId to_nchw(XnnId x) { return transpose(x, {0, 3, 1, 2}); }
  // The NHWC tensor that this one is made from, or nothing.
  std::optional<XnnId> nhwc_before(XnnId x) const;

  // The node that makes it; null for inputs and constants. Until the next node is added.
  const XnnNode* maker(XnnId id) const;
  // The elements of a constant; nothing for other values.
  std::optional<std::vector<float>> elements(XnnId id) const;

  // The graph with these results; what they do not need goes.
  XnnGraph finish(const std::vector<ValueId>& outputs);

 private:
  XnnId add_value(DType dtype, Shape shape);
  XnnId add_node(XnnNode node, Shape shape, DType dtype);
  std::optional<XnnId> nhwc_of(XnnId x);
  XnnId add_concatenations(std::vector<XnnId> items, size_t dim);
  XnnId reshaped_constant(XnnId id, const std::vector<int64_t>& shape);
  XnnId transpose_reshaped(XnnId x, const std::vector<size_t>& order, const Shape& to);
  std::vector<uint32_t> initial(const Shape& shape) const;
  XnnId as_output(ValueId id);
  std::vector<XnnNode> needed_nodes(std::vector<bool>& needed);
  std::vector<XnnId> move_values(const std::vector<bool>& needed, XnnGraph& kept);

  const XnnScope& scope_;
  const Bounds& bounds_;
  XnnGraph graph_;
  std::vector<Shape> shapes_;  // by XnnId
  std::unordered_map<XnnId, size_t> makers_;
  std::unordered_map<ValueId, XnnId> bound_;
  std::map<std::string, XnnId> constants_;
};

}  // namespace portwright
