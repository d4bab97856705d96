// Weights on their way into a file, each with its place there.
#pragma once

#include <cstdint>
#include <span>

#include "base/staged_file.h"
#include "ir/weight.h"

namespace portwright {

struct PlacedWeight {
  const Weight* weight = nullptr;
  uint64_t offset = 0;  // in the file
};

// Copies the weights' bytes to their places, straight from where they lie, on a few threads.
// Strided ones are gathered, one at a time.
void write_weights(std::span<const PlacedWeight> weights, const StagedFile& file);

}  // namespace portwright
