// The sizes of a program's inputs: read into its symbols, and checked against its conditions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/program.h"

namespace portwright {

// What is known of a tensor before a run.
struct GivenInput {
  DType dtype = DType::kFloat32;
  std::span<const int64_t> shape;
};

// The symbols' values for these user inputs; those that data decides have their hints.
// Error(kInvalidArgument) for another count, rank or dtype, Error(kGuardViolated) for sizes that
// the program was not captured for; both name the input and the dim, and the model's line.
std::vector<int64_t> check_inputs(const Program& program, std::span<const GivenInput> inputs);

}  // namespace portwright
