// Elementwise operators of one operand.
#include <array>
#include <cfloat>

#include "onnx/lowering.h"

namespace portwright {
namespace {

double largest_finite(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return 65504;
    case DType::kBFloat16: return 3.3895313892515355e38;
    case DType::kFloat32: return FLT_MAX;
    default: return DBL_MAX;
  }
}

// Computed in the result's dtype: sqrt of an integer tensor is a float.
template <const char* kType>
void direct(const LoweringCall& call) {
  call.give(call.emit.op(kType, {call.emit.tensor(call.arg(0), call.result().dtype)}));
}

#define PORTWRIGHT_ONNX_NAME(name) constexpr char k##name[] = #name
PORTWRIGHT_ONNX_NAME(Abs);
PORTWRIGHT_ONNX_NAME(Acos);
PORTWRIGHT_ONNX_NAME(Acosh);
PORTWRIGHT_ONNX_NAME(Asin);
PORTWRIGHT_ONNX_NAME(Asinh);
PORTWRIGHT_ONNX_NAME(Atan);
PORTWRIGHT_ONNX_NAME(Atanh);
PORTWRIGHT_ONNX_NAME(Ceil);
PORTWRIGHT_ONNX_NAME(Cos);
PORTWRIGHT_ONNX_NAME(Cosh);
PORTWRIGHT_ONNX_NAME(Erf);
PORTWRIGHT_ONNX_NAME(Exp);
PORTWRIGHT_ONNX_NAME(Floor);
PORTWRIGHT_ONNX_NAME(Log);
PORTWRIGHT_ONNX_NAME(Neg);
PORTWRIGHT_ONNX_NAME(Reciprocal);
PORTWRIGHT_ONNX_NAME(Round);
PORTWRIGHT_ONNX_NAME(Sign);
PORTWRIGHT_ONNX_NAME(Sin);
PORTWRIGHT_ONNX_NAME(Sinh);
PORTWRIGHT_ONNX_NAME(Sqrt);
PORTWRIGHT_ONNX_NAME(Tan);
PORTWRIGHT_ONNX_NAME(Tanh);
#undef PORTWRIGHT_ONNX_NAME

// floor, ceil, round and trunc leave integers as they are.
template <const char* kType>
void rounding(const LoweringCall& call) {
  const std::string x = call.emit.tensor(call.arg(0));
  call.give(is_floating_point(call.type(0).dtype) ? call.emit.op(kType, {x}) : x);
}

void trunc(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string x = e.tensor(call.arg(0));
  if (!is_floating_point(call.type(0).dtype)) return call.give(x);
  call.give(e.op("Mul", {e.op("Sign", {x}), e.op("Floor", {e.op("Abs", {x})})}));
}

void rsqrt(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("Reciprocal", {e.op("Sqrt", {e.tensor(call.arg(0), call.result().dtype)})}));
}

void square(const LoweringCall& call) {
  const std::string x = call.emit.tensor(call.arg(0));
  call.give(call.emit.op("Mul", {x, x}));
}

void expm1(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  call.give(e.op("Sub", {e.op("Exp", {e.tensor(call.arg(0), dtype)}), e.scalar(1, dtype)}));
}

void log1p(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  call.give(e.op("Log", {e.op("Add", {e.tensor(call.arg(0), dtype), e.scalar(1, dtype)})}));
}

template <int kBase>
void log_base(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const double scale = kBase == 2 ? 1.4426950408889634 : 0.43429448190325182;
  call.give(e.op("Mul", {e.op("Log", {e.tensor(call.arg(0), dtype)}), e.scalar(scale, dtype)}));
}

void identity(const LoweringCall& call) {
  call.give(call.emit.tensor(call.arg(0), call.result().dtype));
}

void is_nan(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("IsNaN", {e.tensor(call.arg(0))}));
}

void is_inf(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("IsInf", {e.tensor(call.arg(0))}));
}

// nan_to_num(self, nan, posinf, neginf): 0 and the largest numbers where they are not given.
void nan_to_num(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  std::string x = e.tensor(call.arg(0));
  if (!is_floating_point(dtype)) return call.give(x);
  auto number = [&](size_t i, double fallback) {
    return call.has(i) ? e.tensor(call.arg(i), dtype) : e.scalar(fallback, dtype);
  };
  const double largest = largest_finite(dtype);
  x = e.op("Where", {e.op("IsNaN", {x}), number(1, 0), x});
  for (bool positive : {true, false}) {
    const std::string found =
        e.op("IsInf", {x},
             {{"detect_positive", int64_t{positive}}, {"detect_negative", int64_t{!positive}}});
    x = e.op("Where", {found, number(positive ? 2 : 3, positive ? largest : -largest), x});
  }
  call.give(x);
}

}  // namespace

std::span<const Lowering> unary_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.abs.default", direct<kAbs>},
      Lowering{"aten.acos.default", direct<kAcos>},
      Lowering{"aten.acosh.default", direct<kAcosh>},
      Lowering{"aten.asin.default", direct<kAsin>},
      Lowering{"aten.asinh.default", direct<kAsinh>},
      Lowering{"aten.atanh.default", direct<kAtanh>},
      Lowering{"aten.cosh.default", direct<kCosh>},
      Lowering{"aten.sinh.default", direct<kSinh>},
      Lowering{"aten.nan_to_num.default", nan_to_num},
      Lowering{"aten.atan.default", direct<kAtan>},
      Lowering{"aten.cos.default", direct<kCos>},
      Lowering{"aten.erf.default", direct<kErf>},
      Lowering{"aten.exp.default", direct<kExp>},
      Lowering{"aten.log.default", direct<kLog>},
      Lowering{"aten.neg.default", direct<kNeg>},
      Lowering{"aten.reciprocal.default", direct<kReciprocal>},
      Lowering{"aten.sign.default", direct<kSign>},
      Lowering{"aten.sin.default", direct<kSin>},
      Lowering{"aten.sqrt.default", direct<kSqrt>},
      Lowering{"aten.tan.default", direct<kTan>},
      Lowering{"aten.tanh.default", direct<kTanh>},
      Lowering{"aten.ceil.default", rounding<kCeil>},
      Lowering{"aten.floor.default", rounding<kFloor>},
      Lowering{"aten.round.default", rounding<kRound>},
      Lowering{"aten.trunc.default", trunc},
      Lowering{"aten.rsqrt.default", rsqrt},
      Lowering{"aten.square.default", square},
      Lowering{"aten.expm1.default", expm1},
      Lowering{"aten.log1p.default", log1p},
      Lowering{"aten.log2.default", log_base<2>},
      Lowering{"aten.log10.default", log_base<10>},
      Lowering{"aten.isnan.default", is_nan},
      Lowering{"aten.isinf.default", is_inf},
      Lowering{"aten._to_copy.default", identity},
      Lowering{"aten.clone.default", identity},
      Lowering{"aten.alias.default", identity},
      Lowering{"aten.detach.default", identity},
      Lowering{"aten.contiguous.default", identity},
      Lowering{"aten.lift_fresh_copy.default", identity},
      Lowering{"aten.dropout.default", identity},
  };
  return kRows;
}

}  // namespace portwright
