// bfloat16 computed in float32, for runtimes without kernels for it.
#pragma once

#include "ir/program.h"

namespace portwright {

bool has_bfloat16_values(const Program& program);

// Needs: nothing. Ensures: operators other than casts have no bfloat16 operands and results:
// operands are cast to float32 and results rounded back, as torch's own kernels compute. Inputs,
// outputs and weights keep their dtype.
//   %1 : bf16[s0] = aten.exp.default(%x)
//     =>  %1 : f32[s0] = aten._to_copy.default(%x, dtype f32, ...)
//         %2 : f32[s0] = aten.exp.default(%1)
//         %3 : bf16[s0] = aten._to_copy.default(%2, dtype bf16, ...)
// Returns whether anything changed.
bool compute_bfloat16_in_float32(Program& program);

}  // namespace portwright
