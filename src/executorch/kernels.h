// The kernels that ExecuTorch's runtime registers, and which ATen operators they are the out
// variants of. Made by scripts/executorch_kernels.py from an executorch release.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "executorch/pte_model.h"

namespace portwright {

enum class OperandKind : uint8_t { kTensor, kTensorList, kOptionalTensorList, kFloat, kOther };

// An operand of a kernel: which operand of the functional operator it is.
struct KernelOperand {
  OperandKind kind = OperandKind::kOther;
  size_t place = 0;
};

struct Kernel {
  PteOperator op;
  std::vector<KernelOperand> operands;
  size_t outs = 1;
  bool outs_are_list = false;  // one operand that is a list of tensors

  std::string name() const { return op.name + "." + op.overload; }
};

// The kernel of "aten.add.Tensor" (aten::add.out); null when the runtime has none.
const Kernel* find_kernel(std::string_view op);

// The executorch release that the table is of.
std::string_view kernel_table_version();

// All operators with a kernel.
std::vector<std::string> kernel_operators();

}  // namespace portwright
