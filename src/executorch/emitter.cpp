#include "executorch/emitter.h"

#include <algorithm>
#include <numeric>

#include "executorch/edge/edge.h"
#include "executorch/elementwise.h"
#include "ir/data_symbols.h"
#include "ir/scalar_bytes.h"

namespace portwright {
namespace {

const PteOperator kCopy = {"aten::copy_", ""};
const PteOperator kClone = {"aten::clone", "out"};
const PteOperator kView = {"executorch_prim::et_view", "default"};
const PteOperator kIndexPut = {"aten::index_put_", ""};
const PteOperator kCat = {"aten::cat", "out"};
const PteOperator kFull = {"aten::full", "out"};
const PteOperator kCopyIndex = {"executorch_prim::et_copy_index", "tensor"};
constexpr int64_t kMostFolded = 256;  // elements of a constant that is not made by a call

std::string refusal(const TensorType& type) {
  return "a tensor of type " + std::string(to_string(type.dtype));
}

}  // namespace

PteId PteEmitter::add(PteValue value) {
  method_.values.push_back(std::move(value));
  return static_cast<PteId>(method_.values.size() - 1);
}

void PteEmitter::call(const PteOperator& op, std::vector<PteId> args) {
  const auto [entry, added] =
      operators_.try_emplace(op, static_cast<uint32_t>(method_.operators.size()));
  if (added) method_.operators.push_back(op);
  method_.instructions.emplace_back(PteKernelCall{entry->second, std::move(args)});
}

PteTensor PteEmitter::described(const TensorType& type) const {
  if (is_complex(type.dtype)) throw Error(ErrorCode::kUnsupported, refusal(type));
  PteTensor tensor;
  tensor.dtype = type.dtype;
  for (const Expr& size : type.shape) {
    const int64_t upper = bounds_.upper(size);
    if (upper > INT32_MAX) {
      throw Error(ErrorCode::kUnsupported,
                  "the size " + to_string(size) + " can be " + std::to_string(upper) +
                      ", more than ExecuTorch's 2147483647: give its dims smaller bounds");
    }
    tensor.sizes.push_back(static_cast<int32_t>(upper));
    tensor.dynamic = tensor.dynamic || !size.is_constant();
  }
  tensor.dim_order.resize(type.rank());
  std::iota(tensor.dim_order.begin(), tensor.dim_order.end(), uint8_t{0});
  return tensor;
}

PteId PteEmitter::result(ValueId id) {
  const PteId made = add(described(type(id)));
  scopes_.back().values[id] = made;
  return made;
}

PteId PteEmitter::constant(const Weight& weight) {
  PteTensor tensor;
  tensor.dtype = weight.dtype;
  for (int64_t size : weight.shape) tensor.sizes.push_back(static_cast<int32_t>(size));
  tensor.dim_order.resize(weight.shape.size());
  std::iota(tensor.dim_order.begin(), tensor.dim_order.end(), uint8_t{0});
  tensor.data = static_cast<uint32_t>(model_.constants.size());
  model_.constants.push_back(weight);
  return add(std::move(tensor));
}

PteId PteEmitter::tensor(ValueId id) {
  auto& values = scopes_.back().values;
  if (const auto found = values.find(id); found != values.end()) return found->second;
  const Weight* weight = in_body() ? nullptr : program_.weight(id);
  if (weight == nullptr) {
    throw Error(ErrorCode::kInternal, "value " + std::to_string(id) + " has not been emitted");
  }
  return values[id] = constant(*weight);
}

// Integers beyond what a double holds are kept; numbers are told apart by their bits, as -0 and 0.
PteId PteEmitter::scalar_constant(const Argument& number, DType dtype) {
  const auto* integer = std::get_if<Expr>(&number);
  std::vector<std::byte> bytes;
  if (integer != nullptr && dtype == DType::kInt64) {
    const int64_t value = integer->constant();
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.assign(first, first + sizeof(value));
  } else {
    double value = integer != nullptr ? static_cast<double>(integer->constant()) : 0;
    if (const auto* given = std::get_if<double>(&number)) value = *given;
    if (const auto* given = std::get_if<bool>(&number)) value = *given ? 1 : 0;
    bytes = scalar_bytes(value, dtype);
  }
  const auto [entry, added] = scalars_.try_emplace({dtype, bytes}, kNoPteValue);
  if (added) entry->second = constant(Weight::from_host(dtype, {}, std::move(bytes)));
  return entry->second;
}

PteId PteEmitter::operand(const Argument& argument, OperandKind kind) {
  if (std::holds_alternative<None>(argument)) return none();
  if (const auto* ref = std::get_if<ValueRef>(&argument)) return tensor(ref->id);
  if (const auto* list = std::get_if<ValueList>(&argument)) {
    std::vector<PteId> items;
    for (ValueId id : *list) items.push_back(id == kNoValue ? kNoPteValue : tensor(id));
    if (kind == OperandKind::kOptionalTensorList) return add(PteOptionalTensorList{items});
    return add(PteTensorList{std::move(items)});
  }
  if (kind == OperandKind::kTensor) {
    const bool is_float = std::holds_alternative<double>(argument);
    const bool is_bool = std::holds_alternative<bool>(argument);
    return scalar_constant(argument,
                           is_float ? DType::kFloat32 : (is_bool ? DType::kBool : DType::kInt64));
  }
  if (const auto* value = std::get_if<bool>(&argument)) return boolean(*value);
  if (const auto* value = std::get_if<double>(&argument)) return floating(*value);
  if (const auto* value = std::get_if<Expr>(&argument)) {
    const bool is_float = kind == OperandKind::kFloat && value->is_constant();
    return is_float ? floating(static_cast<double>(value->constant())) : number(*value);
  }
  if (const auto* value = std::get_if<Real>(&argument)) return real(*value);
  if (const auto* value = std::get_if<Predicate>(&argument)) return condition(*value);
  if (const auto* value = std::get_if<std::string>(&argument)) return text(*value);
  if (const auto* value = std::get_if<DType>(&argument))
    return integer(static_cast<int64_t>(*value));
  if (const auto* value = std::get_if<IntList>(&argument)) return int_list(*value);
  if (const auto* value = std::get_if<FloatList>(&argument)) return add(*value);
  if (const auto* value = std::get_if<BoolList>(&argument)) return add(*value);
  return none();  // devices, layouts and memory formats say nothing here
}

std::vector<PteId> PteEmitter::operands(const Node& node, const Kernel& kernel) {
  std::vector<PteId> args;
  args.reserve(kernel.operands.size() + 2);
  for (const KernelOperand& wanted : kernel.operands)
    args.push_back(operand(node.arguments.at(wanted.place), wanted.kind));
  return args;
}

void PteEmitter::emit_kernel(const Node& node, const Kernel& kernel) {
  std::vector<PteId> args = operands(node, kernel);
  std::vector<PteId> outs;
  for (const Output& output : node.outputs) {
    if (const auto* id = std::get_if<ValueId>(&output)) outs.push_back(result(*id));
    if (const auto* list = std::get_if<ValueList>(&output)) {
      for (ValueId id : *list) outs.push_back(result(id));
    }
  }
  if (!kernel.outs_are_list && outs.size() != kernel.outs) {
    throw Error(ErrorCode::kInternal, node.op + " has " + std::to_string(outs.size()) +
                                          " results, its kernel " + std::to_string(kernel.outs));
  }
  const bool as_list = kernel.outs_are_list || outs.size() > 1;
  const PteId returned = as_list ? add(PteTensorList{outs}) : outs.at(0);
  if (kernel.outs_are_list) {
    args.push_back(returned);
  } else {
    args.insert(args.end(), outs.begin(), outs.end());
  }
  args.push_back(returned);
  call(kernel.op, std::move(args));
  if (computes_by_element(kernel.op))
    std::get<PteKernelCall>(method_.instructions.back()).replaceable = operands_like_result(node);
}

// Sizes that have the same bounds may differ at run time: the expressions say whether they do.
std::vector<PteId> PteEmitter::operands_like_result(const Node& node) {
  const TensorType& made = type(node.result());
  std::vector<PteId> found;
  for (const Argument& argument : node.arguments) {
    const auto* ref = std::get_if<ValueRef>(&argument);
    if (ref == nullptr) continue;
    const TensorType& given = type(ref->id);
    if (given.dtype == made.dtype && given.shape == made.shape) found.push_back(tensor(ref->id));
  }
  return found;
}

// The result shares the operand's memory.
void PteEmitter::emit_view(const Node& node) {
  const PteId from = operand(node.arguments.at(0), OperandKind::kTensor);
  const ValueId id = node.result();
  const PteId sizes = int_list(type(id).shape);
  call(kView, {from, sizes, result(id)});
}

// Small tensors of one number are constants of the file.
bool PteEmitter::emit_constant(const Node& node) {
  if (node.op != "aten.full.default") return false;
  const TensorType type = this->type(node.result());
  const Argument& number = node.arguments.at(1);
  const auto* expr = std::get_if<Expr>(&number);
  if (expr != nullptr && !expr->is_constant()) return false;
  if (std::holds_alternative<Real>(number) || std::holds_alternative<Predicate>(number))
    return false;
  int64_t count = 1;
  std::vector<int64_t> shape;
  for (const Expr& size : type.shape) {
    if (!size.is_constant()) return false;
    shape.push_back(size.constant());
    count *= size.constant();
  }
  if (count > kMostFolded) return false;
  if (type.rank() == 0) {
    scopes_.back().values[node.result()] = scalar_constant(number, type.dtype);
    return true;
  }
  const PteId one = scalar_constant(number, type.dtype);
  const auto element = model_.constants.at(*std::get<PteTensor>(method_.values.at(one)).data);
  std::vector<std::byte> bytes;
  for (int64_t i = 0; i < count; ++i) {
    const std::span<const std::byte> piece = element.contiguous_bytes();
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  }
  scopes_.back().values[node.result()] =
      constant(Weight::from_host(type.dtype, shape, std::move(bytes)));
  return true;
}

// A write to a buffer or an input whose old value nothing reads afterwards.
bool PteEmitter::emit_in_place(const Node& node) {
  if (node.op != "aten.index_put.default" || in_body()) return false;
  const auto target = written_to_.find(node.result());
  const auto* ref = std::get_if<ValueRef>(&node.arguments.at(0));
  if (target == written_to_.end() || ref == nullptr || ref->id != target->second) return false;
  if (last_uses_.at(ref->id) != at_) return false;
  bool reads_itself = false;  // by another operand
  for (size_t i = 1; i < node.arguments.size(); ++i) {
    for_each_value(node.arguments[i],
                   [&](ValueId id) { reads_itself = reads_itself || memory_of(id) == ref->id; });
  }
  if (reads_itself) return false;
  std::vector<PteId> args = operands(node, *find_kernel(node.op));
  const PteId buffer = args.front();
  args.push_back(buffer);
  call(kIndexPut, std::move(args));
  scopes_.back().values[node.result()] = buffer;
  return true;
}

void PteEmitter::emit_binding(const Node& node) {
  const PteId from = operand(node.arguments.at(0), OperandKind::kTensor);
  if (node.op == kBindSize) {
    const PteId dim = operand(node.arguments.at(1), OperandKind::kOther);
    scopes_.back().symbols[bound_symbol(node)] =
        prim("aten::sym_size.int", {from, dim}, int64_t{0});
    return;
  }
  scopes_.back().symbols[bound_symbol(node)] =
      prim("aten::_local_scalar_dense.", {from}, int64_t{0});
}

void PteEmitter::emit_delegate(const Node& node) {
  if (!lower_delegate_) throw Error(ErrorCode::kInternal, "a delegate without a backend");
  LoweredDelegate lowered = lower_delegate_(program_, node, bounds_);
  std::vector<PteId> args;
  args.reserve(lowered.inputs.size());
  for (ValueId id : lowered.inputs) args.push_back(tensor(id));
  for (ValueId id : std::get<ValueList>(node.outputs.at(0))) args.push_back(result(id));
  for (PteNamedData& data : lowered.named_data) {
    if (named_.insert(data.key).second) model_.named_data.push_back(std::move(data));
  }
  method_.delegates.push_back(std::move(lowered.delegate));
  const auto index = static_cast<uint32_t>(method_.delegates.size() - 1);
  method_.instructions.emplace_back(PteDelegateCall{index, std::move(args)});
}

void PteEmitter::emit_node(const Node& node) {
  if (binds_symbol(node)) return emit_binding(node);
  if (is_delegate(node)) return emit_delegate(node);
  if (is_loop(node)) return emit_loop(node);
  if (node.op == "aten.view.default") return emit_view(node);
  if (emit_constant(node) || emit_in_place(node)) return;
  const Kernel* kernel = find_kernel(node.op);
  if (kernel == nullptr) throw Error(ErrorCode::kUnsupported, "the format has nothing for it");
  emit_kernel(node, *kernel);
}

uint32_t PteEmitter::next_instruction() const {
  return static_cast<uint32_t>(method_.instructions.size());
}

// The target has this value from now on, in memory of its own.
void PteEmitter::assign(PteId target, PteId from) { call(kClone, {from, none(), target, target}); }

// What a round computes and hands on; the body's values are emitted in a scope of their own.
void PteEmitter::emit_round(const LoopNode& loop, std::span<const PteId> last,
                            std::span<const PteId> stacked, std::span<const PteId> joined,
                            PteId counter) {
  const Graph& body = loop.body;
  std::vector<PteId> captures;
  captures.reserve(loop.captures.size());
  for (ValueId id : loop.captures) captures.push_back(tensor(id));
  scopes_.emplace_back().graph = &body;
  scopes_.back().symbols[loop.counter] = counter;
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    scopes_.back().values[body.inputs[i]] =
        i < last.size() ? last[i] : captures.at(i - last.size());
  }
  for (const Node& node : body.nodes) emit_node(node);
  std::vector<PteId> results;
  results.reserve(body.outputs.size());
  for (ValueId id : body.outputs) results.push_back(tensor(id));
  for (size_t i = 0; i < stacked.size(); ++i)
    call(kCopyIndex, {stacked[i], results.at(last.size() + i), counter});
  for (size_t i = 0; i < joined.size(); ++i) {
    const PteId item = results.at(last.size() + stacked.size() + i);
    const PteId longer = add(method_.values.at(joined[i]));
    call(kCat, {add(PteTensorList{{joined[i], item}}), number(loop.dims.at(i)), longer, longer});
    assign(joined[i], longer);
  }
  for (size_t i = 0; i < last.size(); ++i) {  // one carried value may become another
    const bool is_carried = std::find(last.begin(), last.end(), results[i]) != last.end();
    if (is_carried && results[i] != last[i]) results[i] = copied(results[i]);
  }
  for (size_t i = 0; i < last.size(); ++i) {
    if (results[i] != last[i]) assign(last[i], results[i]);
  }
  scopes_.pop_back();
}

