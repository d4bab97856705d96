#include "executorch/program_reader.h"

#include <string>

#include "base/error.h"
#include "executorch/flatbuffer_list.h"
#include "executorch/scalar_type.h"

namespace portwright {
namespace {

namespace fb = executorch_flatbuffer;
using Payload = std::function<std::string_view(const fb::BackendDelegateDataReference&)>;

[[noreturn]] void corrupt(const std::string& what) { throw Error(ErrorCode::kCorrupt, what); }
[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorCode::kUnsupported, what);
}

// A table that the format says is there.
template <typename T>
const T& present(const T* table, const char* what) {
  if (table == nullptr) corrupt(std::string("it lacks ") + what);
  return *table;
}

template <typename To, typename From>
To index(From value, const char* what) {
  if (!std::in_range<To>(value)) corrupt(std::string(what) + " is " + std::to_string(value));
  return static_cast<To>(value);
}

class MethodReader {
 public:
  MethodReader(const fb::ExecutionPlan& plan, const Payload& payload, CopyBudget& budget)
      : plan_(plan), payload_(payload), budget_(budget) {}

  PteMethod read() {
    method_.name = text(plan_.name());
    method_.inputs = numbers(plan_.inputs());
    method_.outputs = numbers(plan_.outputs());
    method_.arena_sizes.clear();
    for (int64_t size : numbers(plan_.non_const_buffer_sizes())) {
      method_.arena_sizes.push_back(index<uint64_t>(size, "an arena's size"));
    }
    each(plan_.values(),
         [&](const fb::EValue& value) { method_.values.push_back(read_value(value)); });
    each(plan_.operators(), [&](const fb::Operator& op) {
      method_.operators.push_back({text(op.name()), text(op.overload())});
    });
    each(plan_.delegates(), [&](const fb::BackendDelegate& delegate) { read_delegate(delegate); });
    read_chain();
    return std::move(method_);
  }

 private:
  std::string text(const flatbuffers::String* string) {
    if (string == nullptr) return {};
    budget_.spend(string->size());
    return string->str();
  }

  template <typename T>
  std::vector<T> numbers(const flatbuffers::Vector<T>* list) {
    if (list != nullptr) budget_.spend(uint64_t{list->size()} * sizeof(T));
    return copy_of(list);
  }

  template <typename T, typename Function>
  void each(const flatbuffers::Vector<flatbuffers::Offset<T>>* list, Function&& function) {
    if (list == nullptr) return;
    for (const T* item : *list) {
      budget_.spend(sizeof(PteValue));
      function(*item);
    }
  }

  PteValue read_value(const fb::EValue& value) {
    switch (value.val_type()) {
      case fb::KernelTypes::Null: return None{};
      case fb::KernelTypes::Int: return present(value.val_as_Int(), "an int").int_val();
      case fb::KernelTypes::Bool: return present(value.val_as_Bool(), "a bool").bool_val();
      case fb::KernelTypes::Double: return present(value.val_as_Double(), "a number").double_val();
      case fb::KernelTypes::Tensor: return read_tensor(present(value.val_as_Tensor(), "a tensor"));
      case fb::KernelTypes::String:
        return text(present(value.val_as_String(), "a string").string_val());
      case fb::KernelTypes::IntList:
        return read_ints(present(value.val_as_IntList(), "a list of ints"));
      case fb::KernelTypes::DoubleList:
        return numbers(present(value.val_as_DoubleList(), "a list of numbers").items());
      case fb::KernelTypes::BoolList: {
        const auto bools = numbers(present(value.val_as_BoolList(), "a list of bools").items());
        return BoolList(bools.begin(), bools.end());
      }
      case fb::KernelTypes::TensorList:
        return PteTensorList{
            numbers(present(value.val_as_TensorList(), "a list of tensors").items())};
      case fb::KernelTypes::OptionalTensorList:
        return PteOptionalTensorList{
            numbers(present(value.val_as_OptionalTensorList(), "a list of tensors").items())};
      default:
        unsupported("it has a value of kind " + std::to_string(static_cast<int>(value.val_type())));
    }
  }

  PteIntList read_ints(const fb::IntList& list) {
    PteIntList ints;
    for (int64_t item : numbers(list.items())) {
      ints.items.push_back(index<PteId>(item, "an item of a list of ints"));
    }
    return ints;
  }

