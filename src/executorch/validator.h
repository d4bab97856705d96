// Whether a .pte model is sound. ExecuTorch's own verification checks the structure of the file
// alone: with wrong indices or sizes its runtime reads what it should not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "executorch/pte_model.h"

namespace portwright {

// Error(kInternal) that lists every problem.
void validate(const PteModel& model);

// The problems, each with its place: "method 'forward', value 3: ..."; none of a sound model.
std::vector<std::string> problems_of(const PteModel& model);

// Bytes of the elements at the sizes (the bounds of a dynamic tensor); none when a size is negative
// or they exceed 64 bits.
std::optional<uint64_t> byte_size(const PteTensor& tensor);

// Whether the list has each of 0 to rank-1 once.
bool is_permutation(std::vector<uint8_t> order, size_t rank);

// At most a handful of lines, and how many more there are.
std::string summary(const std::vector<std::string>& problems);

}  // namespace portwright
