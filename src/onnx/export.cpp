#include "onnx/export.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "ir/missing_operators.h"
#include "onnx/lowering.h"
#include "onnx/record.h"
#include "passes/bfloat16.h"
#include "passes/complex_pairs.h"

namespace portwright {
namespace {

void check_opset(int64_t opset) {
  if (opset >= kOldestOpset && opset <= kNewestOpset) return;
  throw Error(ErrorCode::kInvalidArgument,
              "opset_version " + std::to_string(opset) + " cannot be written: choose " +
                  std::to_string(kOldestOpset) + " to " + std::to_string(kNewestOpset));
}

void check_lowerings(const Program& program, const OwnLowerings& own) {
  check_operators(
      program, "have no ONNX lowering",
      [&](const Node& node) { return own.contains(node.op) || find_lowering(node.op) != nullptr; },
      [](const Node&) { return true; });
}

void add_inputs(const Program& program, const OnnxOptions& options, Emitter& emit,
                OnnxModel& model) {
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    const InputSpec& spec = program.inputs[i];
    const ValueId id = program.graph.inputs[i];
    emit.bind(id, spec.target);
    const bool user = spec.kind == InputKind::kUserInput;
    const bool with_data =
        !user && (options.export_params || spec.kind == InputKind::kConstantTensor);
    if (with_data) model.initializers.push_back({spec.target, *spec.weight});
    if (!with_data || options.keep_initializers_as_inputs) {
      model.inputs.push_back(value_info(spec.target, program.graph.type(id)));
    }
  }
  // The user's inputs first, in their order.
  std::stable_partition(model.inputs.begin(), model.inputs.end(), [&](const OnnxValueInfo& info) {
    return std::any_of(program.inputs.begin(), program.inputs.end(), [&](const InputSpec& spec) {
      return spec.kind == InputKind::kUserInput && spec.target == info.name;
    });
  });
}

void lower_node(const Program& program, const Node& node, const OwnLowerings& own, Emitter& emit) {
  emit.begin(node);
  try {
    if (const auto found = own.find(node.op); found != own.end()) {
      found->second({emit, node});
    } else {
      find_lowering(node.op)({emit, node});
    }
  } catch (const Error& error) {
    if (error.source().known()) throw;
    throw Error(error.code(), "cannot lower " + node.op + " to ONNX: " + error.what(),
                program.source(node), program.module_path(node));
  }
}

void rename(std::vector<OnnxNode>& nodes,
            const std::unordered_map<std::string, std::string>& renamed) {
  auto apply = [&](std::string& name) {
    if (auto found = renamed.find(name); found != renamed.end()) name = found->second;
  };
  for (OnnxNode& node : nodes) {
    for (std::string& name : node.inputs) apply(name);
    for (std::string& name : node.outputs) apply(name);
    for_each_body(node, [&](OnnxBody& body) { rename(body.nodes, renamed); });
  }
}

// The values that are given to the user.
std::unordered_set<ValueId> user_values(const Program& program) {
  std::unordered_set<ValueId> found;
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    if (program.outputs[i].kind == OutputKind::kUserOutput) found.insert(program.graph.outputs[i]);
  }
  return found;
}

// Gives outputs their names: the node that makes a value is renamed, and where that cannot be (an
// input, a weight, a value that is two outputs) an Identity stands between.
void add_outputs(const Program& program, Emitter& emit, OnnxModel& model) {
  std::unordered_set<std::string> made, taken;
  for (const OnnxNode& node : model.nodes) made.insert(node.outputs.begin(), node.outputs.end());
  for (const OnnxValueInfo& info : model.inputs) taken.insert(info.name);
  for (const OnnxInitializer& item : model.initializers) taken.insert(item.name);
  std::unordered_map<std::string, std::string> renamed;
  const Graph& graph = program.graph;
  const std::unordered_set<ValueId> returned = user_values(program);
  std::unordered_map<ValueId, std::string> names;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const OutputSpec& spec = program.outputs[i];
    const bool is_mutation = spec.kind != OutputKind::kUserOutput;
    if (is_mutation && returned.contains(graph.outputs[i])) continue;  // one output does for both
    std::string name = spec.target;
    if (is_mutation) name += "_mutated";
    while (taken.contains(name)) name += "_output";
    taken.insert(name);
    names.emplace(graph.outputs[i], name);
    const std::string& value = emit.value(graph.outputs[i]);
    if (made.contains(value) && !renamed.contains(value)) {
      renamed.emplace(value, name);
    } else {
      OnnxNode identity;
      identity.op_type = "Identity";
      identity.name = "/" + name + "/Identity";
      identity.inputs = {value};
      identity.outputs = {name};
      model.nodes.push_back(std::move(identity));
    }
    model.outputs.push_back(value_info(name, graph.type(graph.outputs[i])));
  }
  rename(model.nodes, renamed);
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    if (program.outputs[i].kind == OutputKind::kUserOutput) continue;
    model.mutations[program.outputs[i].target] = names.at(graph.outputs[i]);
  }
}

