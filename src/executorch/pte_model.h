// A .pte file in memory: methods of instructions over values, delegates, and weights by reference.
// Mirrors src/executorch/schemas/program.fbs; holds no flatbuffers types.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ir/argument.h"
#include "ir/dtype.h"
#include "ir/weight.h"

namespace portwright {

// Index into PteMethod::values.
using PteId = int32_t;
inline constexpr PteId kNoPteValue = -1;  // None in an optional tensor list

// A place in one of the method's arenas.
struct PteAllocation {
  uint32_t arena = 1;   // index into PteMethod::arena_sizes
  uint64_t offset = 0;  // bytes
  friend bool operator==(const PteAllocation&, const PteAllocation&) = default;
};

struct PteTensor {
  DType dtype = DType::kFloat32;
  // Of a dynamic tensor the bounds, whose product is what it may hold.
  std::vector<int32_t> sizes;
  std::vector<uint8_t> dim_order;  // outermost first; 0, 1, 2, ... of contiguous tensors
  bool dynamic = false;
  std::optional<PteAllocation> allocation;
  // Index into PteModel::constants, or, with an allocation, into PteModel::initial_states.
  std::optional<uint32_t> data;
  bool is_state = false;    // a mutable buffer, which keeps its value between runs
  bool is_callers = false;  // the memory is always the caller's: an input that the method writes to
};

struct PteIntList {
  std::vector<PteId> items;  // each an int value
};
struct PteTensorList {
  std::vector<PteId> items;
};
struct PteOptionalTensorList {
  std::vector<PteId> items;  // kNoPteValue is None
};

using PteValue = std::variant<None, bool, int64_t, double, std::string, PteTensor, PteIntList,
                              FloatList, BoolList, PteTensorList, PteOptionalTensorList>;

// A kernel of the runtime: "aten::add" and "out", "executorch_prim::mul" and "Scalar".
struct PteOperator {
  std::string name;
  std::string overload;
  friend auto operator<=>(const PteOperator&, const PteOperator&) = default;
};

struct PteKernelCall {
  uint32_t op = 0;  // index into PteMethod::operators
  std::vector<PteId> args;
  // For the planner of memory, not in the file: operands in whose place the kernel may write its
  // result, element by element, when nothing reads them afterwards.
  // NOLINTNEXTLINE(readability-redundant-member-init): calls without any need not name it
  std::vector<PteId> replaceable = {};
};
struct PteDelegateCall {
  uint32_t delegate = 0;  // index into PteMethod::delegates
  std::vector<PteId> args;
};
struct PteMoveCall {
  PteId from = 0, to = 0;
};
// Goes on at `destination` when the bool value is false.
struct PteJumpFalse {
  PteId condition = 0;
  uint32_t destination = 0;  // index into PteMethod::instructions
};
using PteInstruction = std::variant<PteKernelCall, PteDelegateCall, PteMoveCall, PteJumpFalse>;

struct PteDelegate {
  std::string backend;  // "XnnpackBackend"
  std::string payload;  // read by the backend when the method is loaded
  std::vector<std::pair<std::string, std::string>> compile_specs;
};

struct PteMethod {
  std::string name = "forward";
  std::vector<PteValue> values;
  std::vector<PteId> inputs, outputs;
  std::vector<PteInstruction> instructions;
  std::vector<PteOperator> operators;
  std::vector<PteDelegate> delegates;
  // Bytes; entry 0 is the runtime's own and 0.
  std::vector<uint64_t> arena_sizes = {0};
};

// Bytes that delegates ask for by name. Weights of the same storage are stored once, whatever their
// names and whether kernels read them, too.
struct PteNamedData {
  std::string key;
  Weight weight;
};

struct PteModel {
  std::vector<PteMethod> methods;
  std::vector<Weight> constants;       // that kernels read; mapped, never copied by the runtime
  std::vector<Weight> initial_states;  // of mutable buffers
  std::vector<PteNamedData> named_data;
};

}  // namespace portwright
