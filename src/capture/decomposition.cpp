// Operators that the backend has no lowering for are traced through functions made of others.
#include "capture/tracer.h"

namespace portwright {

bool Tracer::call_decomposed(const OpInfo& op, torch::jit::Stack* stack) {
  if (!decompose_) return false;
  switch (op.kind) {
    case OpKind::kRecord:
    case OpKind::kView: return decompose_(op.name, op.handle, stack);
    case OpKind::kInPlace: break;
    default: return false;
  }
  const OpInfo* form = states_what_it_writes(op.name) ? nullptr : catalog_.functional_form(op);
  if (form == nullptr) return false;
  const auto count = static_cast<int64_t>(op.operands.size());
  torch::jit::Stack operands(stack->end() - count, stack->end());
  const at::Tensor target = operands.front().toTensor();
  if (!decompose_(form->name, form->handle, &operands)) return false;
  target.copy_(operands.back().toTensor());
  stack->erase(stack->end() - count, stack->end());
  stack->emplace_back(target);
  return true;
}

}  // namespace portwright
