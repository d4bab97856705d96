// Element types by PyTorch's names: "float32", "bool", "float8_e4m3fn".
#pragma once

#include <optional>
#include <string_view>

#include "ir/dtype.h"

namespace portwright {

std::string_view torch_name(DType dtype);
std::optional<DType> dtype_of_torch_name(std::string_view name);

}  // namespace portwright
