#include "executorch/memory_check.h"

#include <algorithm>
#include <string>

#include "executorch/validator.h"

namespace portwright {
namespace {

constexpr const char* kView = "executorch_prim::et_view";

// From the instruction that writes a tensor to the last that reads it. -1 is before the first,
// where inputs and states are set; their number after the last, where outputs are taken.
struct Life {
  int64_t first = 0, last = 0;
  bool known = false;

  void add(int64_t at) {
    if (!known) *this = {at, at, true};
    first = std::min(first, at);
    last = std::max(last, at);
  }
};

// What is written in the middle of the other's life, or together with it, destroys it. An
// instruction may write where the last of what it reads lay.
bool collide(const Life& a, const Life& b) {
  if (a.first == b.first) return true;
  return a.first < b.first ? b.first < a.last : a.first < b.last;
}

class MemoryCheck {
 public:
  MemoryCheck(const PteMethod& method, Problems& problems)
      : method_(method),
        problems_(problems),
        owners_(method.values.size()),
        lives_(method.values.size()) {
    for (size_t i = 0; i < owners_.size(); ++i) owners_[i] = static_cast<PteId>(i);
  }

  void run() {
    find_views();
    find_lives();
    extend_over_loops();
    std::vector<Place> places;
    for (size_t i = 0; i < method_.values.size(); ++i) {
      const auto* tensor = std::get_if<PteTensor>(&method_.values[i]);
      if (tensor == nullptr || !tensor->allocation || !life(i).known) continue;
      const auto& [arena, offset] = *tensor->allocation;
      places.push_back({arena, offset, offset + byte_size(*tensor).value_or(0), i});
    }
    std::ranges::sort(places, {},
                      [](const Place& place) { return std::pair(place.arena, place.begin); });
    for (size_t i = 0; i < places.size(); ++i) check_place(places, i);
  }

 private:
  struct Place {
    uint32_t arena = 0;
    uint64_t begin = 0, end = 0;
    size_t value = 0;
  };

  Life& life(size_t value) { return lives_[owners_[value]]; }

  static const std::vector<PteId>* args_of(const PteInstruction& instruction) {
    if (const auto* call = std::get_if<PteKernelCall>(&instruction)) return &call->args;
    if (const auto* call = std::get_if<PteDelegateCall>(&instruction)) return &call->args;
    return nullptr;
  }

  // A view is the tensor that it is of.
  void find_views() {
    for (const PteInstruction& instruction : method_.instructions) {
      const auto* call = std::get_if<PteKernelCall>(&instruction);
      if (call == nullptr || call->args.empty() || method_.operators[call->op].name != kView) {
        continue;
      }
      owners_[call->args.back()] = owners_[call->args.front()];
    }
  }

  void add(PteId id, int64_t at) {
    if (id == kNoPteValue) return;
    const PteValue& value = method_.values[id];
    if (std::holds_alternative<PteTensor>(value)) {
      life(id).add(at);
    } else if (const auto* list = std::get_if<PteTensorList>(&value)) {
      for (PteId item : list->items) life(item).add(at);
    } else if (const auto* optional = std::get_if<PteOptionalTensorList>(&value)) {
      for (PteId item : optional->items) {
        if (item != kNoPteValue) life(item).add(at);
      }
    }
  }

  void find_lives() {
    const auto end = static_cast<int64_t>(method_.instructions.size());
    for (PteId id : method_.inputs) add(id, -1);
    for (int64_t at = 0; at < end; ++at) {
      const PteInstruction& instruction = method_.instructions[at];
      if (const auto* args = args_of(instruction)) {
        for (PteId id : *args) add(id, at);
      } else if (const auto* move = std::get_if<PteMoveCall>(&instruction)) {
        add(move->from, at);
        add(move->to, at);
      } else if (const auto* jump = std::get_if<PteJumpFalse>(&instruction)) {
        add(jump->condition, at);
      }
    }
    for (PteId id : method_.outputs) add(id, end);
    for (size_t i = 0; i < method_.values.size(); ++i) {
      const auto* tensor = std::get_if<PteTensor>(&method_.values[i]);
      if (tensor == nullptr || !tensor->allocation || !(tensor->data || tensor->is_state)) continue;
      add(static_cast<PteId>(i), -1);  // a state
      add(static_cast<PteId>(i), end);
    }
  }

  // What a loop reads of what is before it is needed in every round.
  void extend_over_loops() {
    for (auto at = static_cast<int64_t>(method_.instructions.size()); at-- > 0;) {
      const auto* jump = std::get_if<PteJumpFalse>(&method_.instructions[at]);
      if (jump == nullptr || jump->destination > at) continue;
      for (Life& life : lives_) {
        const bool enters = life.first < jump->destination && life.last >= jump->destination;
        if (life.known && enters) life.last = std::max(life.last, at);
      }
    }
  }

  void check_place(const std::vector<Place>& places, size_t index) {
    const Place& place = places[index];
    for (size_t i = index + 1; i < places.size(); ++i) {
      const Place& other = places[i];
      if (other.arena != place.arena || other.begin >= place.end) return;
      if (other.begin == other.end || owners_[place.value] == owners_[other.value]) continue;
      if (!collide(life(place.value), life(other.value))) continue;
      problems_.add("values " + std::to_string(place.value) + " and " +
                    std::to_string(other.value) + " share bytes of arena " +
                    std::to_string(place.arena) + " while both are needed");
    }
  }

  const PteMethod& method_;
  Problems& problems_;
  std::vector<PteId> owners_;  // by value: the tensor whose memory it is
  std::vector<Life> lives_;    // by owner
};

}  // namespace

void check_memory(const PteMethod& method, Problems& problems) {
  MemoryCheck(method, problems).run();
}

}  // namespace portwright
