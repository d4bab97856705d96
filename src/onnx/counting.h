// Steps that lowerings of several families count and repeat with.
#pragma once

#include "onnx/lowering.h"

namespace portwright {

// How often each of 0 .. size - 1 is in the 1-D int64 tensor `places`; `size` is 1-D of one int64.
std::string count_into(Emitter& e, const std::string& places, const std::string& size, DType dtype);

// The number of the run that each element is in: lengths [2, 0, 1] give [0, 0, 2]. 1-D int64.
std::string run_numbers(Emitter& e, const std::string& lengths);

}  // namespace portwright
