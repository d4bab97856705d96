#include "onnx/emitter.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "ir/scalar_bytes.h"

namespace portwright {
namespace {

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& items) {
  std::vector<std::byte> bytes(items.size() * sizeof(T));
  std::memcpy(bytes.data(), items.data(), bytes.size());
  return bytes;
}

}  // namespace

int64_t constant_int(const Argument& argument) {
  const auto* expr = std::get_if<Expr>(&argument);
  if (expr == nullptr || !expr->is_constant()) {
    throw Error(ErrorCode::kUnsupported, "an operand must be a constant integer here");
  }
  return expr->constant();
}

int64_t constant_dim(const Argument& argument, size_t rank) {
  const int64_t dim = constant_int(argument);
  return dim < 0 ? dim + static_cast<int64_t>(std::max<size_t>(rank, 1)) : dim;
}

std::vector<int64_t> constant_dims(const Argument& argument, size_t rank) {
  if (std::holds_alternative<Expr>(argument)) return {constant_dim(argument, rank)};
  std::vector<int64_t> dims;
  if (const auto* list = std::get_if<IntList>(&argument)) {
    for (const Expr& dim : *list) dims.push_back(constant_dim(dim, rank));
  }
  return dims;
}

bool is_none(const Argument& argument) { return std::holds_alternative<None>(argument); }

bool flag(const Argument& argument) {
  const auto* value = std::get_if<bool>(&argument);
  return value != nullptr && *value;
}

std::optional<double> constant_number(const Argument& argument) {
  if (const auto* value = std::get_if<double>(&argument)) return *value;
  if (const auto* value = std::get_if<bool>(&argument)) return *value ? 1 : 0;
  if (const auto* value = std::get_if<Expr>(&argument); value && value->is_constant()) {
    return static_cast<double>(value->constant());
  }
  return std::nullopt;
}

OnnxValueInfo value_info(const std::string& name, const TensorType& type) {
  OnnxValueInfo info{name, type.dtype, {}};
  for (const Expr& size : type.shape) {
    if (size.is_constant()) {
      info.dims.emplace_back(size.constant());
    } else {
      info.dims.emplace_back(to_string(size));
    }
  }
  return info;
}

Emitter::Emitter(const Program& program, OnnxModel& model, OnnxRuntime runtime)
    : program_(program), model_(model), runtime_(runtime) {
  scopes_.emplace_back().graph = &program.graph;
}

std::string Emitter::once(const std::string& key, const std::function<std::string()>& make) {
  if (const std::string* found = known(&Scope::shared, key)) return *found;
  std::string made = make();
  scopes_.back().shared.emplace(key, made);
  return made;
}

void Emitter::bind(ValueId id, std::string name) {
  if (!in_body() && computed_shapes_.contains(name)) {
    model_.value_infos.push_back(value_info(name, type(id)));
  }
  scopes_.back().values[id] = std::move(name);
}

void Emitter::require(const Predicate& predicate, const Node& node) {
  if (predicate.maybe_constant() == true) return;
  const auto same = [&](const Guard& guard) { return guard.predicate == predicate; };
  if (std::any_of(model_.guards.begin(), model_.guards.end(), same)) return;
  model_.guards.push_back(
      {predicate, GuardKind::kDecision, program_.source(node), program_.module_path(node)});
}

void Emitter::open_body(const Graph* graph) {
  Scope scope;
  scope.graph = graph != nullptr ? graph : scopes_.back().graph;
  scope.body = std::make_shared<OnnxBody>();
  scopes_.push_back(std::move(scope));
}

std::string Emitter::body_input(DType dtype, OnnxBodyValue::Kind kind) {
  auto& inputs = scopes_.back().body->inputs;
  inputs.push_back({node_name("input"), dtype, kind});
  return inputs.back().name;
}

// An output is the result of a node of the body, and of one only.
void Emitter::body_output(const std::string& value, DType dtype, OnnxBodyValue::Kind kind) {
  const std::string own = op("Identity", {value});
  scopes_.back().body->outputs.push_back({own, dtype, kind});
}

std::shared_ptr<OnnxBody> Emitter::close_body() {
  std::shared_ptr<OnnxBody> body = std::move(scopes_.back().body);
  scopes_.pop_back();
  return body;
}

void Emitter::begin(const Node& node) {
  prefix_ = path_name(program_.module_path(node));
  source_ = to_string(program_.source(node));
}

// "model.layers.0.self_attn" -> "/model/layers.0/self_attn".
std::string Emitter::path_name(const std::string& module_path) {
  std::string name;
  size_t start = 0;
  while (start < module_path.size()) {
    const size_t dot = std::min(module_path.find('.', start), module_path.size());
    const bool index = std::isdigit(static_cast<unsigned char>(module_path[start])) != 0;
    name += index && !name.empty() ? '.' : '/';
    name += module_path.substr(start, dot - start);
    start = dot + 1;
  }
  return name;
}

