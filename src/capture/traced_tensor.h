// The tensor that model code sees while it is traced: dtype, symbolic sizes and strides, a value of
// the graph, and no storage. Reads as an ordinary CPU tensor; a kernel that asks for its data
// throws.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorImpl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "capture/op_catalog.h"
#include "ir/strides.h"
#include "ir/views.h"

namespace portwright {

class Tracer;

class TracedTensorImpl final : public c10::TensorImpl {
 public:
  TracedTensorImpl(Tracer& tracer, ValueId value, std::shared_ptr<AliasBase> base,
                   std::shared_ptr<const ViewStep> view);

  // The traced tensor behind `tensor`, or null.
  static TracedTensorImpl* of(const at::Tensor& tensor);

  uint64_t capture_id() const { return capture_id_; }
  const std::shared_ptr<AliasBase>& base() const { return base_; }
  const std::shared_ptr<const ViewStep>& view() const { return view_; }

  // The graph value that holds the tensor's elements as of `version`.
  ValueId value = kNoValue;
  uint64_t version = 0;

  c10::IntArrayRef sizes_custom() const override;
  c10::IntArrayRef strides_custom() const override;
  int64_t numel_custom() const override;
  int64_t dim_custom() const override;
  int64_t storage_offset_custom() const override { return 0; }
  c10::SymIntArrayRef sym_sizes_custom() const override;
  c10::SymIntArrayRef sym_strides_custom() const override;
  c10::SymInt sym_numel_custom() const override;
  c10::SymInt sym_storage_offset_custom() const override { return 0; }
  c10::SymBool sym_is_contiguous_custom(at::MemoryFormat format) const override;
  c10::SymBool sym_is_non_overlapping_and_dense_custom() const override { return true; }
  bool is_strides_like_custom(at::MemoryFormat) const override { return false; }
  c10::intrusive_ptr<c10::TensorImpl> shallow_copy_and_detach(const c10::VariableVersion&,
                                                              bool) const override;
  c10::intrusive_ptr<c10::TensorImpl> shallow_copy_and_detach(c10::VariableVersion&&,
                                                              bool) const override;
  // Another tensor of the same elements: shares base and views.
  c10::intrusive_ptr<c10::TensorImpl> alias() const;
  // Makes this tensor object what `other` is.
  void become(const TracedTensorImpl& other);
  const char* tensorimpl_type_name() const override { return "portwright::TracedTensorImpl"; }

 private:
  const TensorType& type() const;

  Tracer* tracer_;
  uint64_t capture_id_;
  std::shared_ptr<AliasBase> base_;
  std::shared_ptr<const ViewStep> view_;
  // Filled when asked for; torch keeps references into them.
  mutable std::vector<c10::SymInt> sym_sizes_, sym_strides_;
  mutable std::vector<int64_t> sizes_, strides_;
};

DType to_dtype(c10::ScalarType type);
c10::ScalarType to_scalar_type(DType dtype);

}  // namespace portwright
