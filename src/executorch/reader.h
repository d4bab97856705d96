// Reads a .pte file back into a model.
#pragma once

#include <cstdint>
#include <string>

#include "executorch/pte_model.h"

namespace portwright {

struct PteFile {
  PteModel model;
  uint64_t file_bytes = 0;
  uint64_t program_bytes = 0;  // methods, values and instructions
};

// The weights stay in the file, which is mapped: those of constants and initial states with the
// dtype and sizes of the first tensor that has them, in the order of its dims; those that no tensor
// has, and named data, as bytes.
// Error(kIo) when the file cannot be read, Error(kCorrupt) when it is truncated, damaged or not
// sound (executorch/validator.h), Error(kUnsupported) when it has what PteModel has not: constants
// inside of the program or in other files, several chains, memory that is freed, unbounded sizes.
PteFile read_pte(const std::string& path);

}  // namespace portwright
