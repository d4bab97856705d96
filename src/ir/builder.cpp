#include "ir/builder.h"

#include <cstring>
#include <utility>

#include "ir/verifier.h"

namespace portwright {
namespace {

template <typename T>
void count_up(std::vector<std::byte>& bytes) {
  for (size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
    const T value = static_cast<T>(i);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
}

std::vector<std::byte> counting_bytes(DType dtype, int64_t numel) {
  std::vector<std::byte> bytes(static_cast<size_t>(numel) * element_size(dtype));
  switch (dtype) {
    case DType::kFloat32: count_up<float>(bytes); break;
    case DType::kFloat64: count_up<double>(bytes); break;
    case DType::kInt32: count_up<int32_t>(bytes); break;
    case DType::kInt64: count_up<int64_t>(bytes); break;
    default: break;
  }
  return bytes;
}

}  // namespace

Expr ProgramBuilder::symbol(const std::string& name, Interval range, int64_t hint) {
  SymbolInfo info;
  info.name = name;
  info.range = range;
  info.hint = hint;
  return program_.symbols->add_symbol(std::move(info));
}

ValueId ProgramBuilder::input(const std::string& name, DType dtype, std::vector<Expr> shape) {
  const ValueId id = program_.graph.add_value({dtype, std::move(shape), {}}, name);
  program_.graph.inputs.push_back(id);
  program_.inputs.push_back({InputKind::kUserInput, name, true, std::nullopt});
  return id;
}

ValueId ProgramBuilder::parameter(const std::string& target, DType dtype,
                                  std::vector<int64_t> shape) {
  int64_t numel = 1;
  for (int64_t size : shape) numel *= size;
  const ValueId id =
      constant(target, Weight::from_host(dtype, std::move(shape), counting_bytes(dtype, numel)));
  program_.inputs.back().kind = InputKind::kParameter;
  program_.inputs.back().persistent = true;
  return id;
}

ValueId ProgramBuilder::constant(const std::string& target, Weight weight) {
  std::vector<Expr> shape(weight.shape.begin(), weight.shape.end());
  const ValueId id = program_.graph.add_value({weight.dtype, std::move(shape), {}}, target);
  program_.graph.inputs.push_back(id);
  program_.inputs.push_back({InputKind::kConstantTensor, target, false, std::move(weight)});
  return id;
}

std::vector<ValueId> ProgramBuilder::ops(const std::string& name, std::vector<Argument> arguments,
                                         std::vector<TensorType> results) {
  Node node;
  node.op = name;
  node.arguments = std::move(arguments);
  node.provenance = provenance_;
  std::vector<ValueId> ids;
  for (TensorType& type : results) {
    ids.push_back(program_.graph.add_value(std::move(type)));
    node.outputs.emplace_back(ids.back());
  }
  program_.graph.nodes.push_back(std::move(node));
  return ids;
}

ValueId ProgramBuilder::op(const std::string& name, std::vector<Argument> arguments, DType dtype,
                           std::vector<Expr> shape) {
  return ops(name, std::move(arguments), {{dtype, std::move(shape), {}}})[0];
}

ProgramBuilder& ProgramBuilder::at(const std::string& module_path, SourceLine source) {
  provenance_ = {static_cast<uint32_t>(program_.module_paths.size()),
                 static_cast<uint32_t>(program_.source_lines.size())};
  program_.module_paths.push_back(module_path);
  program_.source_lines.push_back(std::move(source));
  return *this;
}

ProgramBuilder& ProgramBuilder::output(const std::string& name, ValueId value) {
  program_.graph.outputs.push_back(value);
  program_.outputs.push_back({OutputKind::kUserOutput, name});
  return *this;
}

Program ProgramBuilder::build() {
  verify(program_);
  return std::move(program_);
}

}  // namespace portwright
