#include "onnx/spatial.h"

namespace portwright {

std::vector<int64_t> spatial(const Argument& argument, size_t dims) {
  std::vector<int64_t> values;
  for (const Expr& item : std::get<IntList>(argument)) values.push_back(constant_int(item));
  if (values.size() == 1) values.resize(dims, values[0]);
  return values;
}

std::vector<int64_t> both_ends(std::vector<int64_t> pads) {
  const size_t n = pads.size();
  for (size_t i = 0; i < n; ++i) pads.push_back(pads[i]);
  return pads;
}

Batched with_batch(const LoweringCall& call, size_t dims) {
  Emitter& e = call.emit;
  const std::string value = e.tensor(call.arg(0));
  const bool missing = call.type(0).rank() == dims + 1;
  return {missing ? e.unsqueeze(value, {0}) : value, missing};
}

void give_unbatched(const LoweringCall& call, const std::string& value, bool added) {
  call.give(added ? call.emit.squeeze(value, {0}) : value);
}

std::string product_along(Emitter& e, const std::string& value, size_t rank, size_t axis,
                          const std::string& weights) {
  if (axis + 1 == rank) return e.op("MatMul", {value, weights});
  std::vector<int64_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = static_cast<int64_t>(i);
  std::swap(order[axis], order.back());
  return e.transpose(e.op("MatMul", {e.transpose(value, order), weights}), order);
}

}  // namespace portwright
