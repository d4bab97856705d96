// A fluent builder of small Programs, for tests.
//
//   ProgramBuilder b;
//   Expr batch = b.symbol("batch", {1, 64}, 2);
//   ValueId x = b.input("x", DType::kFloat32, {batch, 8});
//   ValueId w = b.parameter("linear.weight", DType::kFloat32, {4, 8});
//   ValueId y = b.op("aten.linear.default", {ValueRef{x}, ValueRef{w}, None{}}, DType::kFloat32,
//   {batch, 4}); Program p = b.output("y", y).build();
#pragma once

#include <string>
#include <vector>

#include "ir/program.h"

namespace portwright {

class ProgramBuilder {
 public:
  Expr symbol(const std::string& name, Interval range, int64_t hint);
  ValueId input(const std::string& name, DType dtype, std::vector<Expr> shape);
  // Bytes count up from 0 (as floats or ints), so that tests can tell elements apart.
  ValueId parameter(const std::string& target, DType dtype, std::vector<int64_t> shape);
  ValueId constant(const std::string& target, Weight weight);
  ValueId op(const std::string& name, std::vector<Argument> arguments, DType dtype,
             std::vector<Expr> shape);
  // Several results.
  std::vector<ValueId> ops(const std::string& name, std::vector<Argument> arguments,
                           std::vector<TensorType> results);
  // Provenance of the nodes that follow.
  ProgramBuilder& at(const std::string& module_path, SourceLine source);
  ProgramBuilder& output(const std::string& name, ValueId value);
  Program build();  // verified

 private:
  Program program_;
  Provenance provenance_;
};

}  // namespace portwright
