// Writes made functional: every traced tensor is a chain of views over a base, and a base has one
// current value. A write computes the viewed elements anew and carries them back along the chain
// (slice -> slice_scatter, select -> select_scatter, transpose -> transpose, ...); reading a view
// of a base that was written replays its chain.
#include <unordered_map>

#include "capture/provenance.h"
#include "capture/shape_math.h"
#include "capture/torch_weight.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

// Writes `part`, the new elements of a view, back into `whole`, the view's operand. kNoValue when
// that cannot be done.
using WriteBack = ValueId (*)(Tracer& tracer, ValueId whole, ValueId part, const ViewStep& step);

ValueId replay(Tracer& tracer, const ViewStep& step, ValueId operand) {
  std::vector<Argument> arguments = step.arguments;
  arguments[0] = ValueRef{operand};
  const std::vector<Output> outputs = tracer.record(*step.op, std::move(arguments));
  if (const auto* list = std::get_if<ValueList>(&outputs.at(0))) return list->at(step.output);
  return std::get<ValueId>(outputs.at(0));
}

ValueId back_by_reshape(Tracer& tracer, ValueId whole, ValueId part, const ViewStep&) {
  return tracer.record_one("aten.reshape.default",
                           {ValueRef{part}, IntList(tracer.type(whole).shape)});
}

ValueId back_by_transpose(Tracer& tracer, ValueId, ValueId part, const ViewStep& step) {
  return tracer.record_one("aten.transpose.int",
                           {ValueRef{part}, step.arguments[1], step.arguments[2]});
}

ValueId back_by_t(Tracer& tracer, ValueId whole, ValueId part, const ViewStep&) {
  if (tracer.type(whole).rank() < 2) return part;
  return tracer.record_one("aten.transpose.int", {ValueRef{part}, Expr(0), Expr(1)});
}

ValueId back_by_permute(Tracer& tracer, ValueId, ValueId part, const ViewStep& step) {
  const auto& dims = std::get<IntList>(step.arguments[1]);
  const auto rank = static_cast<int64_t>(dims.size());
  IntList inverse(dims.size());
  for (int64_t i = 0; i < rank; ++i) {
    const int64_t dim = dims[i].constant();
    inverse[dim < 0 ? dim + rank : dim] = i;
  }
  return tracer.record_one("aten.permute.default", {ValueRef{part}, inverse});
}

ValueId back_by_slice_scatter(Tracer& tracer, ValueId whole, ValueId part, const ViewStep& step) {
  const auto& a = step.arguments;
  return tracer.record_one("aten.slice_scatter.default",
                           {ValueRef{whole}, ValueRef{part}, a[1], a[2], a[3], a[4]});
}

ValueId back_by_select_scatter(Tracer& tracer, ValueId whole, ValueId part, const ViewStep& step) {
  return tracer.record_one("aten.select_scatter.default",
                           {ValueRef{whole}, ValueRef{part}, step.arguments[1], step.arguments[2]});
}

ValueId back_by_diagonal_scatter(Tracer& tracer, ValueId whole, ValueId part,
                                 const ViewStep& step) {
  const auto& a = step.arguments;
  return tracer.record_one("aten.diagonal_scatter.default",
                           {ValueRef{whole}, ValueRef{part}, a[1], a[2], a[3]});
}

ValueId back_by_as_strided_scatter(Tracer& tracer, ValueId whole, ValueId part,
                                   const ViewStep& step) {
  const auto& a = step.arguments;
  return tracer.record_one("aten.as_strided_scatter.default",
                           {ValueRef{whole}, ValueRef{part}, a[1], a[2], a[3]});
}

ValueId back_by_unbind(Tracer& tracer, ValueId whole, ValueId part, const ViewStep& step) {
  return tracer.record_one("aten.select_scatter.default",
                           {ValueRef{whole}, ValueRef{part}, step.arguments[1],
                            Expr(static_cast<int64_t>(step.output))});
}

// split.Tensor(self, size, dim), split_with_sizes(self, sizes, dim).
ValueId back_by_split(Tracer& tracer, ValueId whole, ValueId part, const ViewStep& step) {
  Expr start = 0;
  if (const auto* sizes = std::get_if<IntList>(&step.arguments[1])) {
    for (uint32_t i = 0; i < step.output; ++i) start = start + (*sizes)[i];
  } else {
    start = std::get<Expr>(step.arguments[1]) * Expr(step.output);
  }
  int64_t dim = std::get<Expr>(step.arguments[2]).constant();
  const TensorType& type = tracer.type(part);
  if (dim < 0) dim += static_cast<int64_t>(type.rank());
  const Expr end = start + type.shape[dim];
  return tracer.record_one("aten.slice_scatter.default",
                           {ValueRef{whole}, ValueRef{part}, Expr(dim), start, end, Expr(1)});
}

