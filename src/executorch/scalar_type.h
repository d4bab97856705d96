// The element types of the .pte format.
#pragma once

#include <program_generated.h>

#include <optional>

#include "ir/dtype.h"

namespace portwright {

// Error(kUnsupported) for those that the format has not: complex numbers.
executorch_flatbuffer::ScalarType scalar_type_of(DType dtype);
// None for those that Portwright has not: torch's quantised and bit types.
std::optional<DType> dtype_of(executorch_flatbuffer::ScalarType type);

}  // namespace portwright
