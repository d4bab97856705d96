#include "executorch/program_flatbuffer.h"

#include <program_generated.h>

#include <limits>
#include <utility>

#include "base/error.h"
#include "executorch/scalar_type.h"

namespace portwright {
namespace {

namespace fb = executorch_flatbuffer;
template <typename T>
using Offsets = std::vector<flatbuffers::Offset<T>>;

template <typename To, typename From>
To fitting(From value, const char* what) {
  if (std::in_range<To>(value)) return static_cast<To>(value);
  throw Error(ErrorCode::kUnsupported, "a .pte file cannot hold " + std::string(what) + " of " +
                                           std::to_string(value) + ", at most " +
                                           std::to_string(std::numeric_limits<To>::max()));
}

// Index 0 of the tables of constants and states stands for "no data".
std::vector<uint64_t> with_placeholder(const std::vector<uint64_t>& offsets) {
  std::vector<uint64_t> all{0};
  all.insert(all.end(), offsets.begin(), offsets.end());
  return all;
}

// One value as a member of the union KernelTypes.
class ValueWriter {
 public:
  using Value = flatbuffers::Offset<fb::EValue>;
  explicit ValueWriter(flatbuffers::FlatBufferBuilder& out) : out_(out) {}

  Value write(const PteValue& value) { return std::visit(*this, value); }

  Value operator()(None) { return member(fb::KernelTypes::Null, fb::CreateNull(out_)); }
  Value operator()(bool value) {
    return member(fb::KernelTypes::Bool, fb::CreateBool(out_, value));
  }
  Value operator()(int64_t value) {
    return member(fb::KernelTypes::Int, fb::CreateInt(out_, value));
  }
  Value operator()(double value) {
    return member(fb::KernelTypes::Double, fb::CreateDouble(out_, value));
  }
  Value operator()(const std::string& value) {
    return member(fb::KernelTypes::String, fb::CreateString(out_, out_.CreateString(value)));
  }
  Value operator()(const PteTensor& tensor) {
    return member(fb::KernelTypes::Tensor, write_tensor(tensor));
  }
  Value operator()(const PteIntList& list) {
    const std::vector<int64_t> items(list.items.begin(), list.items.end());
    return member(fb::KernelTypes::IntList, fb::CreateIntListDirect(out_, &items));
  }
  Value operator()(const FloatList& list) {
    return member(fb::KernelTypes::DoubleList, fb::CreateDoubleListDirect(out_, &list));
  }
  Value operator()(const BoolList& list) {
    const std::vector<uint8_t> items(list.begin(), list.end());
    return member(fb::KernelTypes::BoolList, fb::CreateBoolListDirect(out_, &items));
  }
  Value operator()(const PteTensorList& list) {
    return member(fb::KernelTypes::TensorList, fb::CreateTensorListDirect(out_, &list.items));
  }
  Value operator()(const PteOptionalTensorList& list) {
    return member(fb::KernelTypes::OptionalTensorList,
                  fb::CreateOptionalTensorListDirect(out_, &list.items));
  }

 private:
  template <typename T>
  Value member(fb::KernelTypes type, flatbuffers::Offset<T> table) {
    return fb::CreateEValue(out_, type, table.Union());
  }

  flatbuffers::Offset<fb::Tensor> write_tensor(const PteTensor& tensor) {
    flatbuffers::Offset<fb::AllocationDetails> allocation;
    if (tensor.allocation) {
      const uint64_t offset = tensor.allocation->offset;
      allocation =
          fb::CreateAllocationDetails(out_, tensor.allocation->arena, static_cast<uint32_t>(offset),
                                      static_cast<uint32_t>(offset >> 32));
    }
    const uint32_t data =
        tensor.data ? fitting<uint32_t>(uint64_t{*tensor.data} + 1, "an index of data") : 0;
    const auto dynamism =
        tensor.dynamic ? fb::TensorShapeDynamism::DYNAMIC_BOUND : fb::TensorShapeDynamism::STATIC;
    return fb::CreateTensorDirect(out_, scalar_type_of(tensor.dtype), 0, &tensor.sizes,
                                  &tensor.dim_order, false, data, allocation, 0, dynamism);
  }

  flatbuffers::FlatBufferBuilder& out_;
};

// One instruction as a member of the union InstructionArguments.
class InstructionWriter {
 public:
  using Instruction = flatbuffers::Offset<fb::Instruction>;
  explicit InstructionWriter(flatbuffers::FlatBufferBuilder& out) : out_(out) {}

  Instruction write(const PteInstruction& instruction) { return std::visit(*this, instruction); }

  Instruction operator()(const PteKernelCall& call) {
    return member(fb::InstructionArguments::KernelCall,
                  fb::CreateKernelCallDirect(out_, index(call.op), &call.args));
  }
  Instruction operator()(const PteDelegateCall& call) {
    return member(fb::InstructionArguments::DelegateCall,
                  fb::CreateDelegateCallDirect(out_, index(call.delegate), &call.args));
  }
  Instruction operator()(const PteMoveCall& call) {
    return member(fb::InstructionArguments::MoveCall, fb::CreateMoveCall(out_, call.from, call.to));
  }
  Instruction operator()(const PteJumpFalse& jump) {
    return member(fb::InstructionArguments::JumpFalseCall,
                  fb::CreateJumpFalseCall(out_, jump.condition, index(jump.destination)));
  }

