#include "executorch/xnnpack_check.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "executorch/xnnpack_payload.h"

namespace portwright {
namespace {

namespace fb = fb_xnnpack;
using Named = std::map<std::string_view, uint64_t>;
using Datatype = fb::XNNDatatype;

constexpr size_t kMostDims = 6;            // XNN_MAX_TENSOR_DIMS
constexpr uint32_t kMostExternals = 4096;  // of ExecuTorch's XNNCompiler.cpp
constexpr uint32_t kInputFlag = 1;         // XNN_VALUE_FLAG_EXTERNAL_INPUT
constexpr uint32_t kOutputFlag = 2;        // XNN_VALUE_FLAG_EXTERNAL_OUTPUT

struct BitsRow {
  Datatype datatype;
  uint64_t bits;
};
constexpr BitsRow kBits[] = {
    {Datatype::xnn_datatype_fp32, 32},    {Datatype::xnn_datatype_fp16, 16},
    {Datatype::xnn_datatype_qint8, 8},    {Datatype::xnn_datatype_quint8, 8},
    {Datatype::xnn_datatype_qint32, 32},  {Datatype::xnn_datatype_qcint8, 8},
    {Datatype::xnn_datatype_qcint32, 32}, {Datatype::xnn_datatype_qcint4, 4},
    {Datatype::xnn_datatype_qdint8, 8},   {Datatype::xnn_datatype_qbint4, 4},
    {Datatype::xnn_datatype_int32, 32},   {Datatype::xnn_datatype_bf16, 16},
};

// None of a datatype that the table has not, or of more than 64 bits hold.
std::optional<uint64_t> bytes_of(const fb::XNNTensorValue& tensor) {
  const auto* row = std::ranges::find(kBits, tensor.datatype(), &BitsRow::datatype);
  if (row == std::end(kBits)) return std::nullopt;
  uint64_t bits = row->bits;
  if (tensor.dims() != nullptr) {
    for (const uint32_t size : *tensor.dims()) {
      if (__builtin_mul_overflow(bits, uint64_t{size}, &bits)) return std::nullopt;
    }
  }
  return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

class GraphCheck {
 public:
  GraphCheck(const XnnpackPayload& payload, const Named& named, Problems& problems)
      : payload_(payload), graph_(*payload.graph), named_(named), problems_(problems) {}

  std::vector<XnnpackExternal> run() {
    if (graph_.num_externs() > kMostExternals) {
      add("has " + std::to_string(graph_.num_externs()) + " external values, more than " +
          std::to_string(kMostExternals));
    }
    for (const fb::XValue* value : *graph_.xvalues()) check_value(*value);
    for (const fb::XNode* node : *graph_.xnodes()) check_node(*node);
    for (const auto& [id, value] : values_) {
      if (value.is_output && !value.is_defined) add("never writes its output " + name(id));
    }
    return externals_;
  }

 private:
  struct Value {
    size_t rank = 0;
    bool is_defined = false;  // constants and inputs before the nodes, others by a node
    bool is_output = false;
  };

  static std::string name(uint32_t id) { return "value " + std::to_string(id); }
  void add(const std::string& what) { problems_.add("XNNPACK's graph " + what); }

  void check_value(const fb::XValue& value) {
    const fb::XNNTensorValue* tensor = tensor_of(value);
    if (tensor == nullptr) return add("has a value without a tensor");
    const uint32_t id = tensor->id_out();
    const size_t rank = tensor->dims() == nullptr ? 0 : tensor->dims()->size();
    if (rank != tensor->num_dims()) add("counts the dims of " + name(id) + " wrongly");
    if (rank > kMostDims) {
      add("has " + name(id) + " with " + std::to_string(rank) + " dims, at most " +
          std::to_string(kMostDims));
    }
    const bool is_constant = tensor->constant_buffer_idx() != 0;
    const bool is_input = (tensor->flags() & kInputFlag) != 0;
    const bool is_output = (tensor->flags() & kOutputFlag) != 0;
    if (is_constant) {
      if (is_input || is_output) add("has " + name(id) + " as a constant that is passed, too");
      check_constant(id, tensor->constant_buffer_idx(), bytes_of(*tensor));
    }
    check_external(*tensor, rank);
    check_quantization(value, *tensor);
    if (id == kNoXnnpackValue ||
        !values_.emplace(id, Value{rank, is_constant || is_input, is_output}).second) {
      add("has " + name(id) + " twice");
    }
  }

  void check_external(const fb::XNNTensorValue& tensor, size_t rank) {
    const uint32_t id = tensor.id_out(), external = tensor.external_id(), flags = tensor.flags();
    if ((flags & ~(kInputFlag | kOutputFlag)) != 0) {
      add("has flags " + std::to_string(flags) + " of " + name(id));
    }
    if ((flags != 0) != (external != kNoXnnpackValue)) {
      add("passes " + name(id) + " without saying where, or says where and does not pass it");
    }
    if (external == kNoXnnpackValue) return;
    if (external >= graph_.num_externs()) {
      add("passes " + name(id) + " as argument " + std::to_string(external) + " of " +
          std::to_string(graph_.num_externs()));
    }
    if (!external_ids_.insert(external).second) {
      add("passes two values as argument " + std::to_string(external));
    }
    externals_.push_back({external, (flags & kOutputFlag) != 0, tensor.datatype(), rank});
  }

  void check_quantization(const fb::XValue& value, const fb::XNNTensorValue& tensor) {
    const auto* quantized = value.xvalue_union_as_XNNQuantizedTensorValue();
    if (quantized == nullptr) return;
    const uint32_t id = tensor.id_out();
    if (quantized->quant_params() == nullptr) add("has no scale for " + name(id));
    if (const auto* channels = quantized->quant_params_as_PerChannelQuant()) {
      check_channels(*channels, tensor);
    }
    if (const auto* groups = quantized->quant_params_as_PerChannelGroupQuant()) {
      check_groups(*groups, tensor);
    }
  }

  void check_channels(const fb::PerChannelQuant& scales, const fb::XNNTensorValue& tensor) {
    const uint32_t id = tensor.id_out();
    if (scales.scale() == nullptr) return add("has no list of scales for " + name(id));
    const bool stored = scales.scale_buffer_idx() != 0;
    const uint32_t count = stored ? scales.num_scales() : scales.scale()->size();
    const auto dim = static_cast<uint32_t>(scales.channel_dim());
    if (tensor.dims() == nullptr || dim >= tensor.dims()->size() ||
        tensor.dims()->Get(dim) != count) {
      add("has " + std::to_string(count) + " scales for dim " + std::to_string(dim) + " of " +
          name(id));
    }
    if (stored) check_constant(id, scales.scale_buffer_idx(), uint64_t{count} * sizeof(float));
  }

  void check_groups(const fb::PerChannelGroupQuant& scales, const fb::XNNTensorValue& tensor) {
    const uint32_t id = tensor.id_out();
    const bool stored = scales.scale_buffer_idx() != 0;
    if (tensor.dims() == nullptr || tensor.dims()->size() < 2 || scales.group_size() <= 0 ||
        (!stored && scales.scale() == nullptr)) {
      return add("has no usable groups of scales for " + name(id));
    }
    constexpr uint64_t kScaleBytes = 2;  // bfloat16
    if (stored) {
      check_constant(id, scales.scale_buffer_idx(), scales.num_scales() * kScaleBytes);
    }
  }

  void check_constant(uint32_t id, uint32_t index, std::optional<uint64_t> needed) {
    const auto* table = graph_.constant_data();
    if (table == nullptr || index >= table->size()) {
      return add("has " + name(id) + " of constant " + std::to_string(index) + " of " +
                 std::to_string(table == nullptr ? 0 : table->size()));
    }
    const fb::ConstantDataOffset& entry = *table->Get(index);
    if (entry.named_key() == nullptr) {
      if (entry.offset() > payload_.constant_bytes ||
          entry.size() > payload_.constant_bytes - entry.offset()) {
        add("has " + name(id) + " of a constant outside of the payload");
      }
    } else {
      check_named(id, entry.named_key()->string_view(), entry.size());
    }
    if (needed && *needed > entry.size()) {
      add("needs " + std::to_string(*needed) + " bytes for " + name(id) + ", its constant has " +
          std::to_string(entry.size()));
    }
  }

  void check_named(uint32_t id, std::string_view key, uint64_t bytes) {
    const auto found = named_.find(key);
    if (found == named_.end()) {
      return add("has " + name(id) + " of '" + std::string(key) + "', which the file has not");
    }
    if (found->second != bytes) {
      add("has " + std::to_string(bytes) + " bytes of '" + std::string(key) + "', the file has " +
          std::to_string(found->second));
    }
  }

  void check_node(const fb::XNode& node) {
    const std::string type = fb::EnumNameXNodeUnion(node.xnode_union_type());
    const XnnpackNode facts = node_of(node);
    if (!facts.fault.empty()) add("has a node " + type + ": " + facts.fault);
    for (uint32_t id : facts.reads) check_read(type, id);
    for (uint32_t id : facts.writes) check_write(type, id);
    if (!facts.reads.empty()) check_ranks(type, facts.reads[0], facts.input_ranks);
    if (!facts.writes.empty()) check_ranks(type, facts.writes[0], facts.output_ranks);
  }

  void check_read(const std::string& type, uint32_t id) {
    const auto value = values_.find(id);
    if (value == values_.end()) {
      add("has a node " + type + " of " + name(id) + ", which is not there");
    } else if (!value->second.is_defined) {
      add("has a node " + type + " of " + name(id) + " before the node that writes it");
    }
  }

  void check_write(const std::string& type, uint32_t id) {
    const auto value = values_.find(id);
    if (value == values_.end()) {
      return add("has a node " + type + " that writes " + name(id) + ", which is not there");
    }
    if (value->second.is_defined) {
      add("has a node " + type + " that writes " + name(id) + ", which is written already");
    }
    value->second.is_defined = true;
  }

  void check_ranks(const std::string& type, uint32_t id, const std::vector<size_t>& lengths) {
    const auto value = values_.find(id);
    if (value == values_.end()) return;
    for (size_t length : lengths) {
      if (length == value->second.rank) continue;
      add("has a node " + type + " with " + std::to_string(length) + " numbers for the " +
          std::to_string(value->second.rank) + " dims of " + name(id));
    }
  }

  const XnnpackPayload& payload_;
  const fb::XNNGraph& graph_;
  const Named& named_;
  Problems& problems_;
  std::map<uint32_t, Value> values_;
  std::set<uint32_t> external_ids_;
  std::vector<XnnpackExternal> externals_;
};

}  // namespace

std::vector<XnnpackExternal> check_xnnpack(std::string_view payload, const Named& named_bytes,
                                           Problems& problems) {
  try {
    return GraphCheck(XnnpackPayload::read(payload), named_bytes, problems).run();
  } catch (const Error& error) {
    problems.add(error.what());
    return {};
  }
}

}  // namespace portwright