std::string Emitter::node_name(const std::string& type) {
  std::string name = prefix_ + "/" + type;
  const size_t count = name_counts_[name]++;
  return count == 0 ? name : name + "_" + std::to_string(count);
}

const std::string& Emitter::value(ValueId id) const {
  const auto& values = scopes_.back().values;
  auto found = values.find(id);
  if (found == values.end()) {
    throw Error(ErrorCode::kInternal, "value " + std::to_string(id) + " has not been lowered");
  }
  return found->second;
}

std::vector<std::string> Emitter::ops(const std::string& type, std::vector<std::string> inputs,
                                      size_t outputs, OnnxAttributes attributes) {
  OnnxNode node;
  const size_t colons = type.find("::");
  node.op_type = colons == std::string::npos ? type : type.substr(colons + 2);
  if (colons != std::string::npos) node.domain = type.substr(0, colons);
  node.name = node_name(node.op_type);
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  node.source = source_;
  for (size_t i = 0; i < outputs; ++i) {
    node.outputs.push_back(node.name + "_output_" + std::to_string(i));
  }
  OnnxBody* body = scopes_.back().body.get();
  auto& nodes = body != nullptr ? body->nodes : model_.nodes;
  nodes.push_back(std::move(node));
  return nodes.back().outputs;
}

std::string Emitter::op(const std::string& type, std::vector<std::string> inputs,
                        OnnxAttributes attributes) {
  return ops(type, std::move(inputs), 1, std::move(attributes))[0];
}

std::string Emitter::constant(const Weight& weight) {
  std::string key(to_string(weight.dtype));
  for (int64_t size : weight.shape) key += "," + std::to_string(size);
  key += ':';
  const std::vector<std::byte> bytes = weight.copy_bytes();
  key.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  auto [entry, added] = constants_.try_emplace(std::move(key));
  if (added) {
    entry->second = "_constant_" + std::to_string(constants_.size() - 1);
    model_.initializers.push_back({entry->second, weight});
  }
  return entry->second;
}

std::string Emitter::ints(const std::vector<int64_t>& values) {
  return constant(
      Weight::from_host(DType::kInt64, {static_cast<int64_t>(values.size())}, bytes_of(values)));
}

std::string Emitter::scalar(double value, DType dtype) {
  return constant(Weight::from_host(dtype, {}, scalar_bytes(value, dtype)));
}

std::string Emitter::tensor(const Argument& argument) const {
  const auto* ref = std::get_if<ValueRef>(&argument);
  if (ref == nullptr) throw Error(ErrorCode::kInternal, "a tensor operand was expected");
  return value(ref->id);
}

std::string Emitter::tensor(const Argument& argument, DType dtype) {
  if (const auto* ref = std::get_if<ValueRef>(&argument)) {
    return cast(value(ref->id), type(ref->id).dtype, dtype);
  }
  if (const auto* expr = std::get_if<Expr>(&argument)) {
    if (expr->is_constant() && dtype == DType::kInt64) {  // beyond what a double holds exactly
      return constant(Weight::from_host(dtype, {}, bytes_of<int64_t>({expr->constant()})));
    }
    if (!expr->is_constant()) return cast(scalar_int(*expr), DType::kInt64, dtype);
  }
  if (const auto number = constant_number(argument)) return scalar(*number, dtype);
  if (const auto* real = std::get_if<Real>(&argument)) return scalar_real(*real, dtype);
  if (const auto* predicate = std::get_if<Predicate>(&argument))
    return cast(condition(*predicate), DType::kBool, dtype);
  throw Error(ErrorCode::kUnsupported, "an operand is neither a tensor nor a number");
}

std::string Emitter::cast(const std::string& value, DType from, DType to) {
  if (from == to) return value;
  return op("Cast", {value}, {{"to", onnx_dtype(to)}});
}

std::string Emitter::unsqueeze(const std::string& value, const std::vector<int64_t>& axes) {
  return axes.empty() ? value : op("Unsqueeze", {value, ints(axes)});
}

std::string Emitter::squeeze(const std::string& value, const std::vector<int64_t>& axes) {
  return axes.empty() ? value : op("Squeeze", {value, ints(axes)});
}

std::string Emitter::transpose(const std::string& value, const std::vector<int64_t>& order) {
  return op("Transpose", {value}, {{"perm", order}});
}

std::string Emitter::matrix_transposed(const std::string& value, size_t rank) {
  std::vector<int64_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = static_cast<int64_t>(i);
  std::swap(order[rank - 1], order[rank - 2]);
  return transpose(value, order);
}

}  // namespace portwright
