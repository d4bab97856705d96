// Writes the nodes of the edge form: Programs whose nodes are kernels of ExecuTorch's runtime.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/program.h"

namespace portwright {

class EdgeWriter {
 public:
  EdgeWriter(Graph& graph, const SymbolTable& symbols) : graph_(graph), symbols_(symbols) {}

  // By value: what is made afterwards may move the graph's own.
  TensorType type(ValueId id) const { return graph_.type(id); }
  const SymbolTable& symbols() const { return symbols_; }

  // Nodes that follow belong to this one's line of the model.
  void begin(const Node& node) { place_ = node.provenance; }

  // A node as it is: a kernel of the runtime.
  void kernel(const std::string& op, std::vector<Argument> arguments, std::vector<Output> results);
  ValueId kernel(const std::string& op, std::vector<Argument> arguments, TensorType type);

  // A node that is lowered further where it must be.
  void give(const std::string& op, std::vector<Argument> arguments, std::vector<Output> results);
  void give(const Node& node);
  ValueId add(const std::string& op, std::vector<Argument> arguments, TensorType type);

  // From here on the other value, which holds the same, stands for this one.
  void replace(ValueId id, ValueId with) { replaced_[id] = current(with); }
  ValueId current(ValueId id) const {
    const auto found = replaced_.find(id);
    return found == replaced_.end() ? id : found->second;
  }
  ValueId make(TensorType type) { return graph_.add_value(std::move(type)); }

  // Common steps; each gives the operand itself where there is nothing to do.
  ValueId cast(ValueId id, DType dtype);
  ValueId view(ValueId id, const std::vector<Expr>& shape);
  ValueId expand(ValueId id, const std::vector<Expr>& shape);
  ValueId permute(ValueId id, const std::vector<int64_t>& order);
  // Elementwise over two tensors of one dtype, which the result has ("aten.mul.Tensor").
  ValueId binary(const std::string& op, ValueId a, ValueId b);
  ValueId sum(ValueId a, ValueId b);
  ValueId difference(ValueId a, ValueId b);
  // Elementwise; the result has the operand's type.
  ValueId unary(const std::string& op, ValueId id) { return add(op, {ValueRef{id}}, type(id)); }
  // With a number ("aten.mul.Scalar"); the result has the operand's type.
  ValueId with_number(const std::string& op, ValueId id, Argument number);
  ValueId plus(ValueId id, Argument number);
  // A comparison with a number ("aten.lt.Scalar"), a bool tensor.
  ValueId compared(const std::string& op, ValueId id, Argument number);
  ValueId slice(ValueId id, int64_t dim, const Expr& start, const Expr& end);
  ValueId full(const std::vector<Expr>& shape, Argument number, DType dtype);
  // The last two dims in each other's place.
  ValueId matrix_transposed(ValueId id);
  // Over dims, which stay as 1 ("aten.mean.dim", "aten.sum.dim_IntList").
  ValueId reduced(const std::string& op, ValueId id, const std::vector<int64_t>& dims);

  std::vector<Node> take() { return std::move(nodes_); }

 private:
  Graph& graph_;
  const SymbolTable& symbols_;
  std::vector<Node> nodes_;
  std::unordered_map<ValueId, ValueId> replaced_;
  Provenance place_;
};

}  // namespace portwright
