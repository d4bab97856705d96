// Nodes that compute symbolic numbers when a .pt2 program runs. Internal to this folder.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/program.h"
#include "pt2/graph_state.h"

namespace portwright {

// Turns expressions into sym_size nodes and Python arithmetic, each written once. The public
// methods give the Argument that refers to the number: a constant, or the name of its node.
class SymbolNodes {
 public:
  SymbolNodes(const SymbolTable& symbols, std::span<const int64_t> hints, GraphState& graph)
      : symbols_(symbols), hints_(hints), graph_(graph) {}

  // A dim of an input, from which its symbol can be read.
  void add_source(const std::string& tensor, size_t dim, const Expr& size);
  // The node `name` gives an unbacked symbol.
  void bind(SymbolId id, const std::string& name);
  // Size `dim` of `tensor` gives it.
  void bind_size(SymbolId id, const std::string& tensor, size_t dim);
  bool knows(SymbolId id) const { return bound_.contains(id) || sources_.contains(id); }

  Json integer(const Expr& expr) { return sum(expr).argument; }
  Json real(const Real& real) { return float_operand(real).argument; }
  Json boolean(const Predicate& predicate) { return bool_operand(predicate).argument; }

  // An integer as shapes hold it: {"as_int": 4} or {"as_expr": {"expr_str": ..., "hint": ...}}.
  Json sym_int(const Expr& expr) const;

 private:
  struct Source {
    std::string tensor;
    size_t dim = 0;
    int64_t factor = 1, offset = 0;  // size == factor * symbol + offset
  };
  // A number with its sympy text, from which the values of nodes that use it are put together.
  struct Operand {
    Json argument;
    std::string text;
    Json hint;  // null when data decides
  };
  // What a node's result is called in arguments and values.
  enum class Kind : uint8_t { kInt, kFloat, kBool };

  Operand symbol(SymbolId id);
  Operand product(const Term& term);
  Operand atom(const Atom& atom);
  Operand rounded(const Atom& atom);
  Operand sum(const Expr& expr);
  Operand float_operand(const Real& real);
  Operand bool_operand(const Predicate& predicate);
  Operand comparison(const Predicate& predicate);

  // A node `target(operands...)` whose value has this text.
  Operand node(Kind kind, const std::string& target, const std::vector<Operand>& operands,
               std::string text, Json hint = nullptr);
  Operand size_node(const std::string& tensor, size_t dim, std::string text, Json hint);
  Json int_hint(const Expr& expr) const;

  const SymbolTable& symbols_;
  std::span<const int64_t> hints_;
  GraphState& graph_;
  std::unordered_map<SymbolId, Source> sources_;
  std::unordered_map<SymbolId, Operand> bound_;
  std::unordered_map<Expr, Operand> known_;
  mutable std::unordered_map<Expr, Json> sizes_;  // what sym_int gave
};

}  // namespace portwright
