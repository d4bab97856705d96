// The nodes of a .pt2 document, read into a Program. Internal to this folder.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pt2/functionalizer.h"
#include "pt2/schema.h"
#include "pt2/scope.h"
#include "pt2/symbol_reader.h"

namespace portwright {

// Reads graphs node by node. Arithmetic on sizes becomes expressions, assertions become guards,
// and in-place operators their functional forms.
class GraphReader {
 public:
  GraphReader(Program& program, SchemaTable& schemas, const Json& ranges)
      : program_(program),
        graph_(&program.graph),
        top_views_(program, program.graph),
        views_(&top_views_),
        schemas_(schemas),
        symbols_(program, ranges) {}

  SymbolReader& symbols() { return symbols_; }
  Scope& scope() { return scope_; }

  // An input of the top graph.
  ValueId add_input(const Json& graph, const std::string& name);
  void read_nodes(const Json& graph, Scope& scope, int depth = 0);
  // The value that a tensor of the top graph has after all nodes.
  ValueId last_value(const std::string& name) { return top_views_.current(scope_.tensor(name)); }
  // What in-place operators wrote over: the input and the last value.
  std::vector<std::pair<ValueId, ValueId>> writes() const { return top_views_.writes(); }

 private:
  void read_operator(const Json& graph, const Json& node, const std::string& op, Scope& scope);
  // `first_name`: what the node calls its first operand, where that is not what the schema does.
  Node operator_node(const Json& node, const std::string& op, const Schema& schema,
                     const std::optional<std::string>& first_name, const Scope& scope) const;
  Output read_output(const Json& graph, const Json& output, Scope& scope);
  bool read_sizes(const Json& graph, const Json& node, const std::string& op, Scope& scope);
  void read_arithmetic(const Json& node, const std::string& target, Scope& scope);
  void read_wrapped(const Json& node, const std::string& target, Scope& scope, int depth);
  void read_scan(const Json& node, Scope& scope, int depth);
  void read_item(const Json& graph, const Json& node, Scope& scope);
  // A symbol that data decides, by a name that no document gives to one.
  Expr add_symbol(const std::string& prefix, Interval range, const std::string& origin,
                  bool is_float = false);
  Expr flag_symbol(const Json& item);
  Expr float_symbol(const Json& item);
  static ValueId add_select(Graph& graph, ValueId whole, const Expr& round);
  void read_in_place(const Json& graph, const Json& node, const std::string& op, Scope& scope);
  void bind(const Expr& symbol, Node node);
  Provenance place(const Json& node);
  template <typename Item>
  uint32_t index_in(std::vector<Item>& table, const Item& item);

  Program& program_;
  Graph* graph_;  // that nodes are added to: the program's or a loop's body
  Functionalizer top_views_;
  Functionalizer* views_;  // of graph_
  SchemaTable& schemas_;
  SymbolReader symbols_;
  Scope scope_;
  std::vector<bool> bound_;  // unbacked symbols that a node defines, by id
};

}  // namespace portwright
