#include "executorch/kernels.h"

#include <array>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "executorch/kernel_table.h"

namespace portwright {
namespace {

OperandKind kind_of(std::string_view type) {
  static constexpr std::array<std::pair<std::string_view, OperandKind>, 6> kKinds = {{
      {"Tensor", OperandKind::kTensor},
      {"Tensor?", OperandKind::kTensor},
      {"Tensor[]", OperandKind::kTensorList},
      {"Tensor?[]", OperandKind::kOptionalTensorList},
      {"float", OperandKind::kFloat},
      {"float?", OperandKind::kFloat},
  }};
  for (const auto& [name, kind] : kKinds) {
    if (name == type) return kind;
  }
  return OperandKind::kOther;
}

// "aten::add.out" -> {"aten::add", "out"}.
PteOperator operator_of(const std::string& kernel) {
  const size_t dot = kernel.find('.', kernel.find("::"));
  if (dot == std::string::npos) return {kernel, ""};
  return {kernel.substr(0, dot), kernel.substr(dot + 1)};
}

// "aten::add.out Tensor:0 Tensor:1 Scalar:2 out".
Kernel parse_kernel(std::istringstream& row) {
  Kernel kernel;
  kernel.outs = 0;
  std::string word;
  row >> word;
  kernel.op = operator_of(word);
  while (row >> word) {
    if (word == "out" || word == "outs") {
      ++kernel.outs;
      kernel.outs_are_list = word == "outs";
      continue;
    }
    const size_t colon = word.rfind(':');
    kernel.operands.push_back(
        {kind_of(std::string_view(word).substr(0, colon)), std::stoul(word.substr(colon + 1))});
  }
  return kernel;
}

using Table = std::unordered_map<std::string, Kernel>;

const Table& table() {
  static const Table kTable = [] {
    Table rows;
    std::istringstream text{std::string(kernel_table())};
    for (std::string line; std::getline(text, line);) {
      if (line.empty() || line[0] == '#') continue;
      std::istringstream row(line);
      std::string op;
      row >> op;
      rows.emplace(op, parse_kernel(row));
    }
    return rows;
  }();
  return kTable;
}

}  // namespace

const Kernel* find_kernel(std::string_view op) {
  const auto found = table().find(std::string(op));
  return found == table().end() ? nullptr : &found->second;
}

std::string_view kernel_table_version() {
  const std::string_view text = kernel_table();
  const size_t start = text.rfind(' ', text.find('\n')) + 1;
  return text.substr(start, text.find('\n') - start);
}

std::vector<std::string> kernel_operators() {
  std::vector<std::string> names;
  for (const auto& [op, kernel] : table()) names.push_back(op);
  return names;
}

}  // namespace portwright
