// Writes made functional (ir/views.h), for tensors that are traced and constants that the model
// writes to.
#include "capture/provenance.h"
#include "capture/torch_weight.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

class TracedViews final : public ViewGraph {
 public:
  explicit TracedViews(Tracer& tracer) : tracer_(tracer) {}

  const TensorType& type(ValueId id) override { return tracer_.type(id); }
  ValueId add(const std::string& op, std::vector<Argument> arguments, TensorType) override {
    return tracer_.record_one(op, std::move(arguments));
  }
  ValueId replay(const ViewStep& step, ValueId operand) override {
    std::vector<Argument> arguments = step.arguments;
    arguments[0] = ValueRef{operand};
    const OpInfo& op = tracer_.catalog().find(step.op);
    const std::vector<Output> outputs = tracer_.record(op, std::move(arguments));
    if (const auto* list = std::get_if<ValueList>(&outputs.at(0))) return list->at(step.output);
    return std::get<ValueId>(outputs.at(0));
  }
  bool holds(const Predicate& predicate) override { return tracer_.holds(predicate); }
  [[noreturn]] void refuse_write(const std::string& view) override {
    const Place place = current_place();
    throw Error(ErrorCode::kUnsupported,
                "the model writes in place through " + view +
                    ", which cannot be made functional; write to a copy (.clone()) instead",
                place.source, place.module_path);
  }

 private:
  Tracer& tracer_;
};

}  // namespace

ValueId Tracer::current_value(TracedTensorImpl& tensor) {
  if (tensor.capture_id() != capture_id_) {
    throw Error(ErrorCode::kInvalidArgument,
                "a tensor of a finished capture is used: the model kept it in an attribute. Clear "
                "that attribute before the model runs again");
  }
  if (tensor.version == tensor.base()->version) return tensor.value;
  TracedViews views(*this);
  const ValueId value = replay_chain(views, tensor.view().get(), tensor.base()->value);
  tensor.value = value;
  tensor.version = tensor.base()->version;
  return value;
}

void Tracer::write(TracedTensorImpl& tensor, ValueId part) {
  AliasBase& base = *tensor.base();
  TracedViews views(*this);
  const ValueId value = write_through(views, tensor.view().get(), base.value, part);
  if (!loops_.empty()) note_write_in_loops(tensor.base());
  if (!branches_.empty()) note_write_in_branches(*tensor.base());
  base.value = value;
  ++base.version;
  tensor.value = part;
  tensor.version = base.version;
  any_stand_in_written_ = any_stand_in_written_ || !stand_ins_.empty();
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

void Tracer::call_in_place(const OpInfo& op, torch::jit::Stack* stack) {
  if (op.handle.hasTag(at::Tag::inplace_view)) return call_in_place_view(op, stack);
  const size_t count = op.operands.size();
  const at::Tensor operand = (*stack)[stack->size() - count].toTensor();
  const at::Tensor target_tensor = TracedTensorImpl::of(operand) ? operand : stand_in(operand);
  TracedTensorImpl& target = *TracedTensorImpl::of(target_tensor);
  (*stack)[stack->size() - count] = target_tensor;

  std::vector<Argument> arguments = take_arguments(op, stack);
  const TensorType target_type = type(current_value(target));
  TracedViews views(*this);
  const auto stated = stated_write(views, op.name, arguments);
  const ValueId result = stated ? *stated : functional_result(op, std::move(arguments));
  write(target, conform(views, result, target_type));
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
  TracedViews views(*this);
  write(target, conform(views, result, type(target.value)));
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
    step->op = view.op->name;
    step->arguments = view.arguments;
    step->output = view.output;
    TracedViews views(*this);
    const ValueId value = views.replay(*step, current_value(*parent));
    at::Tensor traced(
        c10::make_intrusive<TracedTensorImpl>(*this, value, parent->base(), std::move(step)));
    return stand_ins_.emplace(impl, traced).first->second;
  }
  if (folded_storages_.contains(real.storage().unsafeGetStorageImpl())) {
    const auto weight = weight_by_identity_.find(storage_identity(real));
    if (weight != weight_by_identity_.end())
      written_too_late_.push_back(weights_[weight->second].target);
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
