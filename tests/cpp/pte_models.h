// Small .pte models for the tests of their writer, reader and validator.
#pragma once

#include <xnnpack_generated.h>

#include <cmath>
#include <cstring>
#include <string>

#include "executorch/pte_model.h"

namespace portwright {

inline Weight weight_of(std::vector<int64_t> shape, float first) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = first + static_cast<float>(i);
  const auto* raw = reinterpret_cast<const std::byte*>(values.data());
  return Weight::from_host(DType::kFloat32, std::move(shape), {raw, raw + values.size() * 4});
}

inline PteTensor tensor_of(std::vector<int32_t> sizes) {
  PteTensor tensor;
  for (size_t i = 0; i < sizes.size(); ++i) tensor.dim_order.push_back(static_cast<uint8_t>(i));
  tensor.sizes = std::move(sizes);
  return tensor;
}

// x + a constant, in arena 1.
inline PteModel addition() {
  PteModel model;
  model.constants = {weight_of({4}, 1)};
  PteTensor constant = tensor_of({4});
  constant.data = 0;
  PteTensor sum = tensor_of({4});
  sum.allocation = PteAllocation{1, 0};
  PteMethod method;
  method.values = {tensor_of({4}), constant, int64_t{1}, sum};
  method.inputs = {0};
  method.outputs = {3};
  method.operators = {{"aten::add", "out"}};
  method.instructions = {PteKernelCall{0, {0, 1, 2, 3, 3}}};
  method.arena_sizes = {0, 16};
  model.methods = {method};
  return model;
}

// What a test changes of an XNNPACK payload for y[2, 3] = linear(x[2, 4], w) + b.
struct PayloadChanges {
  uint32_t filter_id = 1;
  uint32_t read = 3;                    // by the addition: what the linear layer writes
  uint32_t written = 4;                 // by the addition
  uint32_t external = 1;                // argument of the output
  uint32_t flags = 2;                   // of the output
  uint64_t bytes = 48;                  // of the filter
  std::string key = "w";                // of the filter
  std::vector<uint32_t> dims = {2, 4};  // of the input
};

inline std::string payload_of(const PayloadChanges& changes = {}) {
  namespace fb = fb_xnnpack;
  flatbuffers::FlatBufferBuilder out;
  std::vector<flatbuffers::Offset<fb::XValue>> values;
  auto add = [&](std::vector<uint32_t> dims, uint32_t constant, uint32_t external, uint32_t flags) {
    const auto tensor = fb::CreateXNNTensorValueDirect(
        out, fb::XNNDatatype::xnn_datatype_fp32, static_cast<uint32_t>(dims.size()), &dims,
        constant, external, flags, static_cast<uint32_t>(values.size()));
    values.push_back(fb::CreateXValue(out, fb::XValueUnion::XNNTensorValue, tensor.Union()));
  };
  add(changes.dims, 0, 0, 1);
  add({3, 4}, 1, UINT32_MAX, 0);
  add({3}, 2, UINT32_MAX, 0);
  add({2, 3}, 0, UINT32_MAX, 0);
  add({2, 3}, 0, changes.external, changes.flags);
  const auto linear =
      fb::CreateXNNFullyConnected(out, 0, changes.filter_id, UINT32_MAX, 3, 0).Union();
  const auto sum = fb::Create_XNNNode2x1(out, changes.read, 2, changes.written, 0).Union();
  std::vector<flatbuffers::Offset<fb::XNode>> nodes{
      fb::CreateXNode(out, fb::XNodeUnion::XNNFullyConnected, linear),
      fb::CreateXNode(out, fb::XNodeUnion::XNNAdd, sum)};
  std::vector<flatbuffers::Offset<fb::ConstantDataOffset>> constants{
      fb::CreateConstantDataOffsetDirect(out, 0, 0, ""),
      fb::CreateConstantDataOffsetDirect(out, UINT64_MAX, changes.bytes, changes.key.c_str()),
      fb::CreateConstantDataOffsetDirect(out, UINT64_MAX, 12, "b")};
  const std::vector<uint32_t> inputs{0}, outputs{4};
  fb::FinishXNNGraphBuffer(
      out, fb::CreateXNNGraphDirect(out, "0", &nodes, &values, 2, &inputs, &outputs, &constants));
  const uint32_t size = out.GetSize(), start = 32, end = start + (size + 15) / 16 * 16;
  std::string payload(end, '\0');
  auto put = [&](size_t at, auto number) {
    std::memcpy(payload.data() + at, &number, sizeof(number));
  };
  std::memcpy(payload.data() + 4, "XH00", 4);
  put(8, uint16_t{30});
  put(10, start);
  put(14, size);
  put(18, end);
  std::memcpy(payload.data() + start, out.GetBufferPointer(), size);
  return payload;
}

// x * w of an embedding's weight in a delegate, its weight a constant, too; a state; values of
// every kind; a condition.
inline PteModel everything() {
  PteModel model;
  const Weight tied = weight_of({3, 4}, 1);
  model.constants = {tied, weight_of({2, 3}, 7)};
  model.initial_states = {weight_of({3}, 3)};
  model.named_data = {{"w", tied}, {"b", weight_of({3}, 0)}};
  PteTensor constant = tensor_of({3, 4}), transposed = tensor_of({3, 2}), state = tensor_of({3});
  constant.data = 0;
  transposed.data = 1;
  transposed.dim_order = {1, 0};
  state.data = 0;
  state.allocation = PteAllocation{2, 0};
  PteTensor hidden = tensor_of({2, 3});
  hidden.dynamic = true;
  hidden.allocation = PteAllocation{1, 16};
  PteMethod method;
  method.values = {tensor_of({2, 4}),
                   hidden,
                   constant,
                   transposed,
                   state,
                   None{},
                   true,
                   int64_t{-5},
                   0.5,
                   std::string("sum"),
                   PteIntList{{7, 7}},
                   FloatList{1.5, -2},
                   BoolList{true, false},
                   PteTensorList{{0, 1}},
                   PteOptionalTensorList{{1, kNoPteValue, 5}}};
  method.inputs = {0, 7};
  method.outputs = {1};
  method.operators = {{"aten::add_", "Tensor"}, {"aten::copy_", ""}};
  method.instructions = {PteDelegateCall{0, {0, 1}}, PteJumpFalse{6, 4},
                         PteKernelCall{0, {4, 4, 7, 4}}, PteMoveCall{1, 1},
                         PteKernelCall{1, {4, 4, 6, 4}}};
  method.delegates = {{"XnnpackBackend", payload_of(), {{"key", "value"}}},
                      {"OtherBackend", "opaque", {}}};
  method.arena_sizes = {0, 64, 12};
  PteMethod number;
  number.name = "get_number";
  number.values = {int64_t{42}};
  number.outputs = {0};
  model.methods = {method, number};
  return model;
}

}  // namespace portwright
