// Symbols from data: nodes that bind them, and operators whose result has a size that data decides.
#include "ir/data_symbols.h"

#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// (tensor of one integer or bool, symbol).
void bind_item(const LoweringCall& call) {
  if (is_floating_point(call.type(0).dtype)) {
    throw Error(ErrorCode::kUnsupported, "a float that is read out of a tensor");
  }
  Emitter& e = call.emit;
  const std::string item = e.cast(e.tensor(call.arg(0)), call.type(0).dtype, DType::kInt64);
  e.bind_symbol(bound_symbol(call.node), e.op("Reshape", {item, e.ints({1})}));
}

// (tensor, dim, symbol).
void bind_size(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t dim = constant_int(call.arg(1));
  e.bind_symbol(bound_symbol(call.node),
                e.op("Shape", {e.tensor(call.arg(0))}, {{"start", dim}, {"end", dim + 1}}));
}

std::string indices_of_true(const LoweringCall& call) {  // [rank, count]
  Emitter& e = call.emit;
  return e.op("NonZero", {e.cast(e.tensor(call.arg(0)), call.type(0).dtype, DType::kBool)});
}

void nonzero(const LoweringCall& call) {
  call.give(call.emit.transpose(indices_of_true(call), {1, 0}));
}

void nonzero_numpy(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string indices = indices_of_true(call);
  std::vector<std::string> parts;
  for (size_t i = 0; i < call.type(0).rank(); ++i) {
    const std::string at = e.scalar(static_cast<double>(i), DType::kInt64);
    parts.push_back(e.op("Gather", {indices, at}, {{"axis", int64_t{0}}}));
  }
  call.give_list(parts);
}

// Both operands broadcast to one shape, then the true positions of the flat tensors.
void masked_select(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string x = e.tensor(call.arg(0));
  const std::string mask = e.tensor(call.arg(1));
  const std::string wide_x = e.op("Expand", {x, e.op("Shape", {mask})});
  const std::string wide_mask = e.op("Expand", {mask, e.op("Shape", {x})});
  call.give(e.op("Compress", {wide_x, e.op("Reshape", {wide_mask, e.ints({-1})})}));
}

}  // namespace

std::span<const Lowering> data_symbol_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"portwright.bind_item.default", bind_item},
      Lowering{"portwright.bind_size.default", bind_size},
      Lowering{"aten.nonzero.default", nonzero},
      Lowering{"aten.nonzero_numpy.default", nonzero_numpy},
      Lowering{"aten.masked_select.default", masked_select},
  };
  return kRows;
}

}  // namespace portwright
