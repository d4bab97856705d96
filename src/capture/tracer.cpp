#include "capture/tracer.h"

#include <algorithm>
#include <atomic>

#include "capture/sym_node.h"
#include "capture/torch_weight.h"
#include "ir/data_symbols.h"

namespace portwright {
namespace {

// DispatchKey::TESTING_ONLY_GenericMode sits above autograd, so composites arrive whole.
constexpr c10::DispatchKey kTracerKey = c10::DispatchKey::TESTING_ONLY_GenericMode;

thread_local Tracer* active_tracer = nullptr;

uint64_t next_capture_id() {
  static std::atomic<uint64_t> counter{0};
  return ++counter;
}

// Expressions of a node as they stand after all equalities are known.
Argument resolved(const Argument& argument, const SymbolTable& symbols) {
  if (const auto* expr = std::get_if<Expr>(&argument)) return symbols.resolve(*expr);
  if (const auto* real = std::get_if<Real>(&argument)) return symbols.resolve(*real);
  if (const auto* list = std::get_if<IntList>(&argument)) {
    IntList items;
    items.reserve(list->size());
    for (const Expr& item : *list) items.push_back(symbols.resolve(item));
    return items;
  }
  return argument;
}

void resolve_all(Graph& graph, const SymbolTable& symbols) {
  for (Value& value : graph.values) {
    for (Expr& size : value.type.shape) size = symbols.resolve(size);
    if (!value.type.strides) continue;
    for (Expr& stride : *value.type.strides) stride = symbols.resolve(stride);
  }
  for (Node& node : graph.nodes) {
    for (Graph& body : node.graphs) resolve_all(body, symbols);
    if (binds_symbol(node)) continue;  // it names the symbol itself
    for (Argument& argument : node.arguments) argument = resolved(argument, symbols);
  }
}

}  // namespace

Tracer::Tracer(OpCatalog& catalog) : capture_id_(next_capture_id()), catalog_(catalog) {
  module_ids_.emplace("", 0);
}

Tracer::~Tracer() { stop(); }

Tracer* Tracer::active() { return active_tracer; }

void Tracer::start() {
  if (active_tracer != nullptr) {
    throw Error(ErrorCode::kInvalidArgument,
                "a capture is already running on this thread: captures do not nest");
  }
  active_tracer = this;
  c10::impl::tls_set_dispatch_key_included(kTracerKey, true);
}

void Tracer::stop() {
  if (active_tracer != this) return;
  c10::impl::tls_set_dispatch_key_included(kTracerKey, false);
  active_tracer = nullptr;
}

void Tracer::set_weights(std::vector<NamedWeight> weights) {
  weights_ = std::move(weights);
  for (size_t i = 0; i < weights_.size(); ++i) {
    weight_by_identity_.try_emplace(storage_identity(weights_[i].tensor), i);
  }
}

void Tracer::trace_weights(const std::vector<std::string>& targets) {
  for (const NamedWeight& weight : weights_) {
    if (std::find(targets.begin(), targets.end(), weight.target) == targets.end()) continue;
    traced_weights_.insert(TracedTensorImpl::of(stand_in(weight.tensor))->base().get());
  }
}

at::Tensor Tracer::add_input(const std::string& name, const at::Tensor& sample,
                             std::vector<Expr> shape) {
  if (static_cast<int64_t>(shape.size()) != sample.dim()) {
    throw Error(ErrorCode::kInternal, "input " + name + " has another rank than its shape");
  }
  const ValueId value =
      program_->graph.add_value({to_dtype(sample.scalar_type()), std::move(shape), {}}, name);
  at::Tensor traced = wrap(value);
  user_inputs_.push_back({name, value, traced});
  samples_.emplace(value, sample);
  return traced;
}

const TensorType& Tracer::type(ValueId id) {
  TensorType& type = program_->graph.values[id].type;
  const size_t epoch = symbols().replacement_count();
  if (epoch == 0) return type;
  if (type_epochs_.size() <= id) type_epochs_.resize(program_->graph.values.size(), 0);
  if (type_epochs_[id] == epoch) return type;
  for (Expr& size : type.shape) size = symbols().resolve(size);
  if (type.strides) {
    for (Expr& stride : *type.strides) stride = symbols().resolve(stride);
    type = normalized(std::move(type));
  }
  type_epochs_[id] = epoch;
  return type;
}

const at::Tensor* Tracer::constant(ValueId id) const {
  auto found = constants_.find(id);
  return found == constants_.end() ? nullptr : &found->second;
}

at::Tensor Tracer::wrap(ValueId value) {
  auto base = std::make_shared<AliasBase>();
  base->value = value;
  return at::Tensor(c10::make_intrusive<TracedTensorImpl>(*this, value, std::move(base), nullptr));
}

ValueId Tracer::constant_value(const at::Tensor& tensor) {
  const c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  if (auto found = constant_ids_.find(impl); found != constant_ids_.end()) return found->second;
  require_plain_cpu(tensor);
  const std::string identity = storage_identity(tensor);
  kept_alive_.push_back(tensor);
  constant_storages_.insert(tensor.storage().unsafeGetStorageImpl());
  if (auto found = constant_by_identity_.find(identity); found != constant_by_identity_.end()) {
    constant_ids_.emplace(impl, found->second);
    return found->second;
  }
  TensorType type{to_dtype(tensor.scalar_type()), {}, {}};
  for (int64_t size : tensor.sizes()) type.shape.emplace_back(size);
  type.strides.emplace();
  for (int64_t stride : tensor.strides()) type.strides->emplace_back(stride);
  const ValueId value = program_->graph.add_value(normalized(std::move(type)));
  constants_.emplace(value, tensor);
  constant_ids_.emplace(impl, value);
  constant_by_identity_.emplace(identity, value);
  return value;
}

void Tracer::enter_module(const void* module) {
  uint32_t index = module_stack_.back();
  if (auto found = module_paths_.find(module); found != module_paths_.end()) {
    auto [entry, added] = module_ids_.try_emplace(
        found->second, static_cast<uint32_t>(program_->module_paths.size()));
    if (added) program_->module_paths.push_back(found->second);
    index = entry->second;
  }
  module_stack_.push_back(index);
}

void Tracer::leave_module() {
  if (module_stack_.size() > 1) module_stack_.pop_back();
}

std::string Tracer::current_module() const { return program_->module_paths[module_stack_.back()]; }
uint32_t Tracer::module_index() { return module_stack_.back(); }

uint32_t Tracer::source_index(const SourceLine& source) {
  if (!source.known()) return 0;
  auto [entry, added] = source_ids_.try_emplace(
      to_string(source), static_cast<uint32_t>(program_->source_lines.size()));
  if (added) program_->source_lines.push_back(source);
  return entry->second;
}

// States every size by the symbols that are left after all that was learnt.
void Tracer::apply_equalities() {
  if (!symbols().has_replacements()) return;
  resolve_all(program_->graph, symbols());
}

std::shared_ptr<Program> Tracer::finish(
    const std::vector<std::pair<std::string, at::Tensor>>& outputs) {
  add_outputs(outputs);
  for (ValueId id : program_->graph.outputs) require_live({ValueRef{id}});
  add_inputs();
  apply_equalities();
  require_own_symbols();
  return program_;
}

std::shared_ptr<Program> Tracer::unfinished() {
  Graph& graph = program_->graph;
  if (!graph.inputs.empty()) return program_;  // it failed after the trace
  graph.outputs.clear();
  program_->outputs.clear();
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend() && graph.outputs.empty();
       ++node) {
    for_each_output(*node, [&](ValueId id) {
      graph.outputs.push_back(id);
      const std::string name = "last_" + std::to_string(program_->outputs.size());
      program_->outputs.push_back({OutputKind::kUserOutput, name});
    });
  }
  add_inputs();
  apply_equalities();
  return program_;
}

