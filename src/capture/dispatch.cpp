// The boxed fallback: what happens to each operator call of a thread that is being traced.
#include <ATen/autocast_mode.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/library.h>

#include "bindings/bindings.h"
#include "capture/provenance.h"
#include "capture/shape_math.h"
#include "capture/sym_node.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

constexpr c10::DispatchKey kTracerKey = c10::DispatchKey::TESTING_ONLY_GenericMode;

// Results of constant-only calls above this many elements stay in the graph as nodes.
constexpr int64_t kFoldLimit = 1 << 16;

bool batched(const at::Tensor& tensor) {
  return tensor.defined() && (tensor.key_set().has(c10::DispatchKey::FuncTorchBatched) ||
                              tensor.key_set().has(c10::DispatchKey::FuncTorchGradWrapper));
}

// Calls `visit(tensor)` for every defined tensor among the op's operands.
template <typename Visitor>
void for_each_tensor(const torch::jit::Stack& stack, size_t operands, Visitor&& visit) {
  for (size_t i = stack.size() - operands; i < stack.size(); ++i) {
    const c10::IValue& value = stack[i];
    if (value.isTensor()) {
      if (value.toTensor().defined()) visit(value.toTensor());
    } else if (value.isList()) {
      if (value.isIntList() || value.isDoubleList() || value.isBoolList()) continue;
      for (const c10::IValue& item : value.toListRef()) {
        if (item.isTensor() && item.toTensor().defined()) visit(item.toTensor());
      }
    }
  }
}

bool symbolic_number(const c10::IValue& value) {
  if (value.isSymInt()) return !to_expr(value.toSymInt()).is_constant();
  if (value.isSymFloat()) return value.toSymFloat().is_symbolic();
  if (value.isSymBool()) return !value.toSymBool().maybe_as_bool().has_value();
  if (!value.isList() || value.isIntList() || value.isDoubleList() || value.isBoolList()) {
    return false;
  }
  for (const c10::IValue& item : value.toListRef()) {
    if (item.isSymInt() && !to_expr(item.toSymInt()).is_constant()) return true;
  }
  return false;
}

// Autocast keeps its casts of weights in a table that outlives the trace: nothing traced may go in,
// and a cast that eager code left there would be a copy of a weight.
class CastCacheOff {
 public:
  CastCacheOff() { at::autocast::set_autocast_cache_enabled(false); }
  ~CastCacheOff() { at::autocast::set_autocast_cache_enabled(before_); }
  CastCacheOff(const CastCacheOff&) = delete;
  CastCacheOff& operator=(const CastCacheOff&) = delete;

 private:
  bool before_ = at::autocast::is_autocast_cache_enabled();
};

void drop(torch::jit::Stack* stack, size_t count) {
  stack->erase(stack->end() - static_cast<int64_t>(count), stack->end());
}

void fallback(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  Tracer* tracer = Tracer::active();
  if (tracer == nullptr) {
    op.redispatchBoxed(keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kTracerKey),
                       stack);
    return;
  }
  try {
    tracer->call(op, keys, stack);
  } catch (const Error& error) {
    // torch's bindings would turn it into a RuntimeError; carry our own class through them.
    pybind11::gil_scoped_acquire gil;
    raise_python(error);
    python_error carried;
    carried.persist();
    throw carried;
  }
}

}  // namespace

Tracer::Operands Tracer::inspect(const OpInfo& op, const torch::jit::Stack& stack) {
  Operands found;
  const size_t count = op.operands.size();
  for_each_tensor(stack, count, [&](const at::Tensor& tensor) {
    if (TracedTensorImpl::of(tensor) != nullptr) {
      found.traced = true;
    } else if (batched(tensor)) {
      found.batched = true;
    } else if (!found.traced && tensor.dim() == 0 && hides_symbol(tensor)) {
      found.traced = true;
    }
  });
  for (size_t i = stack.size() - count; !found.traced && i < stack.size(); ++i) {
    found.traced = symbolic_number(stack[i]);
  }
  return found;
}

// A constant that traced code has written to is read through its stand-in from then on.
bool Tracer::replace_written_constants(const OpInfo& op, torch::jit::Stack* stack) {
  if (!any_stand_in_written_ && traced_weights_.empty()) return false;
  bool replaced = false;
  auto current = [&](const at::Tensor& tensor) -> std::optional<at::Tensor> {
    if (!tensor.defined() || TracedTensorImpl::of(tensor)) return std::nullopt;
    const c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
    if (!stand_ins_.contains(impl) && !real_views_.contains(impl)) return std::nullopt;
    at::Tensor traced = stand_in(tensor);
    const AliasBase* base = TracedTensorImpl::of(traced)->base().get();
    if (base->version == 0 && !traced_weights_.contains(base)) return std::nullopt;
    replaced = true;
    return traced;
  };
  for (size_t i = stack->size() - op.operands.size(); i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      if (auto traced = current(value.toTensor())) value = *traced;
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list = value.toTensorList().copy();
      for (size_t j = 0; j < list.size(); ++j) {
        if (auto traced = current(list.get(j))) list.set(j, *traced);
      }
      value = list;
    }
  }
  return replaced;
}

