// What the tracer knows about each dispatcher operator it has met. Facts about operators, not about
// models: one catalog serves all captures of a process, which take turns.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/program.h"

namespace portwright {

class Tracer;
struct OpInfo;

// How the tracer treats a call with traced operands.
enum class OpKind : uint8_t {
  kRecord,         // becomes a node
  kView,           // becomes a node whose results alias its first operand
  kDecompose,      // composite: its C++ implementation runs, its parts come back
  kInPlace,        // the functional variant becomes a node, the operand takes its result
  kOut,            // the same for out= variants
  kAlias,          // returns its operand (detach, alias, lift_fresh)
  kDataDependent,  // needs the value of a tensor
  kAssertion,      // checks tensor data and returns nothing
};

// What torch.autocast does to an operator.
enum class UnderAutocast : uint8_t {
  kSame,     // nothing
  kKernel,   // it has a kernel of its own, which casts the operands
  kInParts,  // a kept composite whose parts have kernels: it is not kept
  kRefused,  // the same, where the parts cannot be captured
};

// What an IValue of a schema position becomes in the IR.
enum class OperandKind : uint8_t {
  kTensor,
  kTensorList,
  kOptionalTensorList,
  kInt,
  kIntList,
  kFloat,
  kFloatList,
  kBool,
  kBoolList,
  kScalar,
  kString,
  kStringList,
  kDType,
  kDevice,
  kLayout,
  kMemoryFormat,
  kGenerator,
  kOther,
};

struct OperandInfo {
  std::string name;
  OperandKind kind = OperandKind::kOther;
};

// Types of all results, in the order of the schema: one per tensor, a list for Tensor[].
struct ResultType {
  bool is_list = false;
  bool absent = false;            // an undefined tensor
  std::vector<TensorType> types;  // one, or the list's
};
using ResultTypes = std::vector<ResultType>;

// Gives the results' types from the operands', or nothing when the rule does not apply (then the
// operator is probed).
using ShapeRule = std::optional<ResultTypes> (*)(Tracer& tracer, const OpInfo& op,
                                                 const std::vector<Argument>& arguments);

struct OpInfo {
  explicit OpInfo(c10::OperatorHandle op) : handle(std::move(op)) {}

  c10::OperatorHandle handle;
  std::string name;  // "aten.add.Tensor"
  OpKind kind = OpKind::kRecord;
  std::vector<OperandInfo> operands;
  std::vector<bool> returns_list;  // per return: Tensor[] or Tensor
  ShapeRule rule = nullptr;
  bool random = false;  // never folded
  UnderAutocast under_autocast = UnderAutocast::kSame;
  bool copies_when_strided = false;  // reshape: a view only where the layout allows
};

class OpCatalog {
 public:
  OpCatalog();
  const OpInfo& find(const c10::OperatorHandle& op);
  // By torch.export's name. Error(kInternal) when the dispatcher does not have it.
  const OpInfo& find(const std::string& name);
  // The operator that computes what an in-place or out= one writes: of the plain name, with the
  // same operands. Null when there is none.
  const OpInfo* functional_form(const OpInfo& op);

  // Result dtypes that were learnt from the Meta kernel, keyed by operator and operand dtypes.
  std::unordered_map<std::string, DType>& dtype_memo() { return dtype_memo_; }

 private:
  std::unordered_map<const c10::FunctionSchema*, std::unique_ptr<OpInfo>> by_schema_;
  std::unordered_map<std::string, const OpInfo*> by_name_;
  std::unordered_map<std::string, DType> dtype_memo_;
  std::unordered_map<const OpInfo*, const OpInfo*> functional_forms_;
};

// "aten.add.Tensor" of an operator, and back.
std::string export_name(const c10::OperatorName& name);
c10::OperatorHandle find_operator(const std::string& export_name);

// Names ("linear") of the composites that stay whole.
std::vector<std::string> kept_composites();

// The built-in rules, by torch.export's name; null when there is none (shape_rules.cpp).
ShapeRule find_shape_rule(const std::string& name);

}  // namespace portwright
