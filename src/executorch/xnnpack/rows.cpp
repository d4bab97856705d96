#include "executorch/xnnpack/rows.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace portwright {
namespace {

struct Rule {
  std::string_view op, over_rows;
  // Where operands of one number for each dim stand, and what that is for the height.
  std::array<std::pair<size_t, int64_t>, 4> lists;
  size_t list_count;
};

// Source of the operands' order: native_functions.yaml.
constexpr std::array kRules = {
    Rule{"aten.conv1d.default", "aten.conv2d.default", {{{3, 1}, {4, 0}, {5, 1}, {}}}, 3},
    Rule{"aten.conv1d.padding", "aten.conv2d.padding", {{{3, 1}, {5, 1}, {}, {}}}, 2},
    Rule{"aten.conv_transpose1d.default",
         "aten.conv_transpose2d.input",
         {{{3, 1}, {4, 0}, {5, 0}, {7, 1}}},
         4},
};

const Rule* rule_of(const Node& node) {
  for (const Rule& rule : kRules) {
    if (rule.op == node.op) return &rule;
  }
  return nullptr;
}

// [a, b, c] as [a, b, 1, c].
template <typename Size>
std::vector<Size> with_height(std::vector<Size> shape) {
  shape.insert(shape.begin() + 2, Size(1));
  return shape;
}

}  // namespace

ValueId RowFilters::of(ValueId filter) {
  const auto [place, first] = made_.try_emplace(filter, kNoValue);
  if (!first) return place->second;
  for (size_t i = 0; i < program_.inputs.size(); ++i) {
    if (program_.graph.inputs[i] != filter || !program_.inputs[i].weight) continue;
    InputSpec spec = program_.inputs[i];
    if (spec.weight->shape.size() != 3) return kNoValue;
    spec.target += ".rows";
    spec.weight->shape = with_height(spec.weight->shape);
    spec.weight->strides.insert(spec.weight->strides.begin() + 2, spec.weight->strides[1]);
    const auto& shape = spec.weight->shape;
    place->second =
        program_.graph.add_value({spec.weight->dtype, {shape.begin(), shape.end()}, {}});
    added_.emplace_back(place->second, std::move(spec));
    return place->second;
  }
  return kNoValue;
}

void RowFilters::add_inputs() {
  const auto first =
      std::find_if(program_.inputs.begin(), program_.inputs.end(),
                   [](const InputSpec& input) { return input.kind == InputKind::kUserInput; });
  const auto place = first - program_.inputs.begin();
  for (const auto& [id, spec] : added_) {
    program_.graph.inputs.insert(program_.graph.inputs.begin() + place, id);
    program_.inputs.insert(program_.inputs.begin() + place, spec);
  }
}

bool convolve_rows(Rewriter& out, const Node& node, RowFilters& filters) {
  const Rule* rule = rule_of(node);
  if (rule == nullptr) return false;
  const ValueId input = std::get<ValueRef>(node.arguments[0]).id;
  const TensorType from = out.type(input), to = out.type(node.result());
  const bool taken = from.dtype == DType::kFloat32 || from.dtype == DType::kFloat16;
  if (!taken || from.rank() != 3) return false;
  const ValueId filter = filters.of(std::get<ValueRef>(node.arguments[1]).id);
  if (filter == kNoValue) return false;
  std::vector<Argument> arguments = node.arguments;
  for (size_t i = 0; i < rule->list_count; ++i) {
    const auto& [place, height] = rule->lists[i];
    auto* list = std::get_if<IntList>(&arguments.at(place));
    if (list == nullptr || list->size() != 1) return false;
    list->insert(list->begin(), Expr(height));
  }
  const ValueId rows = out.add("aten.unsqueeze.default", {ValueRef{input}, Expr(2)},
                               {from.dtype, with_height(from.shape), {}});
  arguments[0] = ValueRef{rows};
  arguments[1] = ValueRef{filter};
  const ValueId result = out.add(std::string(rule->over_rows), std::move(arguments),
                                 {to.dtype, with_height(to.shape), {}});
  out.give("aten.squeeze.dim", {ValueRef{result}, Expr(2)}, {node.result()});
  return true;
}

}  // namespace portwright
