// Places in one arena for tensors that live at different times.
//
// Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
// arXiv 2001.03288): the largest tensors first, each into the smallest gap between those that live
// at the same time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace portwright {

struct MemoryRequest {
  uint64_t bytes = 0;
  // The instructions between which it lives, both included.
  uint32_t first = 0, last = 0;
};

struct MemoryPlan {
  std::vector<uint64_t> offsets;  // by request; multiples of 16
  uint64_t bytes = 0;             // of the arena
};

// The smallest of the plans by several orders.
MemoryPlan plan_memory(std::span<const MemoryRequest> requests);

}  // namespace portwright
