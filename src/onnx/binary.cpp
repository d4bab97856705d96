// Elementwise arithmetic of two and three operands.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// A bool result of arithmetic does not exist in ONNX: bools are computed as int64.
DType compute_dtype(const LoweringCall& call) {
  return call.result().dtype == DType::kBool ? DType::kInt64 : call.result().dtype;
}

void give_computed(const LoweringCall& call, const std::string& value) {
  call.give(call.emit.cast(value, compute_dtype(call), call.result().dtype));
}

bool is_one(const Argument& argument) { return constant_number(argument) == 1.0; }

// self + alpha * other, and the reverse for rsub.
void add_or_sub(const LoweringCall& call, const char* type, bool reverse) {
  Emitter& e = call.emit;
  const DType dtype = compute_dtype(call);
  const std::string self = e.tensor(call.arg(0), dtype);
  std::string other = e.tensor(call.arg(1), dtype);
  const bool scaled = call.has(2) && !is_one(call.arg(2));
  if (reverse) {
    const std::string right = scaled ? e.op("Mul", {self, e.tensor(call.arg(2), dtype)}) : self;
    return give_computed(call, e.op(type, {other, right}));
  }
  if (scaled) other = e.op("Mul", {other, e.tensor(call.arg(2), dtype)});
  give_computed(call, e.op(type, {self, other}));
}

void add(const LoweringCall& call) {
  if (call.result().dtype == DType::kBool) {
    Emitter& e = call.emit;
    return call.give(
        e.op("Or", {e.tensor(call.arg(0), DType::kBool), e.tensor(call.arg(1), DType::kBool)}));
  }
  add_or_sub(call, "Add", false);
}

void sub(const LoweringCall& call) { add_or_sub(call, "Sub", false); }
void rsub(const LoweringCall& call) { add_or_sub(call, "Sub", true); }

std::string both(const LoweringCall& call, const char* type, DType dtype) {
  Emitter& e = call.emit;
  return e.op(type, {e.tensor(call.arg(0), dtype), e.tensor(call.arg(1), dtype)});
}

void mul(const LoweringCall& call) {
  if (call.result().dtype == DType::kBool) return call.give(both(call, "And", DType::kBool));
  call.give(both(call, "Mul", call.result().dtype));
}

void div(const LoweringCall& call) { call.give(both(call, "Div", call.result().dtype)); }

// ONNX's integer Div truncates; Mod takes the divisor's sign, as Python's %.
std::string floor_quotient(const LoweringCall& call, DType dtype) {
  Emitter& e = call.emit;
  const std::string a = e.tensor(call.arg(0), dtype);
  const std::string b = e.tensor(call.arg(1), dtype);
  if (is_floating_point(dtype)) return e.op("Floor", {e.op("Div", {a, b})});
  return e.op("Div", {e.op("Sub", {a, e.op("Mod", {a, b})}), b});
}

void floor_divide(const LoweringCall& call) {
  call.give(floor_quotient(call, call.result().dtype));
}

void div_mode(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto* mode = std::get_if<std::string>(&call.arg(2));
  if (mode == nullptr) return div(call);
  if (*mode == "floor") return floor_divide(call);
  const DType dtype = call.result().dtype;
  const std::string quotient = both(call, "Div", dtype);
  if (!is_floating_point(dtype)) return call.give(quotient);
  call.give(e.op("Mul", {e.op("Sign", {quotient}), e.op("Floor", {e.op("Abs", {quotient})})}));
}

void remainder(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string a = e.tensor(call.arg(0), dtype);
  const std::string b = e.tensor(call.arg(1), dtype);
  if (!is_floating_point(dtype)) return call.give(e.op("Mod", {a, b}));
  const std::string quotient = e.op("Floor", {e.op("Div", {a, b})});
  call.give(e.op("Sub", {a, e.op("Mul", {quotient, b})}));
}

void fmod(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  call.give(e.op("Mod", {e.tensor(call.arg(0), dtype), e.tensor(call.arg(1), dtype)},
                 {{"fmod", int64_t{1}}}));
}

void pow(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string base = e.tensor(call.arg(0), dtype);
  const auto exponent = constant_number(call.arg(1));
  if (exponent == 1.0) return call.give(base);
  if (exponent == 2.0) return call.give(e.op("Mul", {base, base}));
  if (exponent == 3.0) return call.give(e.op("Mul", {e.op("Mul", {base, base}), base}));
  if (exponent == 0.5) return call.give(e.op("Sqrt", {base}));
  if (exponent == -0.5) return call.give(e.op("Reciprocal", {e.op("Sqrt", {base})}));
  call.give(e.op("Pow", {base, e.tensor(call.arg(1), dtype)}));
}

