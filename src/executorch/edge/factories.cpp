// Tensors that are made: all of one number, or counted up; and numbers that are read out of
// tensors.
#include <array>

#include "executorch/edge/lowering.h"
#include "ir/data_symbols.h"

namespace portwright {
namespace {

void filled(const EdgeCall& call, Argument number) {
  const TensorType& type = call.result();
  if (type.dtype == DType::kBool && std::holds_alternative<Expr>(number))
    number = !std::get<Expr>(number).is_constant(0);
  if (is_floating_point(type.dtype) && std::holds_alternative<Expr>(number) &&
      std::get<Expr>(number).is_constant())
    number = static_cast<double>(std::get<Expr>(number).constant());
  call.kernel("aten.full.default",
              {IntList(type.shape), std::move(number), type.dtype, None{}, None{}, None{}});
}

void zeros(const EdgeCall& call) { filled(call, Expr(0)); }
void ones(const EdgeCall& call) { filled(call, Expr(1)); }
void full(const EdgeCall& call) { filled(call, call.arg(1)); }
void new_full(const EdgeCall& call) { filled(call, call.arg(2)); }

void arange(const EdgeCall& call) {
  call.kernel("aten.arange.start_step",
              {Expr(0), call.arg(0), Expr(1), call.result().dtype, None{}, None{}, None{}});
}

void arange_from(const EdgeCall& call) {
  call.kernel("aten.arange.start_step",
              {call.arg(0), call.arg(1), Expr(1), call.result().dtype, None{}, None{}, None{}});
}

// The runtime has arithmetic on ints and floats only, not on the bool that a bool tensor holds.
void bind_item(const EdgeCall& call) {
  const ValueId from = call.tensor(0);
  const bool is_bool = call.out.type(from).dtype == DType::kBool;
  call.out.kernel(call.node.op,
                  {ValueRef{is_bool ? call.out.cast(from, DType::kInt64) : from}, call.arg(1)},
                  std::vector<Output>{});
}

}  // namespace

std::span<const EdgeLowering> factory_edges() {
  static const std::array kRows = {
      EdgeLowering{"aten.zeros.default", zeros},
      EdgeLowering{"aten.zeros_like.default", zeros},
      EdgeLowering{"aten.new_zeros.default", zeros},
      EdgeLowering{"aten.empty.memory_format", zeros},
      EdgeLowering{"aten.empty_like.default", zeros},
      EdgeLowering{"aten.new_empty.default", zeros},
      EdgeLowering{"aten.ones.default", ones},
      EdgeLowering{"aten.ones_like.default", ones},
      EdgeLowering{"aten.new_ones.default", ones},
      EdgeLowering{"aten.full.default", full},
      EdgeLowering{"aten.full_like.default", full},
      EdgeLowering{"aten.new_full.default", new_full},
      EdgeLowering{"aten.arange.default", arange},
      EdgeLowering{"aten.arange.start", arange_from},
      EdgeLowering{kBindItem, bind_item},
  };
  return kRows;
}

}  // namespace portwright
