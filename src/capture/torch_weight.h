// Weights that stay in their torch storage.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "ir/weight.h"

namespace portwright {

// A reference to the tensor's storage; nothing is copied. The storage lives as long as the weight;
// the interpreter lock is taken when it is let go.
Weight torch_weight(const at::Tensor& tensor);

// The tensor behind a weight that torch_weight() made; a view of the weight's bytes otherwise.
at::Tensor weight_tensor(const Weight& weight);

// A key that is equal for tensors which are the same view of the same storage.
std::string storage_identity(const at::Tensor& tensor);

// Error(kUnsupported) for a tensor that is not dense CPU memory (meta, sparse, quantised, other
// devices).
void require_plain_cpu(const at::Tensor& tensor);

}  // namespace portwright