// A counter, a conditional jump behind the loop and a jump back.
void PteEmitter::emit_loop(const Node& node) {
  const LoopNode loop = as_loop(node);
  const PteId trips = number(loop.trips);
  std::vector<PteId> last, stacked, joined;
  for (size_t i = 0; i < loop.last.size(); ++i) {
    const PteId initial = tensor(loop.initial[i]);
    last.push_back(result(loop.last[i]));
    assign(last.back(), initial);
  }
  const auto start_empty = [&](ValueId id, size_t dim) {
    const PteId made = result(id);
    std::get<PteTensor>(method_.values.at(made)).dynamic = true;
    IntList shape = type(id).shape;
    shape.at(dim) = 0;
    call(kFull, {int_list(shape), integer(0), made, made});
    return made;
  };
  for (ValueId id : loop.stacked) stacked.push_back(start_empty(id, 0));
  for (size_t i = 0; i < loop.joined.size(); ++i)
    joined.push_back(start_empty(loop.joined[i], loop.dims.at(i).constant()));

  const PteId counter = add(int64_t{0});
  method_.instructions.emplace_back(PteMoveCall{integer(0), counter});
  const uint32_t start = next_instruction();
  const PteId goes_on = prim("executorch_prim::lt.Scalar", {counter, trips}, false);
  const uint32_t leave = next_instruction();
  method_.instructions.emplace_back(PteJumpFalse{goes_on, 0});
  emit_round(loop, last, stacked, joined, counter);
  call({"executorch_prim::add", "Scalar"}, {counter, integer(1), counter});
  method_.instructions.emplace_back(PteJumpFalse{boolean(false), start});
  std::get<PteJumpFalse>(method_.instructions.at(leave)).destination = next_instruction();
}

