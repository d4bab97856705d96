#include "executorch/memory_plan.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

namespace portwright {
namespace {

constexpr uint64_t kAlignment = 16;

uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool live_together(const MemoryRequest& a, const MemoryRequest& b) {
  return a.first <= b.last && b.first <= a.last;
}

struct Placed {
  uint64_t offset = 0, end = 0;
  size_t request = 0;
};

// The start of the smallest gap that takes `bytes` among blocks in the order of their offsets.
uint64_t best_gap(std::span<const Placed> blocks, uint64_t bytes) {
  uint64_t end = 0;
  uint64_t best = 0, best_size = UINT64_MAX;
  for (const Placed& block : blocks) {
    if (block.offset > end && block.offset - end >= bytes && block.offset - end < best_size) {
      best = end;
      best_size = block.offset - end;
    }
    end = std::max(end, block.end);
  }
  return best_size == UINT64_MAX ? end : best;
}

MemoryPlan place(std::span<const MemoryRequest> requests, std::span<const size_t> order) {
  MemoryPlan plan;
  plan.offsets.resize(requests.size());
  std::vector<Placed> placed;  // in the order of their offsets
  std::vector<Placed> meanwhile;
  for (size_t i : order) {
    const uint64_t bytes = aligned(requests[i].bytes);
    if (bytes == 0) continue;
    meanwhile.clear();
    std::copy_if(
        placed.begin(), placed.end(), std::back_inserter(meanwhile),
        [&](const Placed& other) { return live_together(requests[i], requests[other.request]); });
    const uint64_t offset = best_gap(meanwhile, bytes);
    plan.offsets[i] = offset;
    plan.bytes = std::max(plan.bytes, offset + bytes);
    const Placed block{offset, offset + bytes, i};
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), block,
                         [](const Placed& a, const Placed& b) { return a.offset < b.offset; }),
        block);
  }
  return plan;
}

using Before = bool (*)(const MemoryRequest& a, const MemoryRequest& b);

bool larger(const MemoryRequest& a, const MemoryRequest& b) { return a.bytes > b.bytes; }
bool longer(const MemoryRequest& a, const MemoryRequest& b) {
  const uint32_t a_span = a.last - a.first, b_span = b.last - b.first;
  return a_span != b_span ? a_span > b_span : a.bytes > b.bytes;
}
bool earlier(const MemoryRequest& a, const MemoryRequest& b) {
  return a.first != b.first ? a.first < b.first : a.bytes > b.bytes;
}

}  // namespace

MemoryPlan plan_memory(std::span<const MemoryRequest> requests) {
  static constexpr std::array<Before, 3> kOrders = {larger, longer, earlier};
  MemoryPlan best;
  best.bytes = UINT64_MAX;
  std::vector<size_t> order(requests.size());
  for (Before before : kOrders) {
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return before(requests[a], requests[b]); });
    MemoryPlan plan = place(requests, order);
    if (plan.bytes < best.bytes) best = std::move(plan);
  }
  return best;
}

}  // namespace portwright
