// Loops of a .pt2 document: torch.ops.higher_order.scan over the numbers of the rounds.
#include <algorithm>

#include "ir/data_symbols.h"
#include "ir/symbol_scopes.h"
#include "pt2/format.h"
#include "pt2/graph_writer.h"
#include "pt2/model_writer.h"
#include "pt2/torch_numbers.h"

namespace portwright {
namespace {

// The symbols of conditions that are checked in the rounds of a loop.
void add_guarded_symbols(const SymbolTable& symbols, const std::vector<SymbolId>& of_rounds,
                         std::vector<SymbolId>& found) {
  for (const Guard& guard : symbols.guards()) {
    const Predicate predicate = resolved(guard, symbols);
    bool concerned = false;
    predicate.for_each_symbol([&](SymbolId id) {
      concerned = concerned || std::find(of_rounds.begin(), of_rounds.end(), id) != of_rounds.end();
    });
    if (concerned) predicate.for_each_symbol([&](SymbolId id) { found.push_back(id); });
  }
}

// What the body of a loop reads from outside, each once.
std::vector<SymbolId> outer_symbols(const LoopNode& loop, const SymbolTable& symbols) {
  const std::vector<SymbolId> of_rounds = round_symbols(loop);
  std::vector<SymbolId> found = symbols_used(loop.body);
  add_guarded_symbols(symbols, of_rounds, found);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  std::erase_if(found, [&](SymbolId id) {
    return std::find(of_rounds.begin(), of_rounds.end(), id) != of_rounds.end();
  });
  return found;
}

// Sizes that the body's operands have.
void add_sources(const Graph& body, const std::vector<std::string>& names, SymbolNodes& symbols) {
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    const std::vector<Expr>& shape = body.type(body.inputs[i]).shape;
    for (size_t dim = 0; dim < shape.size(); ++dim) symbols.add_source(names[i], dim, shape[dim]);
  }
}

Json tensor_list(const std::vector<std::string>& names) {
  Json list = Json::array();
  for (const std::string& name : names) list.push_back({{"name", name}});
  return {{"as_tensors", std::move(list)}};
}

}  // namespace

bool loops_are_scans(const Graph& graph, const SymbolTable& symbols) {
  for (const Node& node : graph.nodes) {
    if (!is_loop(node)) continue;
    const LoopNode loop = as_loop(node);
    if (!loop.joined.empty() || !loops_are_scans(loop.body, symbols)) return false;
    for (SymbolId id : outer_symbols(loop, symbols)) {
      if (symbols.info(id).range.lo < 0) return false;  // no size can carry it into the body
    }
  }
  return true;
}

void GraphWriter::write_loop(const Node& node) {
  const LoopNode loop = as_loop(node);
  if (!loop.joined.empty()) {
    throw Error(ErrorCode::kUnsupported,
                "the .pt2 format has no loops whose results differ in size from round to round: "
                "capture the model with loops=False",
                program_.source(node), program_.module_path(node));
  }
  // scan takes the types of what it stacks from its first round.
  assert_true(Predicate::compare(loop.trips, Relation::kGe, 1),
              program_.source_lines[node.provenance.source]);
  std::vector<std::string> initial, captures;
  for (ValueId id : loop.initial) initial.push_back(detached(id));
  for (ValueId id : loop.captures) captures.push_back(detached(id));
  const std::vector<SymbolId> sizes = sizes_to_pass(loop);
  for (SymbolId id : sizes) captures.push_back(size_carrier(id));
  const std::string rounds = add_operator(
      "arange.default", Json::array({named_argument("end", symbols_.integer(loop.trips))}),
      {DType::kInt64, {loop.trips}, {}});
  const std::string body = fresh("loop_body");
  Json inputs = Json::array(
      {named_argument("", {{"as_graph", {{"name", body}, {"graph", write_body(loop, sizes)}}}}),
       named_argument("", tensor_list(initial)), named_argument("", tensor_list({rounds})),
       named_argument("", tensor_list(captures))});
  const std::string name = fresh("scan");
  Json outputs = Json::array();
  for (const ValueList* list : {&loop.last, &loop.stacked}) {
    for (ValueId id : *list) {
      add_value(id, fresh("getitem"));
      outputs.push_back(tensor_argument(names_[id]));
    }
  }
  state_.add_node("torch.ops.higher_order.scan", std::move(inputs), std::move(outputs), name);
  state_.nodes.back()["is_hop_single_tensor_return"] = false;
}

