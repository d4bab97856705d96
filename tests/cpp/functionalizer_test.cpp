// In-place operators made functional, without torch: graphs as torch.export traces them.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "ir/text.h"
#include "ir/verifier.h"
#include "pt2/functionalizer.h"
#include "pt2/in_place.h"

namespace portwright {
namespace {

class Functionalize : public ::testing::Test {
 protected:
  ValueId input(const std::string& name, std::vector<Expr> shape) {
    const ValueId id = program_.graph.add_value({DType::kFloat32, std::move(shape), {}}, name);
    program_.graph.inputs.push_back(id);
    program_.inputs.push_back({InputKind::kUserInput, name, true, {}});
    return id;
  }
  ValueId op(const std::string& name, std::vector<Argument> arguments, TensorType type) {
    const ValueId result = program_.graph.add_value(std::move(type));
    views_.add_node({name, std::move(arguments), {result}, {}, {}}, *schemas_.find(name));
    return result;
  }
  ValueId op(const std::string& name, std::vector<Argument> arguments, std::vector<Expr> shape) {
    return op(name, std::move(arguments), TensorType{DType::kFloat32, std::move(shape), {}});
  }
  void write(const std::string& name, std::vector<Argument> arguments) {
    views_.write(name, {functional_name(name).value(), std::move(arguments), {}, {}, {}});
  }
  // The nodes of the program that gives what these tensors are now.
  std::string text(const std::vector<ValueId>& tensors) {
    for (ValueId tensor : tensors) {
      program_.graph.outputs.push_back(views_.current(tensor));
      program_.outputs.push_back(
          {OutputKind::kUserOutput, "out" + std::to_string(program_.outputs.size())});
    }
    verify(program_);
    return print(program_);
  }
  std::string refusal(const std::function<void()>& act) {
    try {
      act();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      return error.what();
    }
    return "";
  }

