// One graph of a .pt2 document: a program's, or a loop's body. Internal to this folder.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ir/loop_node.h"
#include "ir/program.h"
#include "pt2/argument_writer.h"
#include "pt2/graph_state.h"
#include "pt2/guards.h"
#include "pt2/schema.h"
#include "pt2/symbol_nodes.h"

namespace portwright {

inline Json tensor_argument(const std::string& name) { return {{"as_tensor", {{"name", name}}}}; }

class GraphWriter {
 public:
  // `hints`: see file_hints.
  GraphWriter(const Program& program, const Graph& graph, SchemaTable& schemas,
              std::span<const int64_t> hints)
      : program_(program),
        graph_(graph),
        schemas_(schemas),
        hints_(hints),
        symbols_(*program.symbols, hints, state_),
        names_(graph.values.size()) {
    set_place({});
  }

  std::string fresh(std::string_view base) { return state_.names.fresh(base); }
  const std::string& name(ValueId id) const { return names_.at(id); }
  bool is_named(ValueId id) const { return !names_.at(id).empty(); }
  void add_value(ValueId id, const std::string& name, bool requires_grad = false);
  void add_type(const std::string& name, const TensorType& type, bool requires_grad = false);
  SymbolNodes& symbols() { return symbols_; }
  const SymbolNodes& symbols() const { return symbols_; }

  void assert_true(const Predicate& predicate, const SourceLine& source);
  void write_nodes();
  // The schema's Graph of all that was written; the writer is empty afterwards.
  Json document(Json inputs, Json outputs);

 private:
  void set_place(const Provenance& place);
  void write_node(const Node& node);
  Json output_json(const Output& output);
  void write_binding(const Node& node);
  void bind_item(SymbolId id, const std::string& tensor);
  std::string integer(ValueId tensor);
  // An ATen operator with one result, without its namespace.
  std::string add_operator(const std::string& op, Json inputs, const TensorType& type);
  void write_data_guards(SymbolId id);

  // Loops, as torch.ops.higher_order.scan(body, initial, [rounds], captures).
  void write_loop(const Node& node);
  Json write_body(const LoopNode& loop, const std::vector<SymbolId>& sizes);
  std::vector<SymbolId> sizes_to_pass(const LoopNode& loop) const;
  std::string size_carrier(SymbolId id);
  std::string detached(ValueId id);
  Json fresh_outputs();

  const Program& program_;
  const Graph& graph_;
  SchemaTable& schemas_;
  std::span<const int64_t> hints_;
  GraphState state_;
  SymbolNodes symbols_;
  ValueNames names_;
};

}  // namespace portwright
