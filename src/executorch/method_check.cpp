#include "executorch/method_check.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>

#include "executorch/validator.h"
#include "executorch/xnnpack_check.h"
#include "executorch/xnnpack_payload.h"

namespace portwright {
namespace {

constexpr size_t kMostDims = 16;                           // kTensorDimensionLimit of the runtime
constexpr size_t kLongestOperatorName = 99;                // with its overload, of the runtime
constexpr const char* kView = "executorch_prim::et_view";  // gives its output memory itself

using XnnpackType = fb_xnnpack::XNNDatatype;
struct DatatypeRow {
  XnnpackType datatype;
  DType dtype;
};
// Of values that pass between kernels and the delegate.
constexpr DatatypeRow kDatatypes[] = {
    {XnnpackType::xnn_datatype_fp32, DType::kFloat32},
    {XnnpackType::xnn_datatype_fp16, DType::kFloat16},
    {XnnpackType::xnn_datatype_bf16, DType::kBFloat16},
    {XnnpackType::xnn_datatype_qint8, DType::kInt8},
    {XnnpackType::xnn_datatype_quint8, DType::kUInt8},
    {XnnpackType::xnn_datatype_int32, DType::kInt32},
    {XnnpackType::xnn_datatype_int32, DType::kInt64},  // which the delegate converts
};

class MethodCheck {
 public:
  MethodCheck(const PteModel& model, const PteMethod& method, Problems& problems)
      : model_(model),
        method_(method),
        problems_(problems),
        prefix_("method '" + method.name + "'") {}

  void run(const std::map<std::string_view, uint64_t>& named_bytes) {
    for (size_t i = 0; i < method_.values.size(); ++i) check_value(i);
    problems_.at(prefix_);
    check_interface();
    check_operators();
    check_delegates(named_bytes);
    find_tensors_with_memory();
    for (size_t i = 0; i < method_.instructions.size(); ++i) {
      problems_.at(prefix_ + ", instruction " + std::to_string(i));
      std::visit([this](const auto& instruction) { check(instruction); }, method_.instructions[i]);
    }
  }

 private:
  void add(const std::string& what) { problems_.add(what); }

  // The value, if there is one; else a problem.
  const PteValue* value(PteId id, const char* what) {
    if (id >= 0 && static_cast<size_t>(id) < method_.values.size()) return &method_.values[id];
    add(std::string(what) + " is value " + std::to_string(id) + " of " +
        std::to_string(method_.values.size()));
    return nullptr;
  }

  template <typename T>
  const T* value_of(PteId id, const char* what, const char* kind) {
    const PteValue* any = value(id, what);
    if (any == nullptr) return nullptr;
    const T* typed = std::get_if<T>(any);
    if (typed == nullptr) {
      add(std::string(what) + ", value " + std::to_string(id) + ", is no " + kind);
    }
    return typed;
  }

  void check_value(size_t index) {
    problems_.at(prefix_ + ", value " + std::to_string(index));
    const PteValue& value = method_.values[index];
    if (const auto* tensor = std::get_if<PteTensor>(&value)) return check_tensor(*tensor);
    if (const auto* ints = std::get_if<PteIntList>(&value)) {
      for (PteId id : ints->items) value_of<int64_t>(id, "an item", "int");
    } else if (const auto* tensors = std::get_if<PteTensorList>(&value)) {
      for (PteId id : tensors->items) check_listed(id, index);
    } else if (const auto* optional = std::get_if<PteOptionalTensorList>(&value)) {
      for (PteId id : optional->items) {
        if (id != kNoPteValue && !is_none(id)) check_listed(id, index);
      }
    }
  }

  bool is_none(PteId id) const {
    return id >= 0 && static_cast<size_t>(id) < method_.values.size() &&
           std::holds_alternative<None>(method_.values[id]);
  }

