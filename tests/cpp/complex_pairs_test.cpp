// Complex numbers as pairs, in the text form.
#include "passes/complex_pairs.h"

#include <gtest/gtest.h>

#include "ir/text.h"
#include "ir/verifier.h"

namespace portwright {
namespace {

Program parsed(const std::string& body) { return parse("program {\n" + body + "}\n"); }

TEST(ComplexPairs, ProductsAreOfRealAndImaginaryParts) {
  Program program = parsed(R"ir(
  input user %x "x" : f32[3, 2]
  %1 : c64[3] = aten.view_as_complex.default(%x)
  %2 : c64[3] = aten.mul.Tensor(%1, 2.0)
  %3 : f32[3, 2] = aten.view_as_real.default(%2)
  output user "y" %3
)ir");
  EXPECT_TRUE(has_complex_values(program));
  EXPECT_TRUE(complex_to_pairs(program));
  verify(program);
  EXPECT_FALSE(has_complex_values(program));
  EXPECT_FALSE(complex_to_pairs(program));
  const std::string text = print(program);
  EXPECT_NE(text.find("aten.select.int(%0, -1, 0)"), std::string::npos) << text;
  EXPECT_NE(text.find("aten.stack.default"), std::string::npos) << text;
}

TEST(ComplexPairs, DimsAreCountedFromTheFront) {
  Program program = parsed(R"ir(
  input user %x "x" : f32[3, 4, 2]
  %1 : c64[3, 4] = aten.view_as_complex.default(%x)
  %2 : c64[3, 4] = aten.flip.default(%1, ints [-1])
  %3 : c64[4, 3] = aten.permute.default(%2, ints [-1, 0])
  %4 : c64[12] = aten.view.default(%3, ints [12])
  %5 : f32[12, 2] = aten.view_as_real.default(%4)
  output user "y" %5
)ir");
  complex_to_pairs(program);
  verify(program);
  const std::string text = print(program);
  EXPECT_NE(text.find("aten.flip.default(%0, ints [1])"), std::string::npos) << text;
  EXPECT_NE(text.find("ints [1, 0, 2])"), std::string::npos) << text;
  EXPECT_NE(text.find("ints [12, 2])"), std::string::npos) << text;
}

TEST(ComplexPairs, ComplexInputsAndUnknownOperatorsAreRefused) {
  Program input = parsed(R"ir(
  input user %x "x" : c64[3]
  %1 : f32[3, 2] = aten.view_as_real.default(%x)
  output user "y" %1
)ir");
  EXPECT_THROW(complex_to_pairs(input), Error);
  Program unknown = parsed(R"ir(
  input user %x "x" : f32[3, 2]
  %1 : c64[3] = aten.view_as_complex.default(%x)
  %2 : c64[3] = aten.cumsum.default(%1, 0, None)
  %3 : f32[3, 2] = aten.view_as_real.default(%2)
  output user "y" %3
)ir");
  EXPECT_THROW(complex_to_pairs(unknown), Error);
}

}  // namespace
}  // namespace portwright
