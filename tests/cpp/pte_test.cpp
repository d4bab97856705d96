// The .pte format: what is written, what is read again, and what is refused.
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "executorch/writer.h"

namespace portwright {
namespace {

Weight weight_of(std::vector<int64_t> shape, float first) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = first + static_cast<float>(i);
  const auto* raw = reinterpret_cast<const std::byte*>(values.data());
  return Weight::from_host(DType::kFloat32, std::move(shape), {raw, raw + values.size() * 4});
}

PteTensor vector_of(int32_t size) {
  PteTensor tensor;
  tensor.sizes = {size};
  tensor.dim_order = {0};
  return tensor;
}

// x + a constant, in arena 1.
PteModel addition() {
  PteModel model;
  model.constants = {weight_of({4}, 1)};
  PteTensor constant = vector_of(4);
  constant.data = 0;
  PteTensor sum = vector_of(4);
  sum.allocation = PteAllocation{1, 0};
  PteMethod method;
  method.values = {vector_of(4), constant, int64_t{1}, sum};
  method.inputs = {0};
  method.outputs = {3};
  method.operators = {{"aten::add", "out"}};
  method.instructions = {PteKernelCall{0, {0, 1, 2, 3, 3}}};
  method.arena_sizes = {0, 16};
  model.methods = {method};
  return model;
}

uint64_t number_at(const std::string& file, size_t offset) {
  uint64_t value = 0;
  std::memcpy(&value, file.data() + offset, sizeof(value));
  return value;
}

TEST(Pte, HeaderSaysWhereTheSegmentsAre) {
  const std::string file = serialize_pte(addition());
  EXPECT_EQ(file.substr(4, 8), "ET12eh00");
  const uint64_t segments = number_at(file, 24);
  EXPECT_EQ(segments % 128, 0U);
  EXPECT_LE(number_at(file, 16), segments);
  EXPECT_EQ(number_at(file, 32), 16U);
  EXPECT_EQ(file.size(), segments + 16);
  float first = 0;
  std::memcpy(&first, file.data() + segments, sizeof(first));
  EXPECT_EQ(first, 1.0F);
}

TEST(Pte, SameBytesAreStoredOnce) {
  PteModel model = addition();
  const uint64_t one = serialize_pte(model).size();
  Weight renamed = model.constants[0];
  renamed.shape = {2, 2};
  renamed.strides = {2, 1};
  model.constants.push_back(renamed);
  model.named_data = {{"a", renamed}, {"b", model.constants[0]}};
  EXPECT_LT(serialize_pte(model).size(), one + 300);  // tables, no segments
  model.named_data.push_back({"c", weight_of({4}, 1)});
  model.named_data.push_back({"d", model.named_data.back().weight});
  const std::string file = serialize_pte(model);
  EXPECT_EQ(file.size(), number_at(file, 24) + 128 + 16);  // equal bytes elsewhere are others
}

TEST(Pte, StridedWeightsAreGathered) {
  PteModel model = addition();
  Weight matrix = weight_of({2, 2}, 1);
  matrix.strides = {1, 2};
  model.constants[0] = matrix;
  const std::string file = serialize_pte(model);
  float values[4];
  std::memcpy(values, file.data() + number_at(file, 24), sizeof(values));
  EXPECT_EQ((std::vector<float>(values, values + 4)), (std::vector<float>{1, 3, 2, 4}));
}

TEST(Pte, ComplexNumbersAreRefused) {
  PteModel model = addition();
  std::get<PteTensor>(model.methods[0].values[0]).dtype = DType::kComplex64;
  EXPECT_THROW(serialize_pte(model), Error);
}

}  // namespace
}  // namespace portwright
