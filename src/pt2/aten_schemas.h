// aten.schemas, compiled in.
#pragma once

#include <string_view>

namespace portwright {

// One schema a line. Made from the data file by cmake/embed_text.cmake.
std::string_view aten_schemas();

}  // namespace portwright
