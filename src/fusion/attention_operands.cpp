#include "fusion/attention_operands.h"

namespace portwright {
namespace {

ValueId id_of(const Argument& argument) { return std::get<ValueRef>(argument).id; }

bool is_view(const Node& node) {
  return node.op == "aten.reshape.default" || node.op == "aten.view.default" ||
         node.op == "aten._unsafe_view.default";
}

}  // namespace

ValueId before_repeating(const Definitions& definitions, ValueId id) {
  const Node* merge = definitions.of(id);
  if (merge == nullptr || !is_view(*merge)) return id;
  const Node* expand = definitions.of(merge->arguments[0], "aten.expand.default");
  if (expand == nullptr) return id;
  const Node* unsqueeze = definitions.of(expand->arguments[0], "aten.unsqueeze.default");
  if (unsqueeze == nullptr || unsqueeze->arguments[1] != Argument(Expr(2))) return id;
  const auto& own = definitions.type(unsqueeze->arguments[0]).shape;
  const auto& spread = definitions.type(expand->result()).shape;
  const auto& merged = definitions.type(id).shape;
  const bool fits = own.size() == 4 && merged.size() == 4 && spread.size() == 5 &&
                    spread[0] == own[0] && spread[1] == own[1] && spread[3] == own[2] &&
                    spread[4] == own[3] && merged[1] == own[1] * spread[2] && merged[2] == own[2];
  return fits ? id_of(unsqueeze->arguments[0]) : id;
}

Argument before_expanding(const Definitions& definitions, const Argument& mask) {
  const Node* expand = definitions.of(mask, "aten.expand.default");
  if (expand == nullptr) return mask;
  const auto& before = definitions.type(expand->arguments[0]).shape;
  const auto& after = definitions.type(mask).shape;
  const bool same_keys = !before.empty() && before.back() == after.back();
  return before.size() == after.size() && same_keys ? expand->arguments[0] : mask;
}

}  // namespace portwright
