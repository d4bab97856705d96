// Names of the operations on floats, shared by printer and parser.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "symbolic/real.h"

namespace portwright {

struct RealOpName {
  RealOp op;
  std::string_view name;
  size_t operands;
};

inline constexpr std::array kRealOps = {
    RealOpName{RealOp::kAdd, "add", 2},
    RealOpName{RealOp::kSub, "sub", 2},
    RealOpName{RealOp::kMul, "mul", 2},
    RealOpName{RealOp::kTrueDiv, "truediv", 2},
    RealOpName{RealOp::kFloorDiv, "ffloordiv", 2},
    RealOpName{RealOp::kMod, "fmod", 2},
    RealOpName{RealOp::kPow, "pow", 2},
    RealOpName{RealOp::kMin, "fmin", 2},
    RealOpName{RealOp::kMax, "fmax", 2},
    RealOpName{RealOp::kNeg, "neg", 1},
    RealOpName{RealOp::kSqrt, "sqrt", 1},
    RealOpName{RealOp::kLog, "log", 1},
    RealOpName{RealOp::kExp, "exp", 1},
    RealOpName{RealOp::kFloor, "ffloor", 1},
    RealOpName{RealOp::kCeil, "fceil", 1},
    RealOpName{RealOp::kTrunc, "ftrunc", 1},
};

inline std::string_view real_op_name(RealOp op) {
  for (const RealOpName& entry : kRealOps) {
    if (entry.op == op) return entry.name;
  }
  return "";
}

}  // namespace portwright
