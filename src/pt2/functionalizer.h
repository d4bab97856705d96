// In-place operators of a .pt2 document made functional, as torch's functionalization does.
// Internal to this folder.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/views.h"
#include "pt2/schema.h"
#include "pt2/sharing.h"

namespace portwright {

// Adds a graph's nodes to it. A tensor of the document is called by the value that it first had;
// what holds its elements after writes, be it to the tensor or to another that shares its memory,
// is its current value.
class Functionalizer final : private ViewGraph {
 public:
  Functionalizer(const Program& program, Graph& graph) : program_(program), graph_(graph) {}

  // Where the nodes that follow come from.
  void at(Provenance place) { place_ = place; }
  ValueId current(ValueId tensor);
  // A node on tensors of the document.
  void add_node(Node node, const Schema& schema);
  // The in-place operator `op`, whose functional form is this node without results.
  void write(const std::string& op, Node functional);
  // unsqueeze_ and its like: from here on the tensor is what the view is.
  void become(ValueId tensor, ValueId view);
  // The inputs that were written to, and what they are now.
  std::vector<std::pair<ValueId, ValueId>> writes() const;

 private:
  struct Tensor {
    std::shared_ptr<AliasBase> base;
    std::shared_ptr<const ViewStep> view;
    ValueId value = kNoValue;
    uint64_t version = 0;
  };

  Tensor& find(ValueId id);
  void use_current(Node& node);
  void share(Sharing how, const Node& node, const std::vector<ValueId>& operands);
  void leave_unfollowed(ValueId tensor, const std::string& op);
  ValueId row_major(ValueId value);
  [[noreturn]] void refuse(const std::string& what) const;

  const TensorType& type(ValueId id) override { return graph_.type(id); }
  ValueId add(const std::string& op, std::vector<Argument> arguments, TensorType type) override;
  ValueId replay(const ViewStep& step, ValueId operand) override;
  bool holds(const Predicate& predicate) override;
  [[noreturn]] void refuse_write(const std::string& view) override;

  const Program& program_;
  Graph& graph_;
  Provenance place_;
  std::unordered_map<ValueId, Tensor> tensors_;  // that share memory or were written to
  // Bases that are shared in ways that are not followed, and the operator that does so.
  std::map<const AliasBase*, std::string> unfollowed_;
};

}  // namespace portwright
