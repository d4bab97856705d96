// What follows the program in a .pte file: segments of constants, initial states, delegates'
// payloads and named data, and where each lies.
#pragma once

#include <cstdint>
#include <vector>

#include "executorch/pte_model.h"
#include "ir/placed_weights.h"

namespace portwright {

inline constexpr uint64_t kPteSegmentAlignment = 128;
inline constexpr uint64_t kPteTensorAlignment = 16;

inline uint64_t aligned(uint64_t offset, uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

// All offsets count from the end of the program; those of constants and states from the start of
// their segment.
struct PteDataLayout {
  struct Segment {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };
  struct Payload {
    const std::string* bytes = nullptr;
    uint64_t offset = 0;
  };

  // Weights that are the same bytes are stored once. Named data that kernels read, too, is a range
  // of the constants: a segment that overlaps segment 0.
  static PteDataLayout of(const PteModel& model);

  std::vector<Segment> segments;  // in the order of their offsets; the first has the constants
  std::vector<uint64_t> constants;
  std::vector<uint64_t> states;
  uint32_t state_segment = 0;                    // when there are states
  std::vector<std::vector<uint32_t>> delegates;  // segments, by method and delegate
  std::vector<uint32_t> named_data;              // segments
  std::vector<PlacedWeight> weights;             // each once
  std::vector<Payload> payloads;
  uint64_t bytes = 0;
  uint64_t weight_bytes = 0;
  uint64_t payload_bytes = 0;
};

}  // namespace portwright