// Drops nodes that nothing uses and adds to `used` what the others read.
void prune_nodes(std::vector<OnnxNode>& nodes, std::unordered_set<std::string>& used) {
  std::vector<OnnxNode> kept;
  for (size_t i = nodes.size(); i-- > 0;) {
    OnnxNode& node = nodes[i];
    const bool live = std::any_of(node.outputs.begin(), node.outputs.end(),
                                  [&](const std::string& name) { return used.contains(name); });
    if (!live) continue;
    used.insert(node.inputs.begin(), node.inputs.end());
    for_each_body(node, [&](OnnxBody& body) {
      for (const OnnxBodyValue& output : body.outputs) used.insert(output.name);
      prune_nodes(body.nodes, used);
    });
    kept.push_back(std::move(node));
  }
  std::reverse(kept.begin(), kept.end());
  nodes = std::move(kept);
}

// Drops nodes and initializers that nothing uses.
void prune(OnnxModel& model) {
  std::unordered_set<std::string> used;
  for (const OnnxValueInfo& info : model.outputs) used.insert(info.name);
  prune_nodes(model.nodes, used);
  std::unordered_set<std::string> named;
  for (const OnnxValueInfo& info : model.outputs) named.insert(info.name);
  std::erase_if(model.value_infos, [&](const OnnxValueInfo& info) {
    return !used.contains(info.name) || named.contains(info.name);
  });
  std::erase_if(model.initializers,
                [&](const OnnxInitializer& item) { return !used.contains(item.name); });
}

OnnxModel lower_real(const Program& program, const OnnxOptions& options,
                     const std::set<std::string>& taken_for_granted = {}) {
  check_lowerings(program, options.lowerings);
  OnnxModel model;
  model.opset = options.opset;
  model.has_other_floats =
      std::any_of(program.graph.values.begin(), program.graph.values.end(), [](const Value& value) {
        return is_floating_point(value.type.dtype) && value.type.dtype != DType::kFloat32;
      });
  Emitter emit(program, model, options.runtime);
  emit.set_lowering([&](const Node& node) { lower_node(program, node, options.lowerings, emit); });
  add_inputs(program, options, emit, model);
  for (const Node& node : program.graph.nodes) emit.lower(node);
  add_outputs(program, emit, model);
  prune(model);
  model.notes.assign(taken_for_granted.begin(), taken_for_granted.end());
  model.metadata = options.metadata;
  std::vector<std::string> notes = options.notes;
  notes.insert(notes.end(), model.notes.begin(), model.notes.end());
  model.metadata[kRecordKey] = onnx_record(program, model, notes, options.versions);
  return model;
}

}  // namespace

OnnxModel lower(const Program& program, const OnnxOptions& options) {
  check_opset(options.opset);
  const bool widens = options.bfloat16_in_float32 && has_bfloat16_values(program);
  if (!widens && !options.fuse && !has_complex_values(program)) return lower_real(program, options);
  Program rewritten = program;
  complex_to_pairs(rewritten);
  if (widens) compute_bfloat16_in_float32(rewritten);
  std::set<std::string> notes;
  if (options.fuse) notes = fuse(rewritten, fusion_target(options.runtime, options.opset));
  return lower_real(rewritten, options, notes);
}

}  // namespace portwright
