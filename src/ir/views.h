// Tensors that share memory, made functional: a tensor is a chain of views over a base, and a base
// has one current value. A write computes the viewed elements anew and carries them back along the
// chain (slice -> slice_scatter, select -> select_scatter, transpose -> transpose, ...); reading a
// view of a base that was written replays its chain.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/program.h"

namespace portwright {

// The functional stand-in of a storage: the value that its base tensor has now. Every write gives a
// new value and version; views catch up when they are read.
struct AliasBase {
  ValueId value = kNoValue;
  uint64_t version = 0;
};

// One step from a base to a view, linked towards the base.
struct ViewStep {
  std::shared_ptr<const ViewStep> parent;  // null: the operand is the base itself
  std::string op;
  std::vector<Argument> arguments;  // [0] is replaced by the operand's current value
  uint32_t output = 0;              // which result, for split and unbind
  Output results;                   // what the view gave first; None where types are inferred
};

// The graph that replays and writes add nodes to.
class ViewGraph {
 public:
  virtual ~ViewGraph() = default;
  virtual const TensorType& type(ValueId id) = 0;
  // A node with one result of this type; graphs that infer types do not look at it.
  virtual ValueId add(const std::string& op, std::vector<Argument> arguments, TensorType type) = 0;
  // The step's view of another operand.
  virtual ValueId replay(const ViewStep& step, ValueId operand) = 0;
  // Whether a condition on sizes is known, or may be relied upon.
  virtual bool holds(const Predicate& predicate) = 0;
  // No write can go through views of this operator.
  [[noreturn]] virtual void refuse_write(const std::string& view) = 0;
};

// The view at the end of a chain over what its base is now.
ValueId replay_chain(ViewGraph& graph, const ViewStep* last, ValueId base);

// What becomes of a base when `part` is written to the view at the end of a chain over it.
ValueId write_through(ViewGraph& graph, const ViewStep* last, ValueId base, ValueId part);

// What an in-place operator writes that says so without computing: copy_, fill_ and zero_. Still to
// be conformed. Nothing for other operators.
std::optional<ValueId> stated_write(ViewGraph& graph, const std::string& op,
                                    const std::vector<Argument>& arguments);
bool states_what_it_writes(const std::string& op);

// `value` cast and broadcast to the target's type: what an in-place write keeps.
ValueId conform(ViewGraph& graph, ValueId value, const TensorType& target);

}  // namespace portwright
