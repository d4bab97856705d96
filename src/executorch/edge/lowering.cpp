#include "executorch/edge/lowering.h"

#include <unordered_map>
#include <unordered_set>

#include "executorch/edge/edge.h"
#include "executorch/kernels.h"
#include "ir/data_symbols.h"
#include "ir/loop_node.h"

namespace portwright {
namespace {

using Table = std::unordered_map<std::string_view, EdgeFn>;

const Table& table() {
  static const Table kTable = [] {
    Table rows;
    for (const auto& family : {activation_edges(), arithmetic_edges(), convolution_edges(),
                               factory_edges(), indexing_edges(), linear_edges(), norm_edges(),
                               pooling_edges(), reduction_edges(), shape_edges()}) {
      for (const EdgeLowering& row : family) rows.emplace(row.op, row.lower);
    }
    return rows;
  }();
  return kTable;
}

[[noreturn]] void refuse(const EdgeCall& call, size_t i, const std::string& wanted) {
  throw Error(ErrorCode::kUnsupported,
              "operand " + std::to_string(i) + " of " + call.node.op + " must be " + wanted);
}

}  // namespace

EdgeFn find_edge_lowering(std::string_view op) {
  const auto found = table().find(op);
  return found == table().end() ? nullptr : found->second;
}

std::vector<std::string> edge_operators() {
  std::vector<std::string> names = kernel_operators();
  for (const auto& [op, lower] : table()) names.emplace_back(op);
  names.insert(names.end(), {kBindSize, kLoop});
  return names;
}

ValueId EdgeCall::tensor(size_t i) const {
  if (const auto* ref = std::get_if<ValueRef>(&arg(i))) return ref->id;
  refuse(*this, i, "a tensor");
}

bool EdgeCall::flag(size_t i) const {
  const auto* value = i < node.arguments.size() ? std::get_if<bool>(&arg(i)) : nullptr;
  return value != nullptr && *value;
}

int64_t EdgeCall::integer(size_t i) const {
  const auto* value = std::get_if<Expr>(&arg(i));
  if (value != nullptr && value->is_constant()) return value->constant();
  refuse(*this, i, "a constant int");
}

int64_t EdgeCall::dim(size_t i) const {
  const int64_t given = integer(i);
  const auto rank = static_cast<int64_t>(std::max<size_t>(type(0).rank(), 1));
  return given < 0 ? given + rank : given;
}

std::vector<int64_t> EdgeCall::dims(size_t i) const {
  const auto rank = static_cast<int64_t>(std::max<size_t>(type(0).rank(), 1));
  std::vector<int64_t> found;
  for (const Expr& given : ints(i)) {
    if (!given.is_constant()) refuse(*this, i, "constant dims");
    found.push_back(given.constant() < 0 ? given.constant() + rank : given.constant());
  }
  return found;
}

IntList EdgeCall::ints(size_t i) const {
  if (const auto* one = std::get_if<Expr>(&arg(i))) return {*one};
  if (const auto* list = std::get_if<IntList>(&arg(i))) return *list;
  refuse(*this, i, "a list of ints");
}

double EdgeCall::number(size_t i, double otherwise) const {
  if (!has(i)) return otherwise;
  if (const auto* value = std::get_if<double>(&arg(i))) return *value;
  if (const auto* value = std::get_if<bool>(&arg(i))) return *value ? 1 : 0;
  return static_cast<double>(integer(i));
}

TensorType EdgeCall::result(size_t i) const {
  return out.type(std::get<ValueId>(node.outputs.at(i)));
}

void EdgeCall::give(ValueId value, size_t i) const {
  if (const auto* id = std::get_if<ValueId>(&node.outputs.at(i))) out.replace(*id, value);
}

void EdgeCall::as(const std::string& op, std::vector<Argument> arguments) const {
  out.give(op, std::move(arguments), node.outputs);
}

void EdgeCall::kernel(const std::string& op, std::vector<Argument> arguments) const {
  out.kernel(op, std::move(arguments), node.outputs);
}

}  // namespace portwright
