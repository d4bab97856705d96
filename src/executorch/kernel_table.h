// The text of kernels.table, compiled in.
#pragma once

#include <string_view>

namespace portwright {

std::string_view kernel_table();

}  // namespace portwright