ValueId back_unchanged(Tracer&, ValueId, ValueId part, const ViewStep&) { return part; }

ValueId back_by_view_as_complex(Tracer& tracer, ValueId, ValueId part, const ViewStep&) {
  return tracer.record_one("aten.view_as_complex.default", {ValueRef{part}});
}

ValueId back_by_view_as_real(Tracer& tracer, ValueId, ValueId part, const ViewStep&) {
  return tracer.record_one("aten.view_as_real.default", {ValueRef{part}});
}

// Any view without overlap: the same view of the elements' positions says where they go.
ValueId back_by_positions(Tracer& tracer, ValueId whole, ValueId part, const ViewStep& step) {
  const IntList shape = tracer.type(whole).shape;
  const IntList flat = {product(shape)};
  const IntList flat_part = {product(tracer.type(part).shape)};
  auto reshaped = [&](ValueId value, const IntList& to) {
    return tracer.record_one("aten.reshape.default", {ValueRef{value}, to});
  };
  const ValueId positions =
      tracer.record_one("aten.arange.default", {flat[0], DType::kInt64, None{}, None{}, None{}});
  const ValueId places = reshaped(replay(tracer, step, reshaped(positions, shape)), flat_part);
  const ValueId written = tracer.record_one(
      "aten.scatter.src", {ValueRef{reshaped(whole, flat)}, Expr(0), ValueRef{places},
                           ValueRef{reshaped(part, flat_part)}});
  return reshaped(written, shape);
}

// unfold(self, dim, size, step): windows that overlap take no writes, as in eager.
ValueId back_by_unfold(Tracer& tracer, ValueId whole, ValueId part, const ViewStep& step) {
  const Predicate overlap = Predicate::compare(std::get<Expr>(step.arguments[2]), Relation::kGt,
                                               std::get<Expr>(step.arguments[3]));
  if (tracer.holds(overlap)) return kNoValue;
  return back_by_positions(tracer, whole, part, step);
}

// An expanded dim has one element in several places and takes no writes, as in eager.
ValueId back_by_expand(Tracer& tracer, ValueId whole, ValueId part, const ViewStep& step) {
  const Predicate same = Predicate::compare(product(tracer.type(whole).shape), Relation::kEq,
                                            product(tracer.type(part).shape));
  if (!tracer.holds(same)) return kNoValue;
  return back_by_reshape(tracer, whole, part, step);
}

const std::unordered_map<std::string_view, WriteBack>& write_backs() {
  static const std::unordered_map<std::string_view, WriteBack> kTable = {
      {"aten.slice.Tensor", back_by_slice_scatter},
      {"aten.select.int", back_by_select_scatter},
      {"aten.transpose.int", back_by_transpose},
      {"aten.t.default", back_by_t},
      {"aten.permute.default", back_by_permute},
      {"aten.view.default", back_by_reshape},
      {"aten.reshape.default", back_by_reshape},
      {"aten._unsafe_view.default", back_by_reshape},
      {"aten._reshape_alias.default", back_by_reshape},
      {"aten.flatten.using_ints", back_by_reshape},
      {"aten.unflatten.int", back_by_reshape},
      {"aten.unsqueeze.default", back_by_reshape},
      {"aten.squeeze.default", back_by_reshape},
      {"aten.squeeze.dim", back_by_reshape},
      {"aten.squeeze.dims", back_by_reshape},
      {"aten.diagonal.default", back_by_diagonal_scatter},
      {"aten.as_strided.default", back_by_as_strided_scatter},
      {"aten.unbind.int", back_by_unbind},
      {"aten.split.Tensor", back_by_split},
      {"aten.split_with_sizes.default", back_by_split},
      {"aten.expand.default", back_by_expand},
      {"aten.unfold.default", back_by_unfold},
      {"aten.chunk.default", back_by_positions},
      {"aten.tensor_split.sections", back_by_positions},
      {"aten.tensor_split.indices", back_by_positions},
      {"aten.alias.default", back_unchanged},
      {"aten.view_as_real.default", back_by_view_as_complex},
      {"aten.view_as_complex.default", back_by_view_as_real},
  };
  return kTable;
}

// The chain from the base to the view, in that order.
std::vector<const ViewStep*> chain_of(const ViewStep* last) {
  std::vector<const ViewStep*> chain;
  for (const ViewStep* step = last; step != nullptr; step = step->parent.get()) {
    chain.insert(chain.begin(), step);
  }
  return chain;
}

std::vector<Argument> cast_arguments(ValueId value, DType dtype) {
  return {ValueRef{value}, dtype, None{}, None{}, None{}, false, None{}};
}

}  // namespace