void PteEmitter::add_inputs() {
  for (size_t i = 0; i < program_.inputs.size(); ++i) {
    const InputSpec& spec = program_.inputs[i];
    const ValueId id = program_.graph.inputs[i];
    if (spec.kind != InputKind::kUserInput) continue;
    method_.inputs.push_back(result(id));
  }
  for (size_t i = 0; i < program_.outputs.size(); ++i) {
    const OutputSpec& spec = program_.outputs[i];
    if (spec.kind == OutputKind::kUserOutput) continue;
    for (size_t k = 0; k < program_.inputs.size(); ++k) {
      if (program_.inputs[k].target != spec.target) continue;
      const ValueId id = program_.graph.inputs[k];
      written_to_[program_.graph.outputs[i]] = id;
      if (spec.kind == OutputKind::kUserInputMutation) {
        std::get<PteTensor>(method_.values.at(tensor(id))).is_callers = true;
        continue;
      }
      PteTensor state = described(program_.graph.type(id));
      state.is_state = true;
      state.data = static_cast<uint32_t>(model_.initial_states.size());
      model_.initial_states.push_back(*program_.inputs[k].weight);
      scopes_.back().values[id] = add(std::move(state));
    }
  }
}

// Copies each new value to the buffer or input that has it afterwards.
void PteEmitter::add_mutations() {
  std::vector<std::pair<PteId, PteId>> copies;
  for (size_t i = 0; i < program_.outputs.size(); ++i) {
    if (program_.outputs[i].kind == OutputKind::kUserOutput) continue;
    const ValueId made = program_.graph.outputs[i];
    const PteId target = tensor(written_to_.at(made));
    const PteId from = tensor(made);
    if (from == target) continue;
    const bool is_input = std::find(program_.graph.inputs.begin(), program_.graph.inputs.end(),
                                    made) != program_.graph.inputs.end();
    copies.emplace_back(is_input ? copied(from) : from, target);
  }
  for (const auto& [from, target] : copies) call(kCopy, {target, from, boolean(false), target});
}

