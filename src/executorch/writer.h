// Writes a .pte file: the program as a flatbuffer, behind it the weights, streamed from where they
// lie.
#pragma once

#include <cstdint>
#include <string>

#include "executorch/pte_model.h"

namespace portwright {

struct PteFacts {
  uint64_t file_bytes = 0;
  uint64_t program_bytes = 0;   // methods, values and instructions
  uint64_t weight_bytes = 0;    // of constants, initial states and named data, each stored once
  uint64_t delegate_bytes = 0;  // what backends read, without the weights
};

// Writes `path`, aside first and renamed when it is whole: a failure leaves what was there before.
// Error(kInternal) when the model is not sound (executorch/validator.h), Error(kUnsupported) when
// it has what the format has not, Error(kIo) with the path and the system's reason.
PteFacts write_pte(const PteModel& model, const std::string& path);

// The file's bytes.
std::string serialize_pte(const PteModel& model);

}  // namespace portwright
