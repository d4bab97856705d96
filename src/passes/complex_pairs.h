// Complex numbers as pairs of real ones, for formats that have none.
#pragma once

#include "ir/program.h"

namespace portwright {

bool has_complex_values(const Program& program);

// Needs: complex values inside the program only. Ensures: none are left. Each becomes a real tensor
// with a last dim of 2, real and imaginary parts, and Fourier transforms keep their names with
// operands and results in that form. Error(kUnsupported) for complex inputs and outputs and for
// operators that the table does not have.
//   %1 : c64[s0] = aten.view_as_complex.default(%x)
//   %2 : c64[s0] = aten.mul.Tensor(%1, %1)
//   %3 : f32[s0, 2] = aten.view_as_real.default(%2)
//     =>  %3 = aten.stack(real * real - imaginary * imaginary, 2 * real * imaginary)
bool complex_to_pairs(Program& program);

}  // namespace portwright
