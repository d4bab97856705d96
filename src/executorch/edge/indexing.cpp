// Elements picked and placed by indices.
#include <array>

#include "executorch/edge/lowering.h"

namespace portwright {
namespace {

// Indices for index_put: None for the dims before.
ValueList along(int64_t dim, ValueId index) {
  ValueList indices(dim, kNoValue);
  indices.push_back(index);
  return indices;
}

// (x, dim, index, source, alpha)
void index_add(const EdgeCall& call) {
  ValueId source = call.tensor(3);
  if (call.number(4, 1) != 1) source = call.out.with_number("aten.mul.Scalar", source, call.arg(4));
  call.as("aten.index_put.default",
          {call.arg(0), along(call.dim(1), call.tensor(2)), ValueRef{source}, true});
}

// (x, dim, index, source)
void index_copy(const EdgeCall& call) {
  call.as("aten.index_put.default",
          {call.arg(0), along(call.dim(1), call.tensor(2)), call.arg(3), false});
}

void nonzero_numpy(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const auto& results = std::get<ValueList>(call.node.outputs.at(0));
  const Expr count = out.type(results.at(0)).shape.at(0);
  const auto rank = static_cast<int64_t>(call.type(0).rank());
  const ValueId places = out.kernel("aten.nonzero.default", {call.arg(0)},
                                    TensorType{DType::kInt64, {count, rank}, {}});
  for (int64_t i = 0; i < rank; ++i) {
    out.replace(results.at(i), out.add("aten.select.int", {ValueRef{places}, Expr(1), Expr(i)},
                                       TensorType{DType::kInt64, {count}, {}}));
  }
}

}  // namespace

std::span<const EdgeLowering> indexing_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.index_add.default", index_add},
      EdgeLowering{"aten.index_copy.default", index_copy},
      EdgeLowering{"aten.nonzero_numpy.default", nonzero_numpy},
  };
  return kRows;
}

}  // namespace portwright