PteId PteEmitter::copied(PteId from) {
  PteTensor tensor = std::get<PteTensor>(method_.values.at(from));
  tensor.allocation.reset();
  tensor.data.reset();
  tensor.is_state = tensor.is_callers = false;
  const PteId copy = add(std::move(tensor));
  call(kClone, {from, none(), copy, copy});
  return copy;
}

// An output is a tensor of its own: what is an input, a weight or another output is copied. But
// what was written to an input in place is that input.
void PteEmitter::add_outputs() {
  std::vector<PteId> taken = method_.inputs;
  for (size_t i = 0; i < program_.outputs.size(); ++i) {
    if (program_.outputs[i].kind != OutputKind::kUserOutput) continue;
    const ValueId value = program_.graph.outputs[i];
    PteId id = tensor(value);
    const PteTensor& given = std::get<PteTensor>(method_.values.at(id));
    const bool is_written_input = given.is_callers && written_to_.contains(value);
    const bool is_taken = std::find(taken.begin(), taken.end(), id) != taken.end();
    const bool is_shared = is_taken || given.data.has_value() || is_overwritten(value);
    if (is_shared && !is_written_input) id = copied(id);
    taken.push_back(id);
    method_.outputs.push_back(id);
  }
}

// A view is its operand's memory: a use of the one is a use of the other.
void PteEmitter::find_uses() {
  const std::vector<Node>& nodes = program_.graph.nodes;
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const Argument& argument : nodes[i].arguments)
      for_each_value(argument, [&](ValueId id) { last_uses_[id] = i; });
  }
  for (size_t i = 0; i < program_.outputs.size(); ++i) {
    if (program_.outputs[i].kind == OutputKind::kUserOutput)
      last_uses_[program_.graph.outputs[i]] = nodes.size();
  }
  for (size_t i = nodes.size(); i-- > 0;) {
    if (nodes[i].op != "aten.view.default") continue;
    const ValueId from = std::get<ValueRef>(nodes[i].arguments.at(0)).id;
    last_uses_[from] = std::max(last_uses_[from], last_uses_[nodes[i].result()]);
  }
  for (const Node& node : nodes) {
    if (node.op != "aten.view.default") continue;
    const ValueId from = std::get<ValueRef>(node.arguments.at(0)).id;
    const auto found = viewed_.find(from);
    viewed_[node.result()] = found == viewed_.end() ? from : found->second;
  }
}

// The value whose memory a view shares; of others they themselves.
ValueId PteEmitter::memory_of(ValueId id) const {
  const auto view = viewed_.find(id);
  return view == viewed_.end() ? id : view->second;
}

// Whether the value lies in the memory of an input or a buffer that the method writes to.
bool PteEmitter::is_overwritten(ValueId id) const {
  const ValueId memory = memory_of(id);
  return std::any_of(written_to_.begin(), written_to_.end(),
                     [&](const auto& item) { return item.second == memory; });
}

void PteEmitter::emit() {
  const std::vector<Node>& nodes = program_.graph.nodes;
  find_uses();
  add_inputs();
  for (at_ = 0; at_ < nodes.size(); ++at_) {
    const Node& node = nodes[at_];
    try {
      emit_node(node);
    } catch (const std::out_of_range& error) {
      throw Error(ErrorCode::kInternal, node.op + ": " + error.what(), program_.source(node),
                  program_.module_path(node));
    } catch (const Error& error) {
      if (error.source().known()) throw;
      throw Error(error.code(), "cannot write " + node.op + " for ExecuTorch: " + error.what(),
                  program_.source(node), program_.module_path(node));
    }
  }
  add_outputs();
  add_mutations();
}

}  // namespace portwright
