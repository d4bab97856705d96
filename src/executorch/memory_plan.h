// Places in one arena for tensors that live at different times.
//
// Greedy by size and by breadth (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural
// Net Inference", arXiv 2001.03288): the largest tensors first, or those of the instruction at
// which most bytes live, each into a gap between those that live at the same time.
#pragma once

#include <cstdint>
#include <optional>
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

// The smallest of the plans by several orders and ways to choose the gap, each improved a few
// times: what lies on top is placed first.
MemoryPlan plan_memory(std::span<const MemoryRequest> requests);

// The same where some may take others' places: replaced[i] is a request that ends at the
// instruction at which i begins, each at most once. Never larger than the plan without.
MemoryPlan plan_memory(std::span<const MemoryRequest> requests,
                       std::span<const std::optional<size_t>> replaced);

}  // namespace portwright
