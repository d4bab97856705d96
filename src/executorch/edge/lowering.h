// The table that brings ATen operators to kernels of ExecuTorch's runtime: a row for each operator
// that is no kernel itself, or whose kernel takes less than the operator.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "executorch/edge/writer.h"

namespace portwright {

// One node being lowered.
struct EdgeCall {
  EdgeWriter& out;
  const Node& node;

  const Argument& arg(size_t i) const { return node.arguments.at(i); }
  bool has(size_t i) const {
    return i < node.arguments.size() && !std::holds_alternative<None>(node.arguments[i]);
  }
  bool is_tensor(size_t i) const { return std::holds_alternative<ValueRef>(arg(i)); }
  // A tensor operand; Error(kUnsupported) for a number.
  ValueId tensor(size_t i) const;
  TensorType type(size_t i) const { return out.type(tensor(i)); }
  bool flag(size_t i) const;
  // Constants; Error(kUnsupported) when symbolic.
  int64_t integer(size_t i) const;
  int64_t dim(size_t i) const;  // wrapped to the rank of operand 0
  std::vector<int64_t> dims(size_t i) const;
  double number(size_t i, double otherwise) const;
  IntList ints(size_t i) const;  // one int is a list of one

  TensorType result(size_t i = 0) const;
  // The value that holds the node's i-th result.
  void give(ValueId value, size_t i = 0) const;
  // The node's results, by this operator, lowered further.
  void as(const std::string& op, std::vector<Argument> arguments) const;
  // The node's results, by the kernel of this operator.
  void kernel(const std::string& op, std::vector<Argument> arguments) const;
};

using EdgeFn = void (*)(const EdgeCall& call);

struct EdgeLowering {
  std::string_view op;
  EdgeFn lower;
};

// Null when there is no row.
EdgeFn find_edge_lowering(std::string_view op);

std::span<const EdgeLowering> activation_edges();
std::span<const EdgeLowering> arithmetic_edges();
std::span<const EdgeLowering> convolution_edges();
std::span<const EdgeLowering> factory_edges();
std::span<const EdgeLowering> indexing_edges();
std::span<const EdgeLowering> linear_edges();
std::span<const EdgeLowering> norm_edges();
std::span<const EdgeLowering> pooling_edges();
std::span<const EdgeLowering> reduction_edges();
std::span<const EdgeLowering> shape_edges();

}  // namespace portwright