bool Tracer::can_fold(const OpInfo& op, const torch::jit::Stack& stack) const {
  if (op.random && !seeded_) return false;
  bool small = true;
  bool writable = true;
  for_each_tensor(stack, op.operands.size(), [&](const at::Tensor& tensor) {
    if (tensor.numel() > kFoldLimit) small = false;
  });
  if (op.operands.empty()) return true;
  const c10::IValue& first = stack[stack.size() - op.operands.size()];
  if (op.kind == OpKind::kInPlace) {
    writable = first.isTensor() && may_write_for_real(first.toTensor());
  }
  if (op.kind == OpKind::kOut) {
    const c10::IValue& out = stack.back();
    writable = out.isTensor() && may_write_for_real(out.toTensor());
  }
  if (op.kind == OpKind::kView || op.kind == OpKind::kAlias) return true;
  if (first.isIntList()) {
    int64_t numel = 1;
    for (int64_t size : first.toIntVector()) numel *= size;
    if (numel > kFoldLimit) return false;
  }
  return small && writable;
}

// A seeded draw that is not a constant would differ from eager's. Dropout draws nothing here.
void Tracer::check_draw(const OpInfo& op) const {
  if (!op.random || !seeded_) return;
  for (const OperandInfo& operand : op.operands) {
    if (operand.name.starts_with("train") || operand.name == "dropout_p") return;
  }
  const Place place = current_place();
  throw Error(ErrorCode::kUnsupported,
              op.name +
                  " draws random numbers after torch.manual_seed, with a size or from values "
                  "that are not constant: a program cannot repeat that. Draw them outside "
                  "the model and pass them as an input",
              place.source, place.module_path);
}

void Tracer::fail_if_due(bool late) {
  if (!fault_ || fault_->late != late || fault_->calls-- > 0) return;
  fault_.reset();
  throw Error(ErrorCode::kInternal, "a fault was asked for at this operator call");
}

void Tracer::call(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
  fail_if_due(false);
  take_call(op, keys, stack);
  fail_if_due(true);
}

void Tracer::take_call(const c10::OperatorHandle& handle, c10::DispatchKeySet keys,
                       torch::jit::Stack* stack) {
  const OpInfo& op = catalog_.find(handle);
  if (!loops_.empty()) note_call_in_loops(op, *stack);
  Operands operands = inspect(op, *stack);
  if (operands.batched) {
    handle.redispatchBoxed(keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kTracerKey),
                           stack);
    return;
  }
  if (replace_written_constants(op, stack)) operands.traced = true;
  // A composite shows its parts even on constants: one of them may be a view that is written to.
  if (!operands.traced && op.kind != OpKind::kDecompose && can_fold(op, *stack)) {
    run_for_real(op, keys, stack);
    return;
  }
  if (op.kind != OpKind::kDecompose) check_draw(op);
  try {
    if (!call_autocast(op, stack) && !call_decomposed(op, stack)) dispatch(op, keys, stack);
  } catch (const c10::Error& error) {
    const Place place = current_place();
    throw Error(ErrorCode::kInvalidArgument,
                op.name + " cannot run on these shapes: " + error.what_without_backtrace(),
                place.source, place.module_path);
  } catch (const Error& error) {
    const Place place = current_place();
    if (error.source().known() || !place.source.known()) throw;
    throw Error(error.code(), op.name + ": " + error.what(), place.source, place.module_path);
  }
}

// The tracer sits above autocast. Autocast's kernel casts the operands and calls the operator again
// with autocast off: both come back here, so the casts are nodes.
bool Tracer::call_autocast(const OpInfo& op, torch::jit::Stack* stack) {
  if (!at::autocast::is_autocast_enabled(at::kCPU)) return false;
  switch (op.under_autocast) {
    case UnderAutocast::kSame: return false;
    case UnderAutocast::kKernel: {
      const CastCacheOff off;
      op.handle.callBoxedForDispatchKey(c10::DispatchKey::AutocastCPU, *stack);
      return true;
    }
    case UnderAutocast::kInParts:
      op.handle.callBoxedForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd, *stack);
      return true;
    case UnderAutocast::kRefused: break;
  }
  const Place place = current_place();
  throw Error(ErrorCode::kUnsupported,
              op.name +
                  " under torch.autocast cannot be captured: call the layer inside "
                  "torch.autocast(device_type, enabled=False), with its input in the "
                  "weights' dtype",
              place.source, place.module_path);
}