// The body takes what is carried, the number of the round, the captures, and tensors whose sizes
// are `sizes`.
Json GraphWriter::write_body(const LoopNode& loop, const std::vector<SymbolId>& sizes) {
  GraphWriter inner(program_, loop.body, schemas_, hints_);
  inner.state_.metadata = state_.metadata;
  std::vector<std::string> names;
  for (ValueId id : loop.body.inputs) {
    names.push_back(inner.fresh("arg"));
    inner.add_value(id, names.back());
  }
  add_sources(loop.body, names, inner.symbols_);
  const std::string round = inner.fresh("round");
  inner.add_type(round, {DType::kInt64, {}, {}});
  names.insert(names.begin() + static_cast<std::ptrdiff_t>(loop.initial.size()), round);
  for (SymbolId id : sizes) {
    names.push_back(inner.fresh("size"));
    const Expr size = program_.symbols->symbol(id);
    inner.add_type(names.back(), {DType::kBool, {size}, {}});
    inner.symbols_.add_source(names.back(), 0, size);
  }
  inner.bind_item(loop.counter, round);
  inner.write_nodes();
  Json inputs = Json::array();
  for (const std::string& name : names) inputs.push_back(tensor_argument(name));
  Json outputs = inner.fresh_outputs();
  return inner.document(std::move(inputs), std::move(outputs));
}

// The symbols that no operand of the body has as a size.
std::vector<SymbolId> GraphWriter::sizes_to_pass(const LoopNode& loop) const {
  GraphState state;
  SymbolNodes inside(*program_.symbols, hints_, state);
  const std::vector<std::string> names(loop.body.inputs.size());
  add_sources(loop.body, names, inside);
  std::vector<SymbolId> missing = outer_symbols(loop, *program_.symbols);
  std::erase_if(missing, [&](SymbolId id) { return inside.knows(id); });
  return missing;
}

// Operands of scan are tensors: a number goes in as the size of one.
std::string GraphWriter::size_carrier(SymbolId id) {
  const Expr size = program_.symbols->symbol(id);
  Json sizes = Json::array({symbols_.integer(size).at("as_sym_int")});
  return add_operator(
      "full.default",
      Json::array(
          {named_argument("size", {{"as_sym_ints", std::move(sizes)}}),
           named_argument("fill_value", {{"as_bool", false}}),
           named_argument("dtype", {{"as_scalar_type", dtype_number(DType::kBool)}}, kKeyword)}),
      {DType::kBool, {size}, {}});
}

// Without its history: scan would trace its body anew for gradients, and cannot where data decides.
std::string GraphWriter::detached(ValueId id) {
  const TensorType& type = graph_.type(id);
  if (!is_floating_point(type.dtype) && !is_complex(type.dtype)) return names_[id];
  return add_operator("detach.default",
                      Json::array({named_argument("self", tensor_argument(names_[id]))}), type);
}

// What the body gives, copied where it would be an operand, a view or something given twice: scan
// does not take results that share memory.
Json GraphWriter::fresh_outputs() {
  std::vector<bool> shared(graph_.values.size());
  for (ValueId id : graph_.inputs) shared[id] = true;
  for (const Node& node : graph_.nodes) {
    const Schema* schema = is_loop(node) ? nullptr : schemas_.find(pt2::runnable_name(node.op));
    if (schema == nullptr || !schema->makes_view) continue;
    for_each_output(node, [&](ValueId id) { shared[id] = true; });
  }
  Json outputs = Json::array();
  for (ValueId id : graph_.outputs) {
    std::string name = names_[id];
    if (shared[id]) {
      name = add_operator("clone.default",
                          Json::array({named_argument("self", tensor_argument(name))}),
                          graph_.type(id));
    }
    shared[id] = true;
    outputs.push_back(tensor_argument(name));
  }
  return outputs;
}

}  // namespace portwright
