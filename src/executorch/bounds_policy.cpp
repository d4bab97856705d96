// Which bounds the sizes have that nobody has stated one for.
#include <algorithm>
#include <array>
#include <set>

#include "executorch/bounds.h"
#include "ir/data_symbols.h"
#include "ir/dim_source.h"
#include "ir/loop_node.h"

namespace portwright {
namespace {

constexpr int64_t kLeastTokens = 128;

// Operators whose results have at most as many rows as their first operand has elements.
constexpr std::array<std::string_view, 5> kSelections = {
    "aten.nonzero.default", "aten.nonzero_numpy.default", "aten.masked_select.default",
    "aten.unique_consecutive.default", "aten._unique2.default"};

class Chooser {
 public:
  Chooser(const Program& program, const BoundsPolicy& policy)
      : program_(program), symbols_(*program.symbols), policy_(policy) {
    for (SymbolId id = 0; id < symbols_.size(); ++id) upper_.push_back(least(id));
  }

  std::vector<int64_t> choose() {
    check_names();
    for (SymbolId id = 0; id < symbols_.size(); ++id) {
      if (!symbols_.info(id).unbacked && !symbols_.replacement(id)) set(id, default_of(id));
    }
    set_from_data(program_.graph);
    return upper_;
  }

  // "input_ids.size(1) <= 256"
  const std::vector<std::string>& taken() const { return taken_; }

 private:
  int64_t least(SymbolId id) const { return std::max<int64_t>(symbols_.info(id).hint, 1); }

  std::string name_of(SymbolId id) const {
    const SymbolInfo& info = symbols_.info(id);
    return info.origin.empty() ? info.name : info.origin;
  }

  std::optional<int64_t> stated(SymbolId id) const {
    const SymbolInfo& info = symbols_.info(id);
    for (const std::string& name : {info.name, info.origin}) {
      if (const auto found = policy_.named.find(name); found != policy_.named.end())
        return found->second;
    }
    return std::nullopt;
  }

  void set(SymbolId id, int64_t otherwise) {
    known_.insert(id);
    const Interval range = symbols_.info(id).range;
    const bool has_own = range.hi < Interval::kInfinity && symbols_.info(id).from_user;
    const auto named = stated(id);
    const auto given = named || has_own ? named : policy_.all;
    const int64_t upper = given ? *given : (has_own ? range.hi : otherwise);
    if (given && *given < least(id)) {
      throw Error(ErrorCode::kInvalidArgument,
                  "the upper bound " + std::to_string(*given) + " of " + name_of(id) +
                      " is below its size in the sample inputs, " + std::to_string(least(id)));
    }
    upper_.at(id) = std::max(std::min(upper, range.hi), least(id));
    const bool is_said = !given && !has_own && upper_.at(id) < range.hi;
    if (is_said) taken_.push_back(name_of(id) + " <= " + std::to_string(upper_.at(id)));
  }

  // Dims of inputs of integers are tokens and masks, which a small sample says little about.
  int64_t default_of(SymbolId id) const {
    const int64_t twice = 2 * least(id);
    const auto source = find_source(program_, id);
    if (!source || source->axis == 0) return twice;
    const bool tokens = !is_floating_point(program_.graph.type(source->input).dtype);
    return tokens ? std::max(twice, kLeastTokens) : twice;
  }

  // In the order in which they are made: one may depend on others.
  void set_from_data(const Graph& graph) {
    for (const Node& node : graph.nodes) {
      for_each_output(node, [&](ValueId made) {
        for (const Expr& size : graph.type(made).shape) {
          const auto id = size.symbol();
          if (id && symbols_.info(*id).unbacked && !known_.contains(*id))
            set(*id, count_of(graph, node, *id));
        }
      });
      if (binds_symbol(node) && !known_.contains(bound_symbol(node)))
        set(bound_symbol(node), from_data(bound_symbol(node)));
      if (!is_loop(node)) continue;
      const LoopNode loop = as_loop(node);
      upper_.at(loop.counter) = std::max<int64_t>(so_far().upper(loop.trips), 1);
      known_.insert(loop.counter);
      set_from_data(loop.body);
    }
  }

  int64_t from_data(SymbolId id) const { return std::max(2 * least(id), kLeastTokens); }

  // Of a size that the node's result has and its operands have not.
  int64_t count_of(const Graph& graph, const Node& node, SymbolId id) const {
    const bool selects =
        std::find(kSelections.begin(), kSelections.end(), node.op) != kSelections.end();
    if (!selects) return from_data(id);
    const ValueId from = std::get<ValueRef>(node.arguments.at(0)).id;
    return so_far().upper(product(graph.type(from).shape));
  }

  // What guards say of a symbol that has no bound yet says nothing of others.
  Bounds so_far() const {
    std::vector<int64_t> upper = upper_;
    for (SymbolId id = 0; id < upper.size(); ++id) {
      if (!known_.contains(id)) upper[id] = Interval::kInfinity;
    }
    return Bounds(symbols_, std::move(upper));
  }

  void check_names() const {
    for (const auto& [name, bound] : policy_.named) {
      bool known = false;
      std::string all;
      for (SymbolId id = 0; id < symbols_.size(); ++id) {
        if (symbols_.replacement(id)) continue;
        known = known || symbols_.info(id).name == name || symbols_.info(id).origin == name;
        all += (all.empty() ? "" : ", ") + name_of(id);
      }
      if (known) continue;
      throw Error(ErrorCode::kInvalidArgument, "there is no dynamic dim '" + name +
                                                   "' to bound: the dims are " +
                                                   (all.empty() ? "all static" : all));
    }
  }

  const Program& program_;
  const SymbolTable& symbols_;
  const BoundsPolicy& policy_;
  std::vector<int64_t> upper_;
  std::set<SymbolId> known_;
  std::vector<std::string> taken_;
};

}  // namespace

Bounds choose_bounds(const Program& program, const BoundsPolicy& policy,
                     std::vector<std::string>& notes) {
  Chooser chooser(program, policy);
  Bounds bounds(*program.symbols, chooser.choose());
  if (!chooser.taken().empty()) {
    std::string text = "ExecuTorch plans memory for the largest sizes; taken to be ";
    for (const std::string& bound : chooser.taken())
      text += (&bound == &chooser.taken().front() ? "" : ", ") + bound;
    notes.push_back(text + ". Set Dim(max=) or ExecutorchConfig.upper_bounds for others");
  }
  return bounds;
}

}  // namespace portwright