ValueId Tracer::current_value(TracedTensorImpl& tensor) {
  if (tensor.capture_id() != capture_id_) {
    throw Error(ErrorCode::kInvalidArgument,
                "a tensor of a finished capture is used: the model kept it in an attribute. Clear "
                "that attribute before the model runs again");
  }
  if (tensor.version == tensor.base()->version) return tensor.value;
  ValueId value = tensor.base()->value;
  for (const ViewStep* step : chain_of(tensor.view().get())) value = replay(*this, *step, value);
  tensor.value = value;
  tensor.version = tensor.base()->version;
  return value;
}

void Tracer::write(TracedTensorImpl& tensor, ValueId part) {
  AliasBase& base = *tensor.base();
  const std::vector<const ViewStep*> chain = chain_of(tensor.view().get());
  std::vector<ValueId> wholes;
  ValueId whole = base.value;
  for (const ViewStep* step : chain) {
    wholes.push_back(whole);
    if (step != chain.back()) whole = replay(*this, *step, whole);
  }
  ValueId value = part;
  for (size_t i = chain.size(); i-- > 0;) {
    auto found = write_backs().find(chain[i]->op->name);
    value =
        found == write_backs().end() ? kNoValue : found->second(*this, wholes[i], value, *chain[i]);
    if (value == kNoValue) {
      const Place place = current_place();
      throw Error(ErrorCode::kUnsupported,
                  "the model writes in place through " + chain[i]->op->name +
                      ", which cannot be made functional; write to a copy (.clone()) instead",
                  place.source, place.module_path);
    }
  }
  if (!loops_.empty()) note_write_in_loops(tensor.base());
  if (!branches_.empty()) note_write_in_branches(*tensor.base());
  base.value = value;
  ++base.version;
  tensor.value = part;
  tensor.version = base.version;
  any_stand_in_written_ = any_stand_in_written_ || !stand_ins_.empty();
}

// `value` cast and broadcast to the target's type: what an in-place write keeps.
ValueId Tracer::conform(ValueId value, const TensorType& target) {
  if (type(value).dtype != target.dtype) {
    value = record_one("aten._to_copy.default", cast_arguments(value, target.dtype));
  }
  if (type(value).shape == target.shape) return value;
  return record_one("aten.expand.default", {ValueRef{value}, IntList(target.shape), false});
}

ValueId Tracer::functional_result(const OpInfo& op, std::vector<Argument> arguments) {
  const OpInfo* target = catalog_.functional_form(op);
  if (target == nullptr || target->returns_list != std::vector<bool>{false}) {
    const Place place = current_place();
    throw Error(ErrorCode::kUnsupported, op.name + " has no functional form", place.source,
                place.module_path);
  }
  return std::get<ValueId>(record(*target, std::move(arguments)).at(0));
}

// unsqueeze_, transpose_ and others: the tensor object becomes a view of what it was.
void Tracer::call_in_place_view(const OpInfo& op, torch::jit::Stack* stack) {
  const auto count = static_cast<int64_t>(op.operands.size());
  const at::Tensor operand = (stack->end() - count)->toTensor();
  const OpInfo* view = catalog_.functional_form(op);
  TracedTensorImpl* target = TracedTensorImpl::of(operand);
  if (target == nullptr || view == nullptr || view->kind != OpKind::kView) {
    const Place place = current_place();
    throw Error(ErrorCode::kUnsupported,
                op.name +
                    " changes the shape of a tensor that the program does not own; use the "
                    "function without the underscore",
                place.source, place.module_path);
  }
  torch::jit::Stack viewed(stack->end() - count, stack->end());
  call_view(*view, &viewed);
  target->become(*TracedTensorImpl::of(viewed.back().toTensor()));
  stack->erase(stack->end() - count, stack->end());
  stack->emplace_back(operand);
}

// copy_, fill_ and zero_ state what they write, without a functional form that computes it.
bool states_what_it_writes(const OpInfo& op) {
  return op.name == "aten.copy_.default" || op.name == "aten.fill_.Tensor" ||
         op.name == "aten.fill_.Scalar" || op.name == "aten.zero_.default";
}