  void check_listed(PteId id, size_t list) {
    value_of<PteTensor>(id, "an item", "tensor");
    // The runtime copies the items when it comes to the list.
    if (id >= 0 && static_cast<size_t>(id) >= list) {
      add("its item " + std::to_string(id) + " comes after it");
    }
  }

  void check_tensor(const PteTensor& tensor) {
    if (tensor.sizes.size() > kMostDims) {
      add("it has " + std::to_string(tensor.sizes.size()) + " dims, at most " +
          std::to_string(kMostDims));
    }
    if (!is_permutation(tensor.dim_order, tensor.sizes.size())) {
      add("its order of dims is no permutation of them");
    }
    const std::optional<uint64_t> bytes = byte_size(tensor);
    if (!bytes) return add("a size is negative, or its bytes exceed 64 bits");
    if (tensor.allocation) check_allocation(*tensor.allocation, *bytes, tensor.dtype);
    if (tensor.data) check_data(tensor, *bytes);
  }

  void check_allocation(const PteAllocation& place, uint64_t bytes, DType dtype) {
    const std::vector<uint64_t>& arenas = method_.arena_sizes;
    if (place.arena == 0 || place.arena >= arenas.size()) {
      return add("it lies in arena " + std::to_string(place.arena) + " of " +
                 std::to_string(arenas.size()));
    }
    const uint64_t size = arenas[place.arena];
    if (place.offset > size || bytes > size - place.offset) {
      add("its " + std::to_string(bytes) + " bytes at " + std::to_string(place.offset) +
          " leave arena " + std::to_string(place.arena) + " of " + std::to_string(size));
    }
    if (place.offset % element_size(dtype) != 0) {
      add("its offset " + std::to_string(place.offset) + " is no multiple of an element");
    }
  }

  void check_data(const PteTensor& tensor, uint64_t bytes) {
    const auto& all = tensor.allocation ? model_.initial_states : model_.constants;
    if (*tensor.data >= all.size()) {
      return add("it has data " + std::to_string(*tensor.data) + " of " +
                 std::to_string(all.size()));
    }
    const uint64_t stored = all[*tensor.data].byte_size();
    if (stored != bytes) {
      add("it has " + std::to_string(bytes) + " bytes, its data " + std::to_string(stored));
    }
  }

  void check_interface() {
    if (method_.arena_sizes.empty()) add("it has no arena 0");
    for (PteId id : method_.inputs) {
      const PteValue* input = value(id, "an input");
      const auto* tensor = input == nullptr ? nullptr : std::get_if<PteTensor>(input);
      if (tensor != nullptr && tensor->data && !tensor->allocation) {
        add("input " + std::to_string(id) + " is a constant");
      }
    }
    for (PteId id : method_.outputs) value(id, "an output");
  }

  void check_operators() {
    for (const auto& [name, overload] : method_.operators) {
      if (name.find("::") == std::string::npos) add("operator '" + name + "' has no namespace");
      if (name.size() + 1 + overload.size() > kLongestOperatorName) {
        add("operator '" + name + "' has a name longer than the runtime takes");
      }
    }
  }

  void check_delegates(const std::map<std::string_view, uint64_t>& named_bytes) {
    externals_.resize(method_.delegates.size());
    for (size_t i = 0; i < method_.delegates.size(); ++i) {
      problems_.at(prefix_ + ", delegate " + std::to_string(i));
      const PteDelegate& delegate = method_.delegates[i];
      if (delegate.backend != kXnnpackBackend) continue;
      externals_[i] = check_xnnpack(delegate.payload, named_bytes, problems_);
    }
  }

  // Inputs and outputs get theirs from the caller.
  void find_tensors_with_memory() {
    has_memory_.insert(method_.inputs.begin(), method_.inputs.end());
    has_memory_.insert(method_.outputs.begin(), method_.outputs.end());
    for (const PteInstruction& instruction : method_.instructions) {
      if (const auto* move = std::get_if<PteMoveCall>(&instruction)) has_memory_.insert(move->to);
      const auto* call = std::get_if<PteKernelCall>(&instruction);
      if (call == nullptr || call->op >= method_.operators.size() || call->args.empty()) continue;
      if (method_.operators[call->op].name == kView) has_memory_.insert(call->args.back());
    }
  }

