#include "executorch/data_layout.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

namespace portwright {
namespace {

// What two weights share when they are the same bytes: of contiguous ones the range of addresses,
// whatever they are called, of strided ones also how they are read.
using Identity =
    std::tuple<const std::byte*, uint64_t, std::vector<int64_t>, std::vector<int64_t>, DType>;

Identity identity(const Weight& weight) {
  if (weight.is_contiguous()) {
    return {weight.contiguous_bytes().data(), weight.byte_size(), {}, {}, DType::kUInt8};
  }
  const int64_t start = weight.storage_offset * static_cast<int64_t>(element_size(weight.dtype));
  return {weight.source->bytes().data() + start, weight.byte_size(), weight.shape, weight.strides,
          weight.dtype};
}

using Segment = PteDataLayout::Segment;

class Layouter {
 public:
  Layouter(const PteModel& model, PteDataLayout& layout) : model_(model), layout_(layout) {}

  void run() {
    place_constants();
    find_named_constants();
    place_states();
    place_payloads();
    place_named_data();
    layout_.bytes = end_;
  }

 private:
  struct Placed {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  uint64_t place(const Weight& weight) {
    const uint64_t offset = end_;
    layout_.weights.push_back({&weight, offset});
    layout_.weight_bytes += weight.byte_size();
    end_ += weight.byte_size();
    return offset;
  }

  uint32_t add_segment(uint64_t offset, uint64_t bytes) {
    layout_.segments.push_back({offset, bytes});
    return static_cast<uint32_t>(layout_.segments.size() - 1);
  }

  void start_segment() { end_ = aligned(end_, kPteSegmentAlignment); }

  // Places the weights one after the other, those of the same bytes once.
  std::vector<uint64_t> place_all(const std::vector<Weight>& weights, uint64_t start,
                                  std::map<Identity, uint64_t>& places) {
    std::vector<uint64_t> offsets;
    for (const Weight& weight : weights) {
      const auto [entry, added] = places.try_emplace(identity(weight));
      if (added) {
        end_ = aligned(end_, kPteTensorAlignment);
        entry->second = place(weight);
      }
      offsets.push_back(entry->second - start);
    }
    // The runtime takes a segment without bytes for one that is not there.
    if (!weights.empty() && end_ == start) end_ += kPteTensorAlignment;
    return offsets;
  }

  void place_constants() {
    layout_.constants = place_all(model_.constants, 0, constants_);
    add_segment(0, end_);
  }

  void find_named_constants() {
    layout_.named_data.assign(model_.named_data.size(), 0);
    std::map<std::pair<uint64_t, uint64_t>, std::vector<size_t>> found;  // in the order of offsets
    for (size_t i = 0; i < model_.named_data.size(); ++i) {
      const Weight& weight = model_.named_data[i].weight;
      const auto constant = constants_.find(identity(weight));
      if (constant == constants_.end()) continue;
      found[{constant->second, weight.byte_size()}].push_back(i);
    }
    for (const auto& [range, names] : found) {
      const uint32_t segment = add_segment(range.first, range.second);
      for (size_t name : names) layout_.named_data[name] = segment;
    }
  }

  void place_states() {
    if (model_.initial_states.empty()) return;
    start_segment();
    const uint64_t start = end_;
    std::map<Identity, uint64_t> places;
    layout_.states = place_all(model_.initial_states, start, places);
    layout_.state_segment = add_segment(start, end_ - start);
  }

  void place_payloads() {
    for (const PteMethod& method : model_.methods) {
      std::vector<uint32_t>& segments = layout_.delegates.emplace_back();
      for (const PteDelegate& delegate : method.delegates) {
        start_segment();
        layout_.payloads.push_back({&delegate.payload, end_});
        layout_.payload_bytes += delegate.payload.size();
        segments.push_back(add_segment(end_, delegate.payload.size()));
        end_ += delegate.payload.size();
      }
    }
  }

  void place_named_data() {
    std::map<Identity, uint32_t> segments;
    for (size_t i = 0; i < model_.named_data.size(); ++i) {
      if (layout_.named_data[i] != 0) continue;
      const Weight& weight = model_.named_data[i].weight;
      const auto [entry, added] = segments.try_emplace(identity(weight));
      if (added) {
        start_segment();
        const uint64_t offset = place(weight);
        entry->second = add_segment(offset, weight.byte_size());
      }
      layout_.named_data[i] = entry->second;
    }
  }

  const PteModel& model_;
  PteDataLayout& layout_;
  std::map<Identity, uint64_t> constants_;
  uint64_t end_ = 0;
};

}  // namespace

PteDataLayout PteDataLayout::of(const PteModel& model) {
  PteDataLayout layout;
  Layouter(model, layout).run();
  return layout;
}

}  // namespace portwright
