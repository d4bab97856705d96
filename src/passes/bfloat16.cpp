#include "passes/bfloat16.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "ir/loop_node.h"

namespace portwright {
namespace {

constexpr std::string_view kCast = "aten._to_copy.default";

// Operators that move elements: what they give needs no rounding.
bool moves_elements(const std::string& op) {
  static constexpr std::array<std::string_view, 16> kMoving = {
      "aten.view.default",      "aten.reshape.default",   "aten.transpose.int",
      "aten.permute.default",   "aten.unsqueeze.default", "aten.squeeze.dim",
      "aten.expand.default",    "aten.slice.Tensor",      "aten.select.int",
      "aten.cat.default",       "aten.stack.default",     "aten.index.Tensor",
      "aten.embedding.default", "aten.clone.default",     "aten.flatten.using_ints",
      "aten.gather.default"};
  return std::find(kMoving.begin(), kMoving.end(), op) != kMoving.end();
}

class Widener {
 public:
  explicit Widener(Graph& graph) : graph_(graph) {}

  bool run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes) take(std::move(node));
    return changed_;
  }

 private:
  bool is_bfloat16(ValueId id) const { return graph_.type(id).dtype == DType::kBFloat16; }

  bool touches(const Node& node) const {
    bool found = false;
    for (const Argument& argument : node.arguments) {
      for_each_value(argument, [&](ValueId id) { found = found || is_bfloat16(id); });
    }
    for_each_output(node, [&](ValueId id) { found = found || is_bfloat16(id); });
    return found;
  }

  void take(Node node) {
    for (Graph& body : node.graphs) changed_ = Widener(body).run() || changed_;
    const bool is_plain_cast = node.op == kCast;
    if (is_loop(node) || is_plain_cast || !touches(node)) {
      graph_.nodes.push_back(std::move(node));
      return;
    }
    changed_ = true;
    const Provenance place = node.provenance;
    for (Argument& argument : node.arguments) {
      argument = map_values(argument, [&](ValueId id) { return widened(id, place); });
      if (auto* dtype = std::get_if<DType>(&argument); dtype && *dtype == DType::kBFloat16) {
        *dtype = DType::kFloat32;
      }
    }
    const bool exact = moves_elements(node.op);
    std::vector<std::pair<ValueId, ValueId>> rounded;  // wide, its own
    auto wide_result = [&](ValueId id) {
      if (id == kNoValue || !is_bfloat16(id)) return id;
      const ValueId wide = add_wide(id);
      rounded.emplace_back(wide, id);
      if (exact) wide_[id] = wide;
      return wide;
    };
    for (Output& output : node.outputs) {
      if (auto* id = std::get_if<ValueId>(&output)) {
        *id = wide_result(*id);
      } else if (auto* list = std::get_if<ValueList>(&output)) {
        for (ValueId& item : *list) item = wide_result(item);
      }
    }
    graph_.nodes.push_back(std::move(node));
    for (const auto& [wide, own] : rounded) add_cast(wide, own, place);
  }

  ValueId add_wide(ValueId id) {
    TensorType type = graph_.type(id);
    type.dtype = DType::kFloat32;
    return graph_.add_value(std::move(type));
  }

  void add_cast(ValueId from, ValueId to, Provenance place) {
    graph_.nodes.push_back(
        {std::string(kCast),
         {ValueRef{from}, graph_.type(to).dtype, None{}, None{}, None{}, false, None{}},
         {to},
         {},
         place});
  }

  // The float32 twin of a value, made where it is first needed.
  ValueId widened(ValueId id, Provenance place) {
    if (!is_bfloat16(id)) return id;
    auto [entry, added] = wide_.try_emplace(id, kNoValue);
    if (added) {
      entry->second = add_wide(id);
      add_cast(id, entry->second, place);
    }
    return entry->second;
  }

  Graph& graph_;
  std::unordered_map<ValueId, ValueId> wide_;
  bool changed_ = false;
};

}  // namespace

bool has_bfloat16_values(const Program& program) {
  return std::any_of(program.graph.values.begin(), program.graph.values.end(),
                     [](const Value& value) { return value.type.dtype == DType::kBFloat16; });
}

bool compute_bfloat16_in_float32(Program& program) { return Widener(program.graph).run(); }

}  // namespace portwright