  Program program_;
  SchemaTable schemas_;
  Functionalizer views_{program_, program_.graph};
};

// Each of `parts` in `text`, one after the other.
void expect_in_order(const std::string& text, const std::vector<std::string>& parts) {
  size_t at = 0;
  for (const std::string& part : parts) {
    at = text.find(part, at);
    ASSERT_NE(at, std::string::npos) << part << " is not where it belongs in\n" << text;
    at += part.size();
  }
}

TEST_F(Functionalize, AWriteToAViewReachesItsBaseAndOtherViews) {
  const ValueId x = input("x", {4, 6});
  const ValueId y = op("aten.neg.default", {ValueRef{x}}, {4, 6});
  const ValueId turned = op("aten.t.default", {ValueRef{y}}, {6, 4});
  const ValueId row = op("aten.select.int", {ValueRef{y}, Expr(0), Expr(1)}, {6});
  write("aten.mul_.Scalar", {ValueRef{row}, Expr(2)});
  const std::string program = text({y, turned, row});
  expect_in_order(
      program,
      {"%0 : f32[4, 6] = aten.neg.default(%x)", "%1 : f32[6, 4] = aten.t.default(%0)",
       "%2 : f32[6] = aten.select.int(%0, 0, 1)", "%3 : f32[6] = aten.mul.Scalar(%2, 2)",
       "%4 : f32[4, 6] = aten.select_scatter.default(%0, %3, 0, 1)",
       "%5 : f32[6, 4] = aten.t.default(%4)", "\"out0\" %4", "\"out1\" %5", "\"out2\" %3"});
  EXPECT_TRUE(views_.writes().empty());
}

TEST_F(Functionalize, AnInputIsWrittenThroughAChainOfViews) {
  const ValueId x = input("x", {4, 6});
  const ValueId flat = op("aten.view.default", {ValueRef{x}, IntList{24}}, {24});
  const ValueId part =
      op("aten.slice.Tensor", {ValueRef{flat}, Expr(0), Expr(2), Expr(9), Expr(1)}, {7});
  write("aten.zero_.default", {ValueRef{part}});
  expect_in_order(
      text({part, x}),
      {"%2 : f32[7] = aten.full_like.default(%1, 0", "%3 : f32[24] = aten.view.default(%x",
       "%4 : f32[24] = aten.slice_scatter.default(%3, %2, 0, 2, 9, 1)",
       "%5 : f32[4, 6] = aten.reshape.default(%4, ints [4, 6])", "\"out0\" %2", "\"out1\" %5"});
  EXPECT_EQ(views_.writes(), (std::vector<std::pair<ValueId, ValueId>>{{x, views_.current(x)}}));
}

TEST_F(Functionalize, WhatIsWrittenIsCastAndBroadcast) {
  const ValueId x = input("x", {4, 6});
  const ValueId y = op("aten.neg.default", {ValueRef{x}}, {4, 6});
  const ValueId wide =
      op("aten.zeros_like.default", {ValueRef{x}, DType::kFloat64, None{}, None{}, None{}, None{}},
         {DType::kFloat64, {6}, {}});
  write("aten.add_.Tensor", {ValueRef{y}, ValueRef{wide}, Expr(1)});
  write("aten.copy_.default", {ValueRef{y}, ValueRef{wide}, false});
  write("aten.gt_.Scalar", {ValueRef{y}, Expr(0)});
  const std::string program = text({y});
  expect_in_order(program, {"%2 : f64[4, 6] = aten.add.Tensor(%0, %1, 1)",
                            "%3 : f32[4, 6] = aten._to_copy.default(%2, dtype f32",
                            "%4 : f32[6] = aten._to_copy.default(%1, dtype f32",
                            "%5 : f32[4, 6] = aten.expand.default(%4, ints [4, 6], False)",
                            "%6 : bool[4, 6] = aten.gt.Scalar(%5, 0)",
                            "%7 : f32[4, 6] = aten._to_copy.default(%6, dtype f32", "\"out0\" %7"});
}

TEST_F(Functionalize, TheLayoutSaysWhatIsAViewAndWhatACopy) {
  const ValueId x = input("x", {4, 6});
  const ValueId y = op("aten.neg.default", {ValueRef{x}}, {4, 6});
  const ValueId turned =
      op("aten.t.default", {ValueRef{y}},
         TensorType{DType::kFloat32, {6, 4}, std::vector<Expr>{Expr(1), Expr(6)}});
  const ValueId copy = op("aten.reshape.default", {ValueRef{turned}, IntList{24}}, {24});
  const ValueId view = op("aten.reshape.default", {ValueRef{y}, IntList{24}}, {24});
  const ValueId same =
      op("aten.contiguous.default", {ValueRef{y}, MemoryFormat{"contiguous_format"}}, {4, 6});
  const size_t nodes = program_.graph.nodes.size();
  write("aten.zero_.default", {ValueRef{copy}});
  EXPECT_EQ(program_.graph.nodes.size(), nodes + 1) << "nothing shares the copy's memory";
  EXPECT_EQ(views_.current(y), y);
  write("aten.zero_.default", {ValueRef{view}});
  EXPECT_NE(views_.current(y), y);
  EXPECT_EQ(views_.current(same), views_.current(y));
}

TEST_F(Functionalize, WritesThatCannotBeFollowedAreRefused) {
  const ValueId x = input("x", {4, 6});
  const ValueId wide = op("aten.expand.default", {ValueRef{x}, IntList{2, 4, 6}, false}, {2, 4, 6});
  EXPECT_NE(refusal([&] { write("aten.zero_.default", {ValueRef{wide}}); }).find("aten.expand"),
            std::string::npos);
  const ValueId bits =
      op("aten.view.dtype", {ValueRef{x}, DType::kInt32}, TensorType{DType::kInt32, {4, 6}, {}});
  EXPECT_NE(refusal([&] { write("aten.zero_.default", {ValueRef{bits}}); }).find("view.dtype"),
            std::string::npos);
  const ValueId strided =
      op("aten.as_strided.default", {ValueRef{x}, IntList{2}, IntList{3}, Expr(1)}, {2});
  write("aten.zero_.default", {ValueRef{strided}});
  EXPECT_NE(refusal([&] { views_.become(x, strided); }).find("shape of an input"),
            std::string::npos);
  op("aten.atleast_1d.default", {ValueRef{x}}, {4, 6});
  EXPECT_NE(refusal([&] { write("aten.zero_.default", {ValueRef{x}}); }).find("aten.atleast_1d"),
            std::string::npos);
}

TEST(InPlace, EveryNameHasAFunctionalFormOnATensor) {
  SchemaTable schemas;
  for (const char* op :
       {"aten.add_.Tensor", "aten.pow_.Scalar", "aten.pow_.Tensor", "aten.float_power_.Scalar",
        "aten.floor_divide_.Tensor", "aten.__ior__.Tensor", "aten.__ilshift__.Scalar",
        "aten.transpose_.default", "aten.normal_.default", "aten.bernoulli_.float",
        "aten.index_put_.default", "aten.masked_fill_.Scalar", "aten.dropout_.default"}) {
    const auto name = functional_name(op);
    ASSERT_TRUE(name.has_value()) << op;
    const Schema* schema = schemas.find(*name);
    ASSERT_NE(schema, nullptr) << *name;
    EXPECT_EQ(schema->arguments.at(0).type, "Tensor") << op;
    EXPECT_EQ(schema->returns, std::vector<std::string>{"Tensor"}) << op;
  }
  EXPECT_FALSE(functional_name("aten.__and__.Tensor"));
  EXPECT_FALSE(functional_name("aten.add.Tensor"));
}

}  // namespace
}  // namespace portwright
