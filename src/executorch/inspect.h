// Reads what a .pte file says about itself, without loading weights.
#pragma once

#include <string>

namespace portwright {

// JSON: file_bytes, sizes (bytes of the program, constants, initial_states, delegates and
// named_data; what several have is counted once, at the first), methods: by name inputs and outputs
// (dtype, sizes, dynamic: then the sizes are bounds), instructions, kernels (calls by operator),
// delegated (by backend and operator, of those whose payload is known), arenas (bytes of planned
// memory). Errors of read_pte.
std::string inspect_pte(const std::string& path);

}  // namespace portwright
