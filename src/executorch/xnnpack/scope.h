// What the partitioner and the lowering read of a node: operands, their types, and the constants
// behind them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ir/program.h"

namespace portwright {

// A graph whose nodes are looked at: the program's, or the body of a delegate.
class XnnScope {
 public:
  explicit XnnScope(const Program& program);
  XnnScope(const Program& program, const Node& delegate);

  const Program& program() const { return program_; }
  const Graph& graph() const { return graph_; }
  const TensorType& type(ValueId id) const { return graph_.type(id); }
  // The weight, parameter or constant behind a value that nothing writes to; else null.
  const InputSpec* constant(ValueId id) const;
  // How many operands it is, results of the graph counted.
  size_t uses(ValueId id) const { return uses_.at(id); }

 private:
  const Program& program_;
  const Graph& graph_;
  std::unordered_map<ValueId, const InputSpec*> constants_;
  std::vector<size_t> uses_;
};

struct XnnNodeView {
  const XnnScope& scope;
  const Node& node;

  const Argument& arg(size_t i) const { return node.arguments.at(i); }
  bool has(size_t i) const;  // not None
  bool is_tensor(size_t i) const { return std::holds_alternative<ValueRef>(arg(i)); }
  ValueId id(size_t i) const { return std::get<ValueRef>(arg(i)).id; }
  const TensorType& type(size_t i) const { return scope.type(id(i)); }
  const std::vector<Expr>& shape(size_t i) const { return type(i).shape; }
  size_t rank(size_t i) const { return type(i).rank(); }
  const Weight* weight(size_t i) const;  // of a constant tensor operand
  const TensorType& result() const { return scope.type(node.result()); }

  // Constant operands; nothing when they are symbolic or of another kind.
  std::optional<double> number(size_t i) const;
  std::optional<int64_t> integer(size_t i) const;
  std::optional<std::vector<int64_t>> integers(size_t i) const;
  bool flag(size_t i) const;
  // A dim operand, counted from the front in a tensor of `rank` dims.
  std::optional<size_t> dim(size_t i, size_t rank) const;
  std::optional<std::vector<size_t>> dims(size_t i, size_t rank) const;
};

bool is_constant(const std::vector<Expr>& shape);
size_t dynamic_dims(const std::vector<Expr>& shape);

}  // namespace portwright