void Tracer::call_in_place(const OpInfo& op, torch::jit::Stack* stack) {
  if (op.handle.hasTag(at::Tag::inplace_view)) return call_in_place_view(op, stack);
  const size_t count = op.operands.size();
  const at::Tensor operand = (*stack)[stack->size() - count].toTensor();
  const at::Tensor target_tensor = TracedTensorImpl::of(operand) ? operand : stand_in(operand);
  TracedTensorImpl& target = *TracedTensorImpl::of(target_tensor);
  (*stack)[stack->size() - count] = target_tensor;

  std::vector<Argument> arguments = take_arguments(op, stack);
  const TensorType target_type = type(current_value(target));
  ValueId result = kNoValue;
  if (op.name == "aten.copy_.default" || op.name == "aten.fill_.Tensor") {
    result = std::holds_alternative<ValueRef>(arguments[1])
                 ? std::get<ValueRef>(arguments[1]).id
                 : record_one("aten.full_like.default",
                              {arguments[0], arguments[1], None{}, None{}, None{}, None{}, None{}});
  } else if (op.name == "aten.fill_.Scalar" || op.name == "aten.zero_.default") {
    const Argument fill = op.name == "aten.zero_.default" ? Argument(Expr(0)) : arguments[1];
    result = record_one("aten.full_like.default",
                        {arguments[0], fill, None{}, None{}, None{}, None{}, None{}});
  } else {
    result = functional_result(op, std::move(arguments));
  }
  write(target, conform(result, target_type));
  stack->erase(stack->end() - static_cast<int64_t>(count), stack->end());
  stack->emplace_back(operand);
}

void Tracer::call_out(const OpInfo& op, torch::jit::Stack* stack) {
  const size_t count = op.operands.size();
  const at::Tensor out = stack->back().toTensor();
  const at::Tensor target_tensor = TracedTensorImpl::of(out) ? out : stand_in(out);
  std::vector<Argument> arguments = take_arguments(op, stack);
  arguments.pop_back();
  const ValueId result = functional_result(op, std::move(arguments));
  TracedTensorImpl& target = *TracedTensorImpl::of(target_tensor);
  write(target, conform(result, type(target.value)));
  stack->erase(stack->end() - static_cast<int64_t>(count), stack->end());
  stack->emplace_back(out);
}

bool Tracer::may_write_for_real(const at::Tensor& real) const {
  const void* storage = real.storage().unsafeGetStorageImpl();
  return fresh_storages_.contains(storage) && !constant_storages_.contains(storage);
}

at::Tensor Tracer::stand_in(const at::Tensor& real) {
  const c10::TensorImpl* impl = real.unsafeGetTensorImpl();
  if (auto found = stand_ins_.find(impl); found != stand_ins_.end()) return found->second;
  kept_alive_.push_back(real);
  if (auto found = real_views_.find(impl); found != real_views_.end()) {
    const RealView view = found->second;
    auto* parent = TracedTensorImpl::of(stand_in(view.parent));
    if (view.op->kind == OpKind::kAlias) {
      return stand_ins_.emplace(impl, at::Tensor(parent->alias())).first->second;
    }
    auto step = std::make_shared<ViewStep>();
    step->parent = parent->view();
    step->op = view.op;
    step->arguments = view.arguments;
    step->output = view.output;
    const ValueId value = replay(*this, *step, current_value(*parent));
    at::Tensor traced(
        c10::make_intrusive<TracedTensorImpl>(*this, value, parent->base(), std::move(step)));
    return stand_ins_.emplace(impl, traced).first->second;
  }
  return stand_ins_.emplace(impl, wrap(constant_value(real))).first->second;
}

void Tracer::note_real_results(const OpInfo& op, const torch::jit::Stack& stack, size_t results,
                               const std::vector<c10::IValue>& operands) {
  const bool view = op.kind == OpKind::kView || op.kind == OpKind::kAlias;
  auto note = [&](const at::Tensor& tensor, uint32_t index) {
    if (!tensor.defined() || !tensor.has_storage()) return;
    const void* storage = tensor.storage().unsafeGetStorageImpl();
    const bool aliases = view && operands[0].toTensor().has_storage() &&
                         operands[0].toTensor().storage().unsafeGetStorageImpl() == storage;
    if (!aliases) {
      // An operator may hand its operand back (contiguous, to): then the storage is not new.
      for (const c10::IValue& operand : operands) {
        if (operand.isTensor() && operand.toTensor().defined() &&
            operand.toTensor().has_storage() &&
            operand.toTensor().storage().unsafeGetStorageImpl() == storage) {
          return;
        }
      }
      fresh_storages_.insert(storage);
      kept_alive_.push_back(tensor);
      return;
    }
    if (tensor.is_same(operands[0].toTensor())) return;
    std::vector<Argument> arguments(operands.size());
    for (size_t i = 1; i < operands.size(); ++i) {
      arguments[i] = to_argument(*this, operands[i], op.operands[i].kind);
    }
    kept_alive_.push_back(tensor);
    real_views_[tensor.unsafeGetTensorImpl()] = {operands[0].toTensor(), &op, std::move(arguments),
                                                 index};
  };
  for (size_t i = stack.size() - results; i < stack.size(); ++i) {
    const c10::IValue& value = stack[i];
    if (value.isTensor()) {
      note(value.toTensor(), 0);
    } else if (value.isTensorList()) {
      uint32_t index = 0;
      for (const at::Tensor& tensor : value.toTensorVector()) note(tensor, index++);
    }
  }
}

}  // namespace portwright