  PteTensor read_tensor(const fb::Tensor& stored) {
    PteTensor tensor;
    const std::optional<DType> dtype = dtype_of(stored.scalar_type());
    if (!dtype) {
      unsupported("it has a tensor of type " +
                  std::to_string(static_cast<int>(stored.scalar_type())));
    }
    check_place(stored);
    tensor.dtype = *dtype;
    tensor.sizes = numbers(stored.sizes());
    tensor.dim_order = numbers(stored.dim_order());
    tensor.dynamic = stored.shape_dynamism() == fb::TensorShapeDynamism::DYNAMIC_BOUND;
    if (const fb::AllocationDetails* place = stored.allocation_info()) {
      const uint64_t high = place->memory_offset_high();
      tensor.allocation =
          PteAllocation{place->memory_id(), high << 32 | place->memory_offset_low()};
    }
    if (stored.data_buffer_idx() > 0) tensor.data = stored.data_buffer_idx() - 1;
    return tensor;
  }

  static void check_place(const fb::Tensor& stored) {
    if (stored.storage_offset() != 0) unsupported("it has a tensor that starts inside its data");
    if (stored.shape_dynamism() != fb::TensorShapeDynamism::STATIC &&
        stored.shape_dynamism() != fb::TensorShapeDynamism::DYNAMIC_BOUND) {
      unsupported("it has a tensor of unbounded size");
    }
    const fb::ExtraTensorInfo* extra = stored.extra_tensor_info();
    if (extra == nullptr) return;
    if (extra->location() != fb::TensorDataLocation::SEGMENT) {
      unsupported("it has a tensor whose data lies in another file (.ptd)");
    }
    if (extra->mutable_data_segments_idx() != 0) {
      unsupported("it has initial states in several segments");
    }
    if (extra->device_type() != fb::DeviceType::CPU) {
      unsupported("it has a tensor in the memory of another device than the CPU");
    }
  }

  void read_delegate(const fb::BackendDelegate& stored) {
    PteDelegate delegate;
    delegate.backend = text(stored.id());
    const std::string_view payload = payload_(present(stored.processed(), "a delegate's payload"));
    budget_.spend(payload.size());
    delegate.payload = payload;
    each(stored.compile_specs(), [&](const fb::CompileSpec& spec) {
      const auto bytes = numbers(spec.value());
      delegate.compile_specs.emplace_back(text(spec.key()),
                                          std::string(bytes.begin(), bytes.end()));
    });
    method_.delegates.push_back(std::move(delegate));
  }

  void read_chain() {
    const auto& chains = present(plan_.chains(), "a method's instructions");
    if (chains.size() != 1) {
      unsupported("it has a method of " + std::to_string(chains.size()) + " chains");
    }
    each(chains.Get(0)->instructions(), [&](const fb::Instruction& instruction) {
      method_.instructions.push_back(read_instruction(instruction));
    });
  }

  PteInstruction read_instruction(const fb::Instruction& stored) {
    switch (stored.instr_args_type()) {
      case fb::InstructionArguments::KernelCall: {
        const auto& call = present(stored.instr_args_as_KernelCall(), "a kernel's call");
        return PteKernelCall{index<uint32_t>(call.op_index(), "an operator"), numbers(call.args())};
      }
      case fb::InstructionArguments::DelegateCall: {
        const auto& call = present(stored.instr_args_as_DelegateCall(), "a delegate's call");
        return PteDelegateCall{index<uint32_t>(call.delegate_index(), "a delegate"),
                               numbers(call.args())};
      }
      case fb::InstructionArguments::MoveCall: {
        const auto& move = present(stored.instr_args_as_MoveCall(), "a move");
        return PteMoveCall{move.move_from(), move.move_to()};
      }
      case fb::InstructionArguments::JumpFalseCall: {
        const auto& jump = present(stored.instr_args_as_JumpFalseCall(), "a jump");
        return PteJumpFalse{jump.cond_value_index(),
                            index<uint32_t>(jump.destination_instruction(), "a destination")};
      }
      default:
        unsupported("it has an instruction of kind " +
                    std::to_string(static_cast<int>(stored.instr_args_type())));
    }
  }

  const fb::ExecutionPlan& plan_;
  const Payload& payload_;
  CopyBudget& budget_;
  PteMethod method_;
};

}  // namespace

CopyBudget::CopyBudget(uint64_t file_bytes) {
  constexpr uint64_t kAlways = uint64_t{64} << 20;
  constexpr uint64_t kTimes = 4;
  left_ = kAlways + kTimes * file_bytes;
}

void CopyBudget::spend(uint64_t bytes) {
  if (bytes > left_) corrupt("its parts overlap so often that reading it would fill the memory");
  left_ -= bytes;
}

std::vector<PteMethod> read_methods(const fb::Program& program, const Payload& payload,
                                    CopyBudget& budget) {
  std::vector<PteMethod> methods;
  for (const fb::ExecutionPlan* plan : present(program.execution_plan(), "methods")) {
    methods.push_back(MethodReader(*plan, payload, budget).read());
  }
  return methods;
}

}  // namespace portwright
