// Reads what a .pte file says about itself, without loading weights.
#pragma once

#include <string>

namespace portwright {

// JSON: file_bytes; sizes, the bytes of program, constants, initial_states, delegates and
// named_data (what two parts share is counted at the first); methods, by name: inputs and outputs
// (dtype, dims, shape: of "dynamic" ones dims are bounds, memory: "planned" or the "caller"'s),
// instructions, kernels (calls by operator), delegated (by backend how many delegates, and
// operators of those whose payload is known), arenas (bytes of planned memory); export (what the
// record of an export says, where there is one). Errors of read_pte.
std::string inspect_pte(const std::string& path);

}  // namespace portwright
