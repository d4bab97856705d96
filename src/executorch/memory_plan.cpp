#include "executorch/memory_plan.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

namespace portwright {
namespace {

constexpr uint64_t kAlignment = 16;
constexpr int kRounds = 8;              // in which what lies on top is placed first
constexpr size_t kMostImproved = 2000;  // requests; one round is enough time for more

uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool live_together(const MemoryRequest& a, const MemoryRequest& b) {
  return a.first <= b.last && b.first <= a.last;
}

struct Placed {
  uint64_t offset = 0, end = 0;
  size_t request = 0;
};

enum class Fit : uint8_t { kBest, kFirst };

// The start of a gap that takes `bytes` among blocks in the order of their offsets: the smallest
// such gap or the first.
uint64_t find_gap(std::span<const Placed> blocks, uint64_t bytes, Fit fit) {
  uint64_t end = 0;
  uint64_t best = 0, best_size = UINT64_MAX;
  for (const Placed& block : blocks) {
    if (block.offset > end && block.offset - end >= bytes && block.offset - end < best_size) {
      best = end;
      best_size = block.offset - end;
      if (fit == Fit::kFirst) break;
    }
    end = std::max(end, block.end);
  }
  return best_size == UINT64_MAX ? end : best;
}

MemoryPlan place(std::span<const MemoryRequest> requests, std::span<const size_t> order, Fit fit) {
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
    const uint64_t offset = find_gap(meanwhile, bytes, fit);
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

std::vector<size_t> sorted(std::span<const MemoryRequest> requests, Before before) {
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return before(requests[a], requests[b]); });
  return order;
}

// By instruction: the bytes that live then. No arena is smaller than the most.
std::vector<uint64_t> breadths(std::span<const MemoryRequest> requests) {
  uint32_t end = 0;
  for (const MemoryRequest& request : requests) end = std::max(end, request.last + 1);
  std::vector<uint64_t> found(end);
  for (const MemoryRequest& request : requests) {
    for (uint32_t at = request.first; at <= request.last; ++at) found[at] += aligned(request.bytes);
  }
  return found;
}

// Those of the instruction at which most bytes live first, the largest of them first, and so on.
std::vector<size_t> by_breadth(std::span<const MemoryRequest> requests,
                               std::span<const uint64_t> breadth) {
  std::vector<uint32_t> instructions(breadth.size());
  std::iota(instructions.begin(), instructions.end(), uint32_t{0});
  std::stable_sort(instructions.begin(), instructions.end(),
                   [&](uint32_t a, uint32_t b) { return breadth[a] > breadth[b]; });
  const std::vector<size_t> by_size = sorted(requests, larger);
  std::vector<size_t> order;
  std::vector<bool> taken(requests.size());
  for (uint32_t at : instructions) {
    if (order.size() == requests.size()) break;
    for (size_t i : by_size) {
      if (taken[i] || requests[i].first > at || requests[i].last < at) continue;
      taken[i] = true;
      order.push_back(i);
    }
  }
  return order;
}

MemoryPlan smaller_of(MemoryPlan a, MemoryPlan b) {
  return a.bytes <= b.bytes ? std::move(a) : std::move(b);
}

// The first request that ends where the arena does.
size_t top_of(std::span<const MemoryRequest> requests, const MemoryPlan& plan) {
  size_t top = 0;
  while (plan.offsets[top] + aligned(requests[top].bytes) < plan.bytes) ++top;
  return top;
}

void put_first(std::vector<size_t>& order, size_t item) {
  const auto found = std::find(order.begin(), order.end(), item);
  std::rotate(order.begin(), found, found + 1);
}

}  // namespace

MemoryPlan plan_memory(std::span<const MemoryRequest> requests) {
  if (requests.empty()) return {};
  const std::vector<uint64_t> breadth = breadths(requests);
  const uint64_t least = *std::max_element(breadth.begin(), breadth.end());
  const std::array<std::vector<size_t>, 4> orders = {
      sorted(requests, larger), by_breadth(requests, breadth), sorted(requests, longer),
      sorted(requests, earlier)};
  const int rounds = requests.size() <= kMostImproved ? kRounds : 1;
  MemoryPlan best;
  best.bytes = UINT64_MAX;
  for (std::vector<size_t> order : orders) {
    for (int round = 0; round < rounds && best.bytes > least; ++round) {
      MemoryPlan plan =
          smaller_of(place(requests, order, Fit::kBest), place(requests, order, Fit::kFirst));
      put_first(order, top_of(requests, plan));
      if (plan.bytes < best.bytes) best = std::move(plan);
    }
  }
  return best;
}

MemoryPlan plan_memory(std::span<const MemoryRequest> requests,
                       std::span<const std::optional<size_t>> replaced) {
  std::vector<size_t> first(requests.size());  // by request: the first at its place
  std::vector<MemoryRequest> joined(requests.begin(), requests.end());
  for (size_t i = 0; i < requests.size(); ++i) {
    first[i] = i;
    while (replaced[first[i]]) first[i] = *replaced[first[i]];
    if (first[i] == i) continue;
    MemoryRequest& whole = joined[first[i]];
    whole.bytes = std::max(whole.bytes, requests[i].bytes);
    whole.last = std::max(whole.last, requests[i].last);
    joined[i].bytes = 0;
  }
  MemoryPlan apart = plan_memory(requests), together = plan_memory(joined);
  if (apart.bytes < together.bytes) return apart;
  MemoryPlan plan{{}, together.bytes};
  for (size_t i : first) plan.offsets.push_back(together.offsets[i]);
  return plan;
}

}  // namespace portwright
