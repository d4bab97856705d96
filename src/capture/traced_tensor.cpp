#include "capture/traced_tensor.h"

#include "capture/sym_node.h"
#include "capture/tracer.h"

namespace portwright {

DType to_dtype(c10::ScalarType type) { return static_cast<DType>(static_cast<int8_t>(type)); }
c10::ScalarType to_scalar_type(DType dtype) {
  return static_cast<c10::ScalarType>(static_cast<int8_t>(dtype));
}

TracedTensorImpl::TracedTensorImpl(Tracer& tracer, ValueId value_id,
                                   std::shared_ptr<AliasBase> base,
                                   std::shared_ptr<const ViewStep> view)
    : TensorImpl(c10::DispatchKeySet(c10::DispatchKey::CPU),
                 c10::scalarTypeToTypeMeta(to_scalar_type(tracer.type(value_id).dtype)),
                 c10::Device(c10::kCPU)),
      value(value_id),
      version(base->version),
      tracer_(&tracer),
      capture_id_(tracer.capture_id()),
      base_(std::move(base)),
      view_(std::move(view)) {
  set_custom_sizes_strides(SizesStridesPolicy::CustomSizes);
  set_storage_access_should_throw();
}

TracedTensorImpl* TracedTensorImpl::of(const at::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  return dynamic_cast<TracedTensorImpl*>(tensor.unsafeGetTensorImpl());
}

const TensorType& TracedTensorImpl::type() const {
  if (Tracer::active() != tracer_ || tracer_->capture_id() != capture_id_) {
    throw Error(ErrorCode::kInvalidArgument,
                "a tensor of a finished capture is used: the model kept it in an attribute. Clear "
                "that attribute before the model runs again");
  }
  return tracer_->type(value);
}

c10::SymIntArrayRef TracedTensorImpl::sym_sizes_custom() const {
  const TensorType& current = type();
  if (sym_sizes_.empty()) {
    sym_sizes_.reserve(current.shape.size());
    for (const Expr& size : current.shape) {
      sym_sizes_.push_back(to_sym_int(size, tracer_->symbols_ptr()));
    }
  }
  return sym_sizes_;
}

c10::SymIntArrayRef TracedTensorImpl::sym_strides_custom() const {
  if (sym_strides_.empty()) {
    for (const Expr& stride : strides_of(type())) {
      sym_strides_.push_back(to_sym_int(stride, tracer_->symbols_ptr()));
    }
  }
  return sym_strides_;
}

c10::SymInt TracedTensorImpl::sym_numel_custom() const {
  return to_sym_int(product(type().shape), tracer_->symbols_ptr());
}

c10::IntArrayRef TracedTensorImpl::sizes_custom() const {
  sizes_.clear();
  for (const c10::SymInt& size : sym_sizes_custom()) {
    sizes_.push_back(size.guard_int(__FILE__, __LINE__));
  }
  return sizes_;
}

c10::IntArrayRef TracedTensorImpl::strides_custom() const {
  strides_.clear();
  for (const c10::SymInt& stride : sym_strides_custom()) {
    strides_.push_back(stride.guard_int(__FILE__, __LINE__));
  }
  return strides_;
}

int64_t TracedTensorImpl::numel_custom() const {
  return sym_numel_custom().guard_int(__FILE__, __LINE__);
}

int64_t TracedTensorImpl::dim_custom() const { return static_cast<int64_t>(type().shape.size()); }

c10::SymBool TracedTensorImpl::sym_is_contiguous_custom(at::MemoryFormat format) const {
  return format == at::MemoryFormat::Contiguous && !type().strides;
}

c10::intrusive_ptr<c10::TensorImpl> TracedTensorImpl::shallow_copy_and_detach(
    const c10::VariableVersion&, bool) const {
  return alias();
}

c10::intrusive_ptr<c10::TensorImpl> TracedTensorImpl::shallow_copy_and_detach(
    c10::VariableVersion&&, bool) const {
  return alias();
}

c10::intrusive_ptr<c10::TensorImpl> TracedTensorImpl::alias() const {
  auto copy = c10::make_intrusive<TracedTensorImpl>(*tracer_, value, base_, view_);
  copy->version = version;
  return copy;
}

void TracedTensorImpl::become(const TracedTensorImpl& other) {
  value = other.value;
  version = other.version;
  base_ = other.base_;
  view_ = other.view_;
  sym_sizes_.clear();
  sym_strides_.clear();
}

}  // namespace portwright
