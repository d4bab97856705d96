// Attention as products and a softmax, with its masks made additive outside of delegates.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "fusion/rewriter.h"

namespace portwright {

// What stands for a mask.
struct AdditiveMask {
  std::optional<ValueId> bias;   // is added to the scores
  std::optional<ValueId> alive;  // 0 for queries that see no key, whose result is zeros; else 1
};

// The masks of a program, each made once.
class AttentionMasks {
 public:
  AttentionMasks(Rewriter& out, const SymbolTable& symbols) : out_(out), symbols_(symbols) {}

  // Nothing for masks of a dtype without a meaning here.
  std::optional<AdditiveMask> of(const Argument& mask);
  // Key j is hidden unless j <= i.
  AdditiveMask causal(const Expr& queries, const Expr& keys);

 private:
  bool has_key_in_each_row(const Argument& mask) const;
  AdditiveMask of_bool(ValueId mask, bool rows_see_keys);
  AdditiveMask of_float(ValueId narrow);

  Rewriter& out_;
  const SymbolTable& symbols_;
  std::map<ValueId, AdditiveMask> made_;
  std::map<std::string, AdditiveMask> causal_;
};

class AttentionRewriter {
 public:
  AttentionRewriter(Rewriter& out, const SymbolTable& symbols) : out_(out), masks_(out, symbols) {}

  // Writes the node as parts and gives true, or leaves it: nodes that XNNPACK has no use for.
  bool rewrite(const Node& node) { return decompose(node) || turn_heads(node); }

 private:
  bool decompose(const Node& node);
  bool turn_heads(const Node& node);

  Rewriter& out_;
  AttentionMasks masks_;
  // Of grouped heads: the result by what it was merged to, [group, batch, heads, queries, width].
  std::map<ValueId, ValueId> apart_;
};

}  // namespace portwright
