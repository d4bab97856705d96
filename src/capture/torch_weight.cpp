#include "capture/torch_weight.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <pybind11/pybind11.h>

#include "base/error.h"
#include "capture/traced_tensor.h"

namespace portwright {
namespace {

// Module.to() gives a parameter other memory: what was captured keeps its own.
class TorchWeightSource final : public WeightSource {
 public:
  explicit TorchWeightSource(at::Tensor tensor)
      : tensor_(std::move(tensor)), storage_(tensor_.storage()) {}

  ~TorchWeightSource() override {
    if (Py_IsInitialized() == 0) return;
    pybind11::gil_scoped_acquire gil;
    tensor_.reset();
    storage_ = {};
  }

  std::span<const std::byte> bytes() const override {
    return {static_cast<const std::byte*>(storage_.data()), storage_.nbytes()};
  }

  // The module's own tensor, or another one of the same memory where it has other memory by now.
  at::Tensor tensor(const Weight& weight) const {
    if (tensor_.storage().unsafeGetStorageImpl() == storage_.unsafeGetStorageImpl()) return tensor_;
    const at::Tensor made = at::empty({0}, to_scalar_type(weight.dtype));
    return made.set_(storage_, weight.storage_offset, weight.shape, weight.strides);
  }

 private:
  at::Tensor tensor_;
  c10::Storage storage_;
};

}  // namespace

Weight torch_weight(const at::Tensor& tensor) {
  Weight weight;
  weight.source = std::make_shared<TorchWeightSource>(tensor);
  weight.dtype = to_dtype(tensor.scalar_type());
  weight.shape = tensor.sizes().vec();
  weight.strides = tensor.strides().vec();
  weight.storage_offset = tensor.storage_offset();
  return weight;
}

at::Tensor weight_tensor(const Weight& weight) {
  if (const auto* torch_source = dynamic_cast<const TorchWeightSource*>(weight.source.get())) {
    return torch_source->tensor(weight);
  }
  const std::byte* bytes = weight.source->bytes().data() +
                           weight.storage_offset * static_cast<int64_t>(element_size(weight.dtype));
  auto keep = weight.source;
  return at::from_blob(
      const_cast<std::byte*>(bytes), weight.shape, weight.strides, [keep](void*) {},
      at::TensorOptions().dtype(to_scalar_type(weight.dtype)));
}

std::string storage_identity(const at::Tensor& tensor) {
  std::string key;
  auto append = [&key](int64_t value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  append(reinterpret_cast<int64_t>(tensor.storage().unsafeGetStorageImpl()));
  append(tensor.storage_offset());
  append(static_cast<int64_t>(tensor.scalar_type()));
  for (int64_t size : tensor.sizes()) append(size);
  for (int64_t stride : tensor.strides()) append(stride);
  return key;
}

void require_plain_cpu(const at::Tensor& tensor) {
  if (tensor.layout() == c10::kStrided && tensor.device().is_cpu() && !tensor.is_quantized() &&
      !tensor.is_conj() && !tensor.is_neg()) {
    return;
  }
  throw Error(ErrorCode::kUnsupported,
              "the model holds a tensor on " + tensor.device().str() +
                  " that is not plain CPU memory: move the model with .to('cpu') and use dense, "
                  "unquantised weights");
}

}  // namespace portwright
