#include "passes/complex_pairs.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "passes/pair_writer.h"

namespace portwright {
namespace {

using Rewrite = void (*)(ComplexCall& call);

// The real view of a complex tensor is the pair itself.
void same(ComplexCall& call) { call.out.give("aten.alias.default", {call.arg(0)}, call.result()); }

void unchanged(ComplexCall& call) { call.out.keep(std::move(call.node)); }

// Counts a dim from the front, because there is one more at the end.
Expr from_front(const Expr& dim, size_t rank) {
  if (!dim.is_constant() || dim.constant() >= 0) return dim;
  return dim + Expr(static_cast<int64_t>(rank));
}

// Operators with dims at an argument; kMore for those whose result has a dim more.
template <size_t kAt, size_t kMore = 0>
void along_dims(ComplexCall& call) {
  bool any = false;
  size_t rank = 0;
  for_each_value(call.arg(0), [&](ValueId id) {
    if (!any) rank = call.out.rank(id) + kMore;
    any = true;
  });
  Argument& argument = call.node.arguments.at(kAt);
  if (auto* dim = std::get_if<Expr>(&argument)) {
    *dim = from_front(*dim, rank);
  } else if (auto* dims = std::get_if<IntList>(&argument)) {
    for (Expr& dim : *dims) dim = from_front(dim, rank);
  }
  unchanged(call);
}

void transposed(ComplexCall& call) {
  const size_t rank = call.out.rank(call.operand(0));
  for (size_t i : {1, 2}) {
    auto& dim = std::get<Expr>(call.node.arguments.at(i));
    dim = from_front(dim, rank);
  }
  unchanged(call);
}

void permuted(ComplexCall& call) {
  const size_t rank = call.out.rank(call.operand(0));
  auto& dims = std::get<IntList>(call.node.arguments.at(1));
  for (Expr& dim : dims) dim = from_front(dim, rank);
  dims.emplace_back(static_cast<int64_t>(rank));
  unchanged(call);
}

// Operators with a list of sizes (or of repeats) at argument 1, one for each dim.
template <int64_t kForPair>
void sized(ComplexCall& call) {
  std::get<IntList>(call.node.arguments.at(1)).emplace_back(kForPair);
  unchanged(call);
}

void cast(ComplexCall& call) {
  for (Argument& argument : call.node.arguments) {
    if (auto* dtype = std::get_if<DType>(&argument)) *dtype = part_dtype(*dtype);
  }
  if (call.is_complex(0) == call.out.is_complex(call.result())) return unchanged(call);
  if (call.is_complex(0)) {  // to a real type: the real part
    call.node.arguments[0] = ValueRef{call.out.part(call.operand(0), 0)};
    return unchanged(call);
  }
  const TensorType type = call.out.part_type(call.result());
  const ValueId pair = call.result();
  const ValueId real = call.out.add(call.node.op, call.node.arguments, type);
  const ValueId zeros = call.out.add("aten.mul.Tensor", {ValueRef{real}, 0.0}, type);
  call.out.give_pair(real, zeros, pair);
}

// Real and imaginary parts of an operand; a real one has no imaginary part.
struct Parts {
  Argument real;
  std::optional<ValueId> imaginary;
};

Parts parts_of(ComplexCall& call, size_t i) {
  if (!call.is_complex(i)) return {call.arg(i), std::nullopt};
  const ValueId pair = call.operand(i);
  return {ValueRef{call.out.part(pair, 0)}, call.out.part(pair, 1)};
}

// Operators that are linear in each of two operands (products): (a + bi)(c + di).
void bilinear(ComplexCall& call) {
  PairWriter& out = call.out;
  const TensorType type = out.part_type(call.result());
  const Parts a = parts_of(call, 0);
  const Parts b = parts_of(call, 1);
  auto times = [&](const Argument& x, const Argument& y) {
    std::vector<Argument> arguments = call.node.arguments;
    arguments[0] = x;
    arguments[1] = y;
    return out.add(call.node.op, std::move(arguments), type);
  };
  auto combined = [&](const char* op, ValueId x, ValueId y) {
    return out.add(op, {ValueRef{x}, ValueRef{y}, Expr(1)}, type);
  };
  ValueId real = times(a.real, b.real);
  if (a.imaginary && b.imaginary) {
    real = combined("aten.sub.Tensor", real, times(ValueRef{*a.imaginary}, ValueRef{*b.imaginary}));
    const ValueId one = times(a.real, ValueRef{*b.imaginary});
    const ValueId other = times(ValueRef{*a.imaginary}, b.real);
    return out.give_pair(real, combined("aten.add.Tensor", one, other), call.result());
  }
  const ValueId imaginary =
      a.imaginary ? times(ValueRef{*a.imaginary}, b.real) : times(a.real, ValueRef{*b.imaginary});
  out.give_pair(real, imaginary, call.result());
}

// Sums and differences of two complex tensors, quotients by a real one.
void both_complex(ComplexCall& call) {
  if (call.is_complex(0) && call.is_complex(1)) return unchanged(call);
  throw Error(ErrorCode::kUnsupported, "complex and real numbers in " + call.node.op);
}

void divided(ComplexCall& call) {
  if (call.is_complex(1)) throw Error(ErrorCode::kUnsupported, "a division by complex numbers");
  const Parts a = parts_of(call, 0);
  const TensorType type = call.out.part_type(call.result());
  auto quotient = [&](const Argument& x) {
    return call.out.add(call.node.op, {x, call.arg(1)}, type);
  };
  const ValueId real = quotient(a.real);
  call.out.give_pair(real, quotient(ValueRef{*a.imaginary}), call.result());
}

template <int64_t kWhich>
void one_part(ComplexCall& call) {
  call.out.give("aten.select.int", {call.arg(0), Expr(-1), Expr(kWhich)}, call.result());
}

void conjugate(ComplexCall& call) {
  PairWriter& out = call.out;
  const TensorType type = out.part_type(call.result());
  const ValueId real = out.part(call.operand(0), 0);
  const ValueId imaginary = out.part(call.operand(0), 1);
  out.give_pair(real, out.add("aten.neg.default", {ValueRef{imaginary}}, type), call.result());
}

void absolute(ComplexCall& call) {
  const TensorType type = call.out.type(call.result());
  call.out.give("aten.linalg_vector_norm.default",
                {call.arg(0), 2.0, IntList{-1}, false, type.dtype}, call.result());
}

void angle(ComplexCall& call) {
  const ValueId real = call.out.part(call.operand(0), 0);
  const ValueId imaginary = call.out.part(call.operand(0), 1);
  call.out.give("aten.atan2.default", {ValueRef{imaginary}, ValueRef{real}}, call.result());
}

void give_polar(ComplexCall& call, const Argument& length, const Argument& direction) {
  const TensorType type = call.out.part_type(call.result());
  auto component = [&](const char* op) {
    const ValueId unit = call.out.add(op, {direction}, type);
    return call.out.add("aten.mul.Tensor", {length, ValueRef{unit}}, type);
  };
  const ValueId real = component("aten.cos.default");
  call.out.give_pair(real, component("aten.sin.default"), call.result());
}

void polar(ComplexCall& call) { give_polar(call, call.arg(0), call.arg(1)); }

void exponential(ComplexCall& call) {
  const TensorType type = call.out.part_type(call.result());
  const Parts parts = parts_of(call, 0);
  const ValueId length = call.out.add("aten.exp.default", {parts.real}, type);
  give_polar(call, ValueRef{length}, ValueRef{*parts.imaginary});
}

void made_of_parts(ComplexCall& call) {
  call.out.give_pair(call.operand(0), call.operand(1), call.result());
}

const std::unordered_map<std::string_view, Rewrite>& rewrites() {
  static const std::unordered_map<std::string_view, Rewrite> kRows = {
      {"aten.view_as_real.default", same},
      {"aten.view_as_complex.default", same},
      {"aten.clone.default", unchanged},
      {"aten.alias.default", unchanged},
      {"aten.contiguous.default", unchanged},
      {"aten.resolve_conj.default", unchanged},
      {"aten.resolve_neg.default", unchanged},
      {"aten.neg.default", unchanged},
      {"aten.index.Tensor", unchanged},
      {"aten._to_copy.default", cast},
      {"aten.unsqueeze.default", along_dims<1, 1>},
      {"aten.stack.default", along_dims<1, 1>},
      {"aten.slice.Tensor", along_dims<1>},
      {"aten.select.int", along_dims<1>},
      {"aten.squeeze.dim", along_dims<1>},
      {"aten.squeeze.dims", along_dims<1>},
      {"aten.cat.default", along_dims<1>},
      {"aten.flip.default", along_dims<1>},
      {"aten.index_select.default", along_dims<1>},
      {"aten.unbind.int", along_dims<1>},
      {"aten.split.Tensor", along_dims<2>},
      {"aten.split_with_sizes.default", along_dims<2>},
      {"aten.chunk.default", along_dims<2>},
      {"aten.sum.dim_IntList", along_dims<1>},
      {"aten.mean.dim", along_dims<1>},
      {"aten._fft_c2c.default", along_dims<1>},
      {"aten._fft_r2c.default", along_dims<1>},
      {"aten._fft_c2r.default", along_dims<1>},
      {"aten.transpose.int", transposed},
      {"aten.permute.default", permuted},
      {"aten.view.default", sized<2>},
      {"aten.reshape.default", sized<2>},
      {"aten._unsafe_view.default", sized<2>},
      {"aten.expand.default", sized<2>},
      {"aten.repeat.default", sized<1>},
      {"aten.mul.Tensor", bilinear},
      {"aten.mul.Scalar", bilinear},
      {"aten.matmul.default", bilinear},
      {"aten.mm.default", bilinear},
      {"aten.bmm.default", bilinear},
      {"aten.add.Tensor", both_complex},
      {"aten.sub.Tensor", both_complex},
      {"aten.div.Tensor", divided},
      {"aten.div.Scalar", divided},
      {"aten.real.default", one_part<0>},
      {"aten.imag.default", one_part<1>},
      {"aten._conj.default", conjugate},
      {"aten._conj_physical.default", conjugate},
      {"aten.conj_physical.default", conjugate},
      {"aten.abs.default", absolute},
      {"aten.angle.default", angle},
      {"aten.polar.default", polar},
      {"aten.exp.default", exponential},
      {"aten.complex.default", made_of_parts},
  };
  return kRows;
}

bool touches_complex(const PairWriter& out, const Node& node) {
  bool found = false;
  for (const Argument& argument : node.arguments) found = found || out.is_complex(argument);
  for_each_output(node, [&](ValueId id) { found = found || out.is_complex(id); });
  return found;
}

Weight as_pairs(Weight weight) {
  weight.dtype = part_dtype(weight.dtype);
  for (int64_t& stride : weight.strides) stride *= 2;
  weight.storage_offset *= 2;
  weight.shape.push_back(2);
  weight.strides.push_back(1);
  return weight;
}

void check_border(const Program& program) {
  for (size_t i : program.user_inputs()) {
    if (!is_complex(program.graph.type(program.graph.inputs[i]).dtype)) continue;
    throw Error(ErrorCode::kUnsupported, "the input '" + program.inputs[i].target +
                                             "' is complex: take real and imaginary parts as two");
  }
  for (size_t i = 0; i < program.graph.outputs.size(); ++i) {
    if (!is_complex(program.graph.type(program.graph.outputs[i]).dtype)) continue;
    throw Error(ErrorCode::kUnsupported, "the output '" + program.outputs[i].target +
                                             "' is complex: return torch.view_as_real of it");
  }
}

}  // namespace

bool has_complex_values(const Program& program) {
  return std::any_of(program.graph.values.begin(), program.graph.values.end(),
                     [](const Value& value) { return is_complex(value.type.dtype); });
}

bool complex_to_pairs(Program& program) {
  if (!has_complex_values(program)) return false;
  check_border(program);
  PairWriter out(program.graph);
  for (InputSpec& spec : program.inputs) {
    if (spec.weight && is_complex(spec.weight->dtype)) spec.weight = as_pairs(*spec.weight);
  }
  std::vector<Node> nodes = std::move(program.graph.nodes);
  for (Node& node : nodes) {
    out.begin(node);
    if (!touches_complex(out, node)) {
      out.keep(std::move(node));
      continue;
    }
    const auto found = rewrites().find(node.op);
    if (found == rewrites().end()) {
      throw Error(ErrorCode::kUnsupported, node.op + " of complex numbers", program.source(node),
                  program.module_path(node));
    }
    ComplexCall call{out, std::move(node)};
    found->second(call);
  }
  program.graph.nodes = out.take();
  return true;
}

}  // namespace portwright
