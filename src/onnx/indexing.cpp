// Reading by index.
#include <algorithm>
#include <array>

#include "onnx/index_list.h"

namespace portwright {
namespace {

// embedding(weight, indices, ...).
void embedding(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("Gather", {e.tensor(call.arg(0)), e.tensor(call.arg(1))}, {{"axis", int64_t{0}}}));
}

void index_select(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  call.give(e.op("Gather", {e.tensor(call.arg(0)), e.tensor(call.arg(2))}, {{"axis", axis}}));
}

void gather(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  call.give(
      e.op("GatherElements", {e.tensor(call.arg(0)), e.tensor(call.arg(2))}, {{"axis", axis}}));
}

// index(self, indices): the indexed dims come first, are gathered, and the dims that they become
// move to where numpy has them.
void index(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto& given = std::get<ValueList>(call.arg(1));
  const auto one =
      std::find_if(given.begin(), given.end(), [](ValueId id) { return id != kNoValue; });
  const bool alone =
      std::count(given.begin(), given.end(), kNoValue) + 1 == static_cast<int64_t>(given.size());
  const std::string self = e.tensor(call.arg(0));
  if (alone && e.type(*one).dtype != DType::kBool) {
    const std::string index = e.cast(e.value(*one), e.type(*one).dtype, DType::kInt64);
    return call.give(e.op("Gather", {self, index}, {{"axis", int64_t{one - given.begin()}}}));
  }
  const IndexList list = index_list(call);
  const std::string front = reordered(e, self, list.to_front(call.type(0).rank()));
  const std::string taken = e.op("GatherND", {front, list.places});
  call.give(reordered(e, taken, list.to_position(call.result().rank())));
}

template <bool kUpper>
void triangle(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("Trilu", {e.tensor(call.arg(0)), e.scalar_int(std::get<Expr>(call.arg(1)))},
                 {{"upper", int64_t{kUpper}}}));
}

// one_hot(self, num_classes) with a known number of classes.
void one_hot(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string values = e.ints({0, 1});
  call.give(e.op("OneHot", {e.tensor(call.arg(0)), e.dim(std::get<Expr>(call.arg(1))), values},
                 {{"axis", int64_t{-1}}}));
}

}  // namespace

std::span<const Lowering> indexing_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.embedding.default", embedding},
      Lowering{"aten.index_select.default", index_select},
      Lowering{"aten.gather.default", gather},
      Lowering{"aten.index.Tensor", index},
      Lowering{"aten.tril.default", triangle<false>},
      Lowering{"aten.triu.default", triangle<true>},
      Lowering{"aten.one_hot.default", one_hot},
  };
  return kRows;
}

}  // namespace portwright