// What was written in place is an output too, before the user's own: torch.export's order.
void Tracer::add_outputs(const std::vector<std::pair<std::string, at::Tensor>>& outputs) {
  auto emit = [&](OutputKind kind, const std::string& target, const at::Tensor& tensor) {
    auto* traced = TracedTensorImpl::of(tensor);
    program_->graph.outputs.push_back(traced ? current_value(*traced) : constant_value(tensor));
    program_->outputs.push_back({kind, target});
  };
  auto written = [](const at::Tensor& tensor) {
    return TracedTensorImpl::of(tensor)->base()->version > 0;
  };
  for (const NamedWeight& weight : weights_) {
    auto found = stand_ins_.find(weight.tensor.unsafeGetTensorImpl());
    if (found == stand_ins_.end() || !written(found->second)) continue;
    emit(OutputKind::kBufferMutation, weight.target, found->second);
  }
  for (const UserInput& input : user_inputs_) {
    if (written(input.traced)) emit(OutputKind::kUserInputMutation, input.name, input.traced);
  }
  for (const auto& [name, tensor] : outputs) {
    auto stand_in =
        tensor.defined() ? stand_ins_.find(tensor.unsafeGetTensorImpl()) : stand_ins_.end();
    emit(OutputKind::kUserOutput, name,
         stand_in != stand_ins_.end() && written(stand_in->second) ? stand_in->second : tensor);
  }
}

// Parameters, buffers, lifted constants, then the user's: torch.export's order.
void Tracer::add_inputs() {
  Graph& graph = program_->graph;
  std::vector<std::pair<size_t, ValueId>> named;
  std::vector<ValueId> lifted;
  for (const auto& [value, tensor] : constants_) {
    auto found = weight_by_identity_.find(storage_identity(tensor));
    if (found != weight_by_identity_.end()) {
      named.emplace_back(found->second, value);
    } else {
      lifted.push_back(value);
    }
  }
  std::sort(named.begin(), named.end());
  std::sort(lifted.begin(), lifted.end());
  auto add_weight = [&](InputKind kind, const std::string& target, bool persistent, ValueId value,
                        const at::Tensor& tensor) {
    graph.inputs.push_back(value);
    graph.values[value].name = target;
    program_->inputs.push_back({kind, target, persistent, torch_weight(tensor)});
  };
  for (InputKind kind : {InputKind::kParameter, InputKind::kBuffer}) {
    for (const auto& [index, value] : named) {
      // The model's own tensor: what was seen may be a view that looks the same.
      const NamedWeight& weight = weights_[index];
      if (weight.kind != kind) continue;
      add_weight(kind, weight.target, weight.persistent, value, weight.tensor);
    }
  }
  for (size_t i = 0; i < lifted.size(); ++i) {
    add_weight(InputKind::kConstantTensor, "lifted_tensor_" + std::to_string(i), false, lifted[i],
               constants_.at(lifted[i]));
  }
  for (const UserInput& input : user_inputs_) {
    graph.inputs.push_back(input.value);
    program_->inputs.push_back({InputKind::kUserInput, input.name, true, std::nullopt});
  }
}

}  // namespace portwright
