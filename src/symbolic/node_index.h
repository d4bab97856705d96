// The hash index behind hash-consing: open addressing over pointers, keyed by a ready-made hash.
#pragma once

#include <cstddef>
#include <vector>

namespace portwright {

template <typename Node>
class NodeIndex {
 public:
  // The node with this hash for which `equal(node)` holds, or null.
  template <typename Equal>
  const Node* find(size_t hash, Equal&& equal) const {
    if (slots_.empty()) return nullptr;
    for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[i];
      if (slot.node == nullptr) return nullptr;
      if (slot.hash == hash && equal(*slot.node)) return slot.node;
    }
  }

  // `node` must not be in the index yet.
  void insert(size_t hash, const Node* node) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    place({hash, node});
    ++count_;
  }

 private:
  struct Slot {
    size_t hash = 0;
    const Node* node = nullptr;
  };

  void place(Slot slot) {
    size_t i = slot.hash & (slots_.size() - 1);
    while (slots_[i].node != nullptr) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = slot;
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.node != nullptr) place(slot);
    }
  }

  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t count_ = 0;
};

}  // namespace portwright