template <bool kMax>
void extremum(const LoweringCall& call) {
  give_computed(call, both(call, kMax ? "Max" : "Min", compute_dtype(call)));
}

void atan2(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string y = e.tensor(call.arg(0), dtype);
  const std::string x = e.tensor(call.arg(1), dtype);
  const std::string zero = e.scalar(0, dtype);
  const std::string pi = e.scalar(3.14159265358979323846, dtype);
  const std::string half_pi = e.scalar(1.57079632679489661923, dtype);
  const std::string base = e.op("Atan", {e.op("Div", {y, x})});
  const std::string turned =
      e.op("Where", {e.op("Less", {y, zero}), e.op("Sub", {base, pi}), e.op("Add", {base, pi})});
  const std::string off_axis = e.op("Where", {e.op("Less", {x, zero}), turned, base});
  const std::string on_axis = e.op("Mul", {e.op("Sign", {y}), half_pi});
  call.give(e.op("Where", {e.op("Equal", {x, zero}), on_axis, off_axis}));
}

// clamp(self, min, max), clamp_min(self, min), clamp_max(self, max).
void clamp(const LoweringCall& call, const Argument& low, const Argument& high) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  std::string value = e.tensor(call.arg(0), dtype);
  if (!is_none(low)) value = e.op("Max", {value, e.tensor(low, dtype)});
  if (!is_none(high)) value = e.op("Min", {value, e.tensor(high, dtype)});
  call.give(value);
}

void clamp_both(const LoweringCall& call) { clamp(call, call.arg(1), call.arg(2)); }
void clamp_min(const LoweringCall& call) { clamp(call, call.arg(1), None{}); }
void clamp_max(const LoweringCall& call) { clamp(call, None{}, call.arg(1)); }

// self + value * a * b (addcmul) or a / b (addcdiv).
template <bool kMultiply>
void addc(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  std::string term =
      e.op(kMultiply ? "Mul" : "Div", {e.tensor(call.arg(1), dtype), e.tensor(call.arg(2), dtype)});
  if (!is_one(call.arg(3))) term = e.op("Mul", {term, e.tensor(call.arg(3), dtype)});
  call.give(e.op("Add", {e.tensor(call.arg(0), dtype), term}));
}

void lerp(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string start = e.tensor(call.arg(0), dtype);
  const std::string span = e.op("Sub", {e.tensor(call.arg(1), dtype), start});
  call.give(e.op("Add", {start, e.op("Mul", {span, e.tensor(call.arg(2), dtype)})}));
}

}  // namespace

std::span<const Lowering> binary_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.add.Tensor", add},
      Lowering{"aten.add.Scalar", add},
      Lowering{"aten.sub.Tensor", sub},
      Lowering{"aten.sub.Scalar", sub},
      Lowering{"aten.rsub.Scalar", rsub},
      Lowering{"aten.rsub.Tensor", rsub},
      Lowering{"aten.mul.Tensor", mul},
      Lowering{"aten.mul.Scalar", mul},
      Lowering{"aten.div.Tensor", div},
      Lowering{"aten.div.Scalar", div},
      Lowering{"aten.div.Tensor_mode", div_mode},
      Lowering{"aten.div.Scalar_mode", div_mode},
      Lowering{"aten.floor_divide.default", floor_divide},
      Lowering{"aten.floor_divide.Scalar", floor_divide},
      Lowering{"aten.remainder.Tensor", remainder},
      Lowering{"aten.remainder.Scalar", remainder},
      Lowering{"aten.fmod.Tensor", fmod},
      Lowering{"aten.fmod.Scalar", fmod},
      Lowering{"aten.pow.Tensor_Scalar", pow},
      Lowering{"aten.pow.Tensor_Tensor", pow},
      Lowering{"aten.pow.Scalar", pow},
      Lowering{"aten.maximum.default", extremum<true>},
      Lowering{"aten.minimum.default", extremum<false>},
      Lowering{"aten.max.other", extremum<true>},
      Lowering{"aten.min.other", extremum<false>},
      Lowering{"aten.atan2.default", atan2},
      Lowering{"aten.clamp.default", clamp_both},
      Lowering{"aten.clamp.Tensor", clamp_both},
      Lowering{"aten.clamp_min.default", clamp_min},
      Lowering{"aten.clamp_max.default", clamp_max},
      Lowering{"aten.addcmul.default", addc<true>},
      Lowering{"aten.addcdiv.default", addc<false>},
      Lowering{"aten.lerp.Scalar", lerp},
      Lowering{"aten.lerp.Tensor", lerp},
  };
  return kRows;
}

}  // namespace portwright
