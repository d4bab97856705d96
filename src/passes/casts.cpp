// Cast clean-up.
// Needs: nothing. Ensures: no cast to the type that a value has, and no cast of a cast that loses
// nothing in between (bool -> i64 -> f32, f32 -> f64 -> f32).
//   %1 : f64[2] = aten._to_copy.default(%x, dtype f64, ...)
//   %2 : f32[2] = aten._to_copy.default(%1, dtype f32, ...)     =>   %x
#include <unordered_map>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace portwright {
namespace {

// Bits of the integers that a type holds exactly; 0 when it is no real number type.
int integer_bits(DType dtype) {
  switch (dtype) {
    case DType::kBool: return 1;
    case DType::kUInt8: return 8;
    case DType::kInt8: return 7;
    case DType::kInt16: return 15;
    case DType::kInt32: return 31;
    case DType::kInt64: return 63;
    case DType::kFloat16: return 11;
    case DType::kBFloat16: return 8;
    case DType::kFloat32: return 24;
    case DType::kFloat64: return 53;
    default: return 0;
  }
}

// Whether every value of `from` is a value of `to`.
bool widens(DType from, DType to) {
  if (from == to || from == DType::kBool) return integer_bits(to) > 0;
  if (to == DType::kBool || integer_bits(from) == 0 || integer_bits(to) == 0) return false;
  if (is_floating_point(from)) {
    if (!is_floating_point(to)) return false;
    return to == DType::kFloat64 || (to == DType::kFloat32 && from != DType::kFloat64);
  }
  const bool is_unsigned = from == DType::kUInt8;
  if (is_unsigned && to == DType::kInt8) return false;
  return integer_bits(to) >= integer_bits(from);
}

bool is_cast(const Node& node) {
  return node.op == "aten._to_copy.default" && !node.arguments.empty() &&
         std::holds_alternative<ValueRef>(node.arguments[0]);
}

ValueId operand(const Node& node) { return std::get<ValueRef>(node.arguments[0]).id; }

}  // namespace

bool simplify_casts(Program& program) {
  std::unordered_map<ValueId, ValueId> cast_of;  // result -> operand
  bool shortened = false;
  for (Node& node : program.graph.nodes) {
    if (!is_cast(node)) continue;
    const DType target = program.graph.type(node.result()).dtype;
    for (auto found = cast_of.find(operand(node)); found != cast_of.end();
         found = cast_of.find(operand(node))) {
      if (!widens(program.graph.type(found->second).dtype,
                  program.graph.type(found->first).dtype)) {
        break;
      }
      if (target == DType::kBool) break;  // truth is taken of the intermediate value
      node.arguments[0] = ValueRef{found->second};
      shortened = true;
    }
    cast_of.emplace(node.result(), operand(node));
  }
  const bool removed = replace_results(
      program, program.graph, [](const Graph& graph, const Node& node) -> std::optional<ValueId> {
        if (!is_cast(node)) return std::nullopt;
        const ValueId from = operand(node);
        if (graph.type(from).dtype != graph.type(node.result()).dtype) {
          return std::nullopt;
        }
        return from;
      });
  if (shortened || removed) eliminate_dead_code(program);
  return shortened || removed;
}

}  // namespace portwright