  void check_arguments(const std::vector<PteId>& args) {
    for (PteId id : args) {
      const PteValue* argument = value(id, "an argument");
      const auto* tensor = argument == nullptr ? nullptr : std::get_if<PteTensor>(argument);
      if (tensor != nullptr && !tensor->allocation && !tensor->data && !has_memory_.contains(id)) {
        add("the tensor of value " + std::to_string(id) + " has no memory");
      }
    }
  }

  void check(const PteKernelCall& call) {
    if (call.op >= method_.operators.size()) {
      add("it calls operator " + std::to_string(call.op) + " of " +
          std::to_string(method_.operators.size()));
    }
    check_arguments(call.args);
  }

  void check(const PteDelegateCall& call) {
    check_arguments(call.args);
    if (call.delegate >= method_.delegates.size()) {
      return add("it calls delegate " + std::to_string(call.delegate) + " of " +
                 std::to_string(method_.delegates.size()));
    }
    for (const XnnpackExternal& external : externals_[call.delegate]) check_passed(external, call);
  }

  void check_passed(const XnnpackExternal& external, const PteDelegateCall& call) {
    if (external.argument >= call.args.size()) {
      return add("the delegate takes an argument " + std::to_string(external.argument) + " of " +
                 std::to_string(call.args.size()));
    }
    const PteId id = call.args[external.argument];
    const auto* tensor = value_of<PteTensor>(id, "an argument of the delegate", "tensor");
    if (tensor == nullptr) return;
    const bool known = std::ranges::any_of(kDatatypes, [&](const DatatypeRow& row) {
      return row.datatype == external.datatype && row.dtype == tensor->dtype;
    });
    if (!known) {
      add("the delegate has value " + std::to_string(id) + " as " +
          fb_xnnpack::EnumNameXNNDatatype(external.datatype) + ", the method as " +
          std::string(to_string(tensor->dtype)));
    }
    // A tensor of no dims is one of a single element to the delegate.
    if (tensor->sizes.size() != external.rank && !(tensor->sizes.empty() && external.rank == 1)) {
      add("the delegate has value " + std::to_string(id) + " with " +
          std::to_string(external.rank) + " dims, the method with " +
          std::to_string(tensor->sizes.size()));
    }
    if (external.is_output && tensor->data && !tensor->allocation) {
      add("the delegate writes the constant of value " + std::to_string(id));
    }
  }

  void check(const PteMoveCall& move) {
    value(move.from, "what is moved");
    value(move.to, "the target");
  }

  void check(const PteJumpFalse& jump) {
    if (jump.destination > method_.instructions.size()) {
      add("it goes on at instruction " + std::to_string(jump.destination) + " of " +
          std::to_string(method_.instructions.size()));
    }
    const PteValue* condition = value(jump.condition, "the condition");
    if (condition == nullptr || std::holds_alternative<bool>(*condition)) return;
    const auto* tensor = std::get_if<PteTensor>(condition);
    if (tensor == nullptr || tensor->dtype != DType::kBool) {
      add("the condition, value " + std::to_string(jump.condition) + ", is no bool");
    }
  }

  const PteModel& model_;
  const PteMethod& method_;
  Problems& problems_;
  std::string prefix_;
  std::vector<std::vector<XnnpackExternal>> externals_;  // by delegate
  std::set<PteId> has_memory_;
};

}  // namespace

void check_method(const PteModel& model, const PteMethod& method,
                  const std::map<std::string_view, uint64_t>& named_bytes, Problems& problems) {
  MethodCheck(model, method, problems).run(named_bytes);
}

}  // namespace portwright