void Tracer::dispatch(const OpInfo& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  switch (op.kind) {
    case OpKind::kRecord: call_record(op, stack); return;
    case OpKind::kView: call_view(op, stack); return;
    case OpKind::kInPlace: call_in_place(op, stack); return;
    case OpKind::kOut: call_out(op, stack); return;
    case OpKind::kAlias: call_alias(op, stack); return;
    case OpKind::kDecompose:
      op.handle.callBoxedForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd, *stack);
      return;
    case OpKind::kDataDependent: call_data_dependent(op, stack); return;
    case OpKind::kAssertion: drop(stack, op.operands.size()); return;
  }
  (void)keys;
}

std::vector<Argument> Tracer::take_arguments(const OpInfo& op, torch::jit::Stack* stack) {
  const size_t count = op.operands.size();
  std::vector<Argument> arguments;
  arguments.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    arguments.push_back(
        to_argument(*this, (*stack)[stack->size() - count + i], op.operands[i].kind));
  }
  return arguments;
}

void Tracer::run_for_real(const OpInfo& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const size_t count = op.operands.size();
  const std::vector<c10::IValue> operands(stack->end() - static_cast<int64_t>(count), stack->end());
  const bool reads = op.kind != OpKind::kView && op.kind != OpKind::kAlias;
  for_each_tensor(operands, count, [&](const at::Tensor& tensor) {
    if (reads && tensor.has_storage())
      folded_storages_.insert(tensor.storage().unsafeGetStorageImpl());
  });
  {
    c10::impl::ExcludeDispatchKeyGuard exclude(kTracerKey);
    op.handle.redispatchBoxed(
        keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kTracerKey), stack);
  }
  note_real_results(op, *stack, op.returns_list.size(), operands);
}

void Tracer::push_results(const OpInfo& op, const std::vector<Output>& results,
                          const TracedTensorImpl* viewed, const std::vector<Argument>& arguments,
                          torch::jit::Stack* stack) {
  auto wrap_result = [&](ValueId id, uint32_t index) {
    if (viewed == nullptr) return wrap(id);
    auto step = std::make_shared<ViewStep>();
    step->parent = viewed->view();
    step->op = op.name;
    step->arguments = arguments;
    step->output = index;
    return at::Tensor(
        c10::make_intrusive<TracedTensorImpl>(*this, id, viewed->base(), std::move(step)));
  };
  for (const Output& result : results) {
    if (const auto* id = std::get_if<ValueId>(&result)) {
      stack->emplace_back(wrap_result(*id, 0));
    } else if (const auto* list = std::get_if<ValueList>(&result)) {
      c10::List<at::Tensor> tensors;
      for (uint32_t i = 0; i < list->size(); ++i) tensors.push_back(wrap_result((*list)[i], i));
      stack->emplace_back(std::move(tensors));
    } else {
      stack->emplace_back(at::Tensor());
    }
  }
}

void Tracer::call_record(const OpInfo& op, torch::jit::Stack* stack) {
  std::vector<Argument> arguments = take_arguments(op, stack);
  const std::vector<Output> results = record(op, std::move(arguments));
  drop(stack, op.operands.size());
  push_results(op, results, nullptr, {}, stack);
}

// as_strided reads memory, not elements: an operand that is row-major here is made so when it runs.
std::vector<Argument> Tracer::with_known_layout(const OpInfo& op, std::vector<Argument> arguments) {
  const auto* ref = std::get_if<ValueRef>(&arguments[0]);
  if (op.name != "aten.as_strided.default" || ref == nullptr || type(ref->id).strides)
    return arguments;
  arguments[0] = ValueRef{
      record_one("aten.clone.default", {ValueRef{ref->id}, MemoryFormat{"contiguous_format"}})};
  return arguments;
}

void Tracer::call_view(const OpInfo& op, torch::jit::Stack* stack) {
  const at::Tensor operand = (*stack)[stack->size() - op.operands.size()].toTensor();
  std::vector<Argument> arguments = take_arguments(op, stack);
  const std::vector<Output> results = record(op, with_known_layout(op, arguments));
  drop(stack, op.operands.size());
  const at::Tensor base = TracedTensorImpl::of(operand) ? operand : stand_in(operand);
  const TracedTensorImpl* viewed = TracedTensorImpl::of(base);
  if (const auto* id = std::get_if<ValueId>(&results.at(0));
      id != nullptr && op.copies_when_strided &&
      !view_strides(type(viewed->value), type(*id).shape)) {
    viewed = nullptr;
  }
  push_results(op, results, viewed, arguments, stack);
}

void Tracer::call_alias(const OpInfo& op, torch::jit::Stack* stack) {
  const at::Tensor operand = (*stack)[stack->size() - op.operands.size()].toTensor();
  drop(stack, op.operands.size());
  if (auto* traced = TracedTensorImpl::of(operand)) {
    stack->emplace_back(at::Tensor(traced->alias()));
  } else {
    stack->emplace_back(operand);
  }
}

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

}  // namespace portwright