 private:
  static int32_t index(uint32_t value) { return fitting<int32_t>(value, "an index"); }

  template <typename T>
  Instruction member(fb::InstructionArguments type, flatbuffers::Offset<T> table) {
    return fb::CreateInstruction(out_, type, table.Union());
  }

  flatbuffers::FlatBufferBuilder& out_;
};

class ProgramWriter {
 public:
  ProgramWriter(const PteModel& model, const PteDataLayout& layout)
      : model_(model), layout_(layout) {}

  flatbuffers::DetachedBuffer write() {
    Offsets<fb::ExecutionPlan> plans;
    for (size_t i = 0; i < model_.methods.size(); ++i) {
      plans.push_back(write_method(model_.methods[i], layout_.delegates[i]));
    }
    Offsets<fb::DataSegment> segments;
    for (const auto& [offset, bytes] : layout_.segments) {
      segments.push_back(fb::CreateDataSegment(out_, offset, bytes));
    }
    const auto constants = with_placeholder(layout_.constants);
    const auto constant_segment = fb::CreateSubsegmentOffsetsDirect(out_, 0, &constants);
    const Offsets<fb::SubsegmentOffsets> states = write_states();
    Offsets<fb::NamedData> named_data;
    for (size_t i = 0; i < model_.named_data.size(); ++i) {
      named_data.push_back(
          fb::CreateNamedDataDirect(out_, model_.named_data[i].key.c_str(), layout_.named_data[i]));
    }
    const Offsets<fb::Buffer> no_buffers;
    const Offsets<fb::BackendDelegateInlineData> no_inline_data;
    fb::FinishProgramBuffer(
        out_, fb::CreateProgramDirect(out_, 0, &plans, &no_buffers, &no_inline_data, &segments,
                                      constant_segment, &states, &named_data));
    return out_.Release();
  }

 private:
  // Flatbuffers end the process where their 31-bit offsets do not reach.
  void check_size() const {
    constexpr uint64_t kMost = uint64_t{1} << 30;
    if (out_.GetSize() < kMost) return;
    throw Error(ErrorCode::kUnsupported,
                "the program without its weights has more than " + std::to_string(kMost) +
                    " bytes, more than a .pte file holds: export the model in parts");
  }

  Offsets<fb::SubsegmentOffsets> write_states() {
    if (layout_.states.empty()) return {};
    const auto offsets = with_placeholder(layout_.states);
    return {fb::CreateSubsegmentOffsetsDirect(out_, layout_.state_segment, &offsets)};
  }

  flatbuffers::Offset<fb::ExecutionPlan> write_method(const PteMethod& method,
                                                      const std::vector<uint32_t>& payloads) {
    Offsets<fb::EValue> values;
    for (const PteValue& value : method.values) {
      values.push_back(ValueWriter(out_).write(value));
      check_size();
    }
    const Offsets<fb::Chain> chains{write_chain(method)};
    Offsets<fb::Operator> operators;
    for (const auto& [name, overload] : method.operators) {
      operators.push_back(fb::CreateOperatorDirect(out_, name.c_str(), overload.c_str()));
    }
    Offsets<fb::BackendDelegate> delegates;
    for (size_t i = 0; i < method.delegates.size(); ++i) {
      delegates.push_back(write_delegate(method.delegates[i], payloads[i]));
    }
    std::vector<int64_t> arenas;
    arenas.reserve(method.arena_sizes.size());
    for (uint64_t size : method.arena_sizes) {
      arenas.push_back(fitting<int64_t>(size, "an arena"));
    }
    const auto no_containers = fb::CreateContainerMetadataDirect(out_, "", "");
    return fb::CreateExecutionPlanDirect(out_, method.name.c_str(), no_containers, &values,
                                         &method.inputs, &method.outputs, &chains, &operators,
                                         &delegates, &arenas);
  }

  flatbuffers::Offset<fb::Chain> write_chain(const PteMethod& method) {
    Offsets<fb::Instruction> instructions;
    for (const PteInstruction& instruction : method.instructions) {
      instructions.push_back(InstructionWriter(out_).write(instruction));
      check_size();
    }
    const std::vector<int32_t> none;
    return fb::CreateChainDirect(out_, &none, &none, &instructions);
  }

  flatbuffers::Offset<fb::BackendDelegate> write_delegate(const PteDelegate& delegate,
                                                          uint32_t segment) {
    Offsets<fb::CompileSpec> specs;
    for (const auto& [key, value] : delegate.compile_specs) {
      const std::vector<uint8_t> bytes(value.begin(), value.end());
      specs.push_back(fb::CreateCompileSpecDirect(out_, key.c_str(), &bytes));
    }
    const auto payload =
        fb::CreateBackendDelegateDataReference(out_, fb::DataLocation::SEGMENT, segment);
    return fb::CreateBackendDelegateDirect(out_, delegate.backend.c_str(), payload, &specs);
  }

  const PteModel& model_;
  const PteDataLayout& layout_;
  flatbuffers::FlatBufferBuilder out_{1 << 16};
};

}  // namespace

flatbuffers::DetachedBuffer program_flatbuffer(const PteModel& model, const PteDataLayout& layout) {
  return ProgramWriter(model, layout).write();
}

}  // namespace portwright
