// Composites as the operators that XNNPACK takes, and what stays outside of it as operators of its
// own.
#pragma once

#include "ir/program.h"

namespace portwright {

// Needs a program that the standard passes and fusions have been over; what a rewritten node no
// longer needs is gone after it. Idempotent.
//   %1 = aten.scaled_dot_product_attention.default(%q, %k, %v, %mask, 0.0, False, None, False)
// becomes products, a sum with an additive mask and a softmax. Bool masks become additive ones
// before, once for all attentions that use them. Keys and values of grouped heads are not repeated.
void prepare_program_for_xnnpack(Program& program);

}  // namespace portwright
