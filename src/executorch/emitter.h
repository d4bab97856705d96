// From the edge form of a Program to a method of a .pte file: a value for each tensor and number, a
// call for each node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "executorch/bounds.h"
#include "executorch/kernels.h"
#include "executorch/pte_model.h"
#include "ir/loop_node.h"
#include "ir/program.h"

namespace portwright {

// What a delegate node becomes.
struct LoweredDelegate {
  PteDelegate delegate;
  std::vector<PteNamedData> named_data;
  // Those of the node's operands that are passed; the others are named data.
  std::vector<ValueId> inputs;
};
using LowerDelegate = std::function<LoweredDelegate(const Program&, const Node&, const Bounds&)>;

class PteEmitter {
 public:
  PteEmitter(const Program& program, const Bounds& bounds, PteModel& model, PteMethod& method)
      : program_(program), bounds_(bounds), model_(model), method_(method) {
    scopes_.emplace_back().graph = &program.graph;
    for (const PteNamedData& data : model.named_data) named_.insert(data.key);
  }

  void set_delegate_lowering(LowerDelegate lower) { lower_delegate_ = std::move(lower); }

  // Error(kUnsupported), with the model's line, for operands that the format cannot hold.
  void emit();

 private:
  void find_uses();
  ValueId memory_of(ValueId id) const;
  bool is_overwritten(ValueId id) const;
  void add_inputs();
  void add_mutations();
  void add_outputs();
  void emit_node(const Node& node);
  void emit_kernel(const Node& node, const Kernel& kernel);
  std::vector<PteId> operands_like_result(const Node& node);
  void emit_view(const Node& node);
  void emit_binding(const Node& node);
  void emit_delegate(const Node& node);
  void emit_loop(const Node& node);
  void emit_round(const LoopNode& loop, std::span<const PteId> last, std::span<const PteId> stacked,
                  std::span<const PteId> joined, PteId counter);
  void assign(PteId target, PteId from);
  uint32_t next_instruction() const;
  bool emit_in_place(const Node& node);
  bool emit_constant(const Node& node);

  PteId add(PteValue value);
  void call(const PteOperator& op, std::vector<PteId> args);
  PteId prim(const std::string& name, std::vector<PteId> args, PteValue result);
  PteId result(ValueId id);
  PteId operand(const Argument& argument, OperandKind kind);
  std::vector<PteId> operands(const Node& node, const Kernel& kernel);
  PteId tensor(ValueId id);
  PteId copied(PteId tensor);
  PteTensor described(const TensorType& type) const;
  const TensorType& type(ValueId id) const { return scopes_.back().graph->type(id); }
  bool in_body() const { return scopes_.size() > 1; }

  // Numbers, each distinct one once.
  PteId integer(int64_t value);
  PteId boolean(bool value);
  PteId floating(double value);
  PteId text(const std::string& value);
  PteId none();
  PteId int_list(const IntList& list);
  PteId scalar_constant(const Argument& number, DType dtype);
  PteId constant(const Weight& weight);

  // Symbolic numbers, each computed once, where it is first asked for.
  PteId number(const Expr& expr);
  PteId symbol(SymbolId id);
  PteId term(const Term& term);
  PteId atom(const Atom& atom);
  PteId modulo(const Expr& a, const Expr& b);
  PteId real(const Real& value);
  PteId real_by_kernel(const Real& value);
  PteId condition(const Predicate& predicate);
  PteId size_of(PteId tensor, int64_t axis);
  std::optional<PteId> size_of_computed(SymbolId id);

  // The graph that is emitted, or a body in it. What is computed in a body is known in it and in
  // the bodies inside, as a loop may have no round; its values are those of its own graph.
  struct Scope {
    const Graph* graph = nullptr;
    std::map<ValueId, PteId> values;
    std::unordered_map<Expr, PteId> numbers;
    std::unordered_map<SymbolId, PteId> symbols;
    std::map<std::vector<PteId>, PteId> int_lists;
  };
  template <typename Map>
  std::optional<PteId> known(Map Scope::* table, const Map::key_type& key) const {
    for (size_t i = scopes_.size(); i-- > 0;) {
      const auto found = (scopes_[i].*table).find(key);
      if (found != (scopes_[i].*table).end()) return found->second;
    }
    return std::nullopt;
  }

  const Program& program_;
  const Bounds& bounds_;
  PteModel& model_;
  PteMethod& method_;
  LowerDelegate lower_delegate_;
  std::vector<Scope> scopes_;
  std::unordered_map<ValueId, size_t> last_uses_;    // the node that reads it last
  std::unordered_map<ValueId, ValueId> viewed_;      // what a view shares its memory with
  std::unordered_map<ValueId, ValueId> written_to_;  // results that an input or buffer ends up with
  size_t at_ = 0;                                    // the node that is emitted
  std::map<PteOperator, uint32_t> operators_;
  std::unordered_set<std::string> named_;  // keys of the model's named data
  std::map<int64_t, PteId> integers_;
  std::map<uint64_t, PteId> doubles_;  // by their bits
  std::map<std::string, PteId> texts_;
  std::map<std::pair<DType, std::vector<std::byte>>, PteId> scalars_;
  std::map<bool, PteId> booleans_;
  PteId none_ = kNoPteValue;
};

}  // namespace portwright
