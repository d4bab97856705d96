// The dispatcher tracer: while it is active on a thread, every operator call of that thread comes
// to it, composite ones included, and the calls that touch traced tensors become nodes of a
// Program.
//
// How it works: a boxed fallback on DispatchKey::TESTING_ONLY_GenericMode (dispatch.cpp), which
// sits above autograd, is switched on in thread-local state. Operators of the keep set and all
// non-composite ones are recorded; other composites run their C++ implementation, whose parts come
// back. Calls on constants alone run for real. Writes are made functional: see mutation.cpp.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "capture/op_catalog.h"
#include "capture/provenance.h"
#include "capture/traced_tensor.h"
#include "ir/program.h"

namespace portwright {

// A parameter or buffer of the model, before the trace.
struct NamedWeight {
  InputKind kind = InputKind::kParameter;
  std::string target;
  bool persistent = true;
  at::Tensor tensor;
};

class Tracer {
 public:
  explicit Tracer(OpCatalog& catalog);
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // The tracer that is active on this thread, or null.
  static Tracer* active();

  // Before the trace: what the model owns, and its inputs. The shape of an input holds symbols of
  // symbols(); its other dims equal the sample's.
  void set_weights(std::vector<NamedWeight> weights);
  // Weights that are traced from the start, by name: results of calls on them are never constants.
  void trace_weights(const std::vector<std::string>& targets);
  // Weights that the model wrote to after calls on them had become constants, which were wrong for
  // the next run: the trace is to be repeated with these traced.
  const std::vector<std::string>& written_too_late() const { return written_too_late_; }
  at::Tensor add_input(const std::string& name, const at::Tensor& sample, std::vector<Expr> shape);

  // Switches the tracer on and off for the calling thread. Error(kInvalidArgument) when another
  // tracer is active on it; stop() of a tracer that is not active does nothing.
  void start();
  void stop();

  // How operators that a backend cannot lower are traced in parts: gives false for one that it does
  // not know, else leaves the results on the stack.
  using Decompose = std::function<bool(const std::string& name, const c10::OperatorHandle& op,
                                       torch::jit::Stack* stack)>;
  void set_decompositions(Decompose decompose) { decompose_ = std::move(decompose); }

  // The model has seeded the random numbers: what it draws from here on is the same in every run,
  // so it becomes constants. Draws of symbolic sizes are Error(kUnsupported).
  void seed() { seeded_ = true; }

  // For tests: the operator call after `calls` more ones throws Error(kInternal), either before the
  // call does anything or, `late`, when it is done.
  void fail_after(uint64_t calls, bool late) { fault_ = Fault{calls, late}; }

  // After the trace: the program whose user outputs are `outputs` (name, tensor). Mutated buffers
  // and inputs are added to the signature. The tracer is spent.
  std::shared_ptr<Program> finish(const std::vector<std::pair<std::string, at::Tensor>>& outputs);

  // After a trace that failed: the program up to there, whose output is what the last node gives.
  std::shared_ptr<Program> unfinished();

  // The module stack, kept by the wrapper of nn.Module.__call__.
  void enter_module(const void* module);
  void leave_module();
  void name_module(const void* module, const std::string& path) { module_paths_[module] = path; }

  // Around the functions of torch.cond, which are traced one after the other and run both: end
  // throws Error(kUnsupported) where one of them wrote to a tensor from outside or decided on data.
  void begin_branches();
  void end_branches();

  // One operator call: the boxed fallback's body.
  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

  // For the other files of this folder.
  uint64_t capture_id() const { return capture_id_; }
  OpCatalog& catalog() { return catalog_; }
  SymbolTable& symbols() { return *program_->symbols; }
  const std::shared_ptr<SymbolTable>& symbols_ptr() const { return program_->symbols; }
  Program& program() { return *program_; }
  // The type of a value, with learnt equalities applied.
  const TensorType& type(ValueId id);
  const at::Tensor* constant(ValueId id) const;
  std::string current_module() const;
  uint32_t module_index();
  FrameReader& frames() { return frames_; }
  uint32_t source_index(const SourceLine& source);

  // A value, and a call that is being recorded, for messages.
  std::string describe(ValueId id);
  std::string describe_call(const OpInfo& op, const std::vector<Argument>& arguments);

  // Appends a node; gives its results' values in order.
  std::vector<Output> record(const OpInfo& op, std::vector<Argument> arguments);
  // The same for an operator with one tensor result.
  ValueId record_one(const OpInfo& op, std::vector<Argument> arguments);
  ValueId record_one(const std::string& op, std::vector<Argument> arguments);

  // A new traced tensor whose base is `value`.
  at::Tensor wrap(ValueId value);
  // The value that holds the tensor's elements now: replays views of a written base.
  ValueId current_value(TracedTensorImpl& tensor);
  // The value of a tensor that is not traced: a weight or a constant.
  ValueId constant_value(const at::Tensor& tensor);
  // Makes `value` the tensor's elements, through its views back to its base.
  void write(TracedTensorImpl& tensor, ValueId value);

  // Ops' rules: states that two sizes are equal (broadcasting, matmul).
  void require_equal(const Expr& a, const Expr& b);
  // Truth under operators' rules, recorded as a guard when ranges do not settle it.
  // `assume_sizes`: sizes count as 2 or more, for rules that run the same at 0 and 1.
  bool holds(const Predicate& predicate, bool assume_sizes = true);

  // What data decides (data_dependent.cpp): the one integer or bool of a tensor, how many elements
  // of a mask are true, and the size that an operator's result will have. Unbacked symbols.
  Expr symbol_of_item(ValueId id, bool is_size);
  // The element of a 0-d integer tensor that was computed from sizes alone; nothing otherwise.
  std::optional<Expr> item_of_sizes(ValueId id);
  // Of an int or bool tensor: SymInt's, SymBool's. A count is not negative.
  c10::SymNode item_node(TracedTensorImpl& tensor, bool is_count);
  Expr count_of_true(ValueId mask);
  // A size of the node that is being recorded, which its `results` have for the sample inputs.
  Expr size_from_data(const torch::jit::Stack& results, size_t output, int64_t dim);

  // A loop with a symbolic number of rounds (loops.cpp). begin_loop gives the counter; after one
  // round, restart_loop gives stand-ins for the tensors that the rounds carry on (and takes what is
  // written in place itself); after another, end_loop gives what they are after the last round, and
  // the tensors that each round adds to a list: stacked, or joined along the dim in which rounds
  // differ. Error(kUnsupported) when rounds differ in any other way.
  c10::SymNode begin_loop(const Expr& trips);
  std::vector<at::Tensor> restart_loop(const std::vector<at::Tensor>& carried);
  struct Collected {
    at::Tensor tensor;
    std::optional<at::Tensor> lengths;  // of each round's item, when they are joined along `dim`
    int64_t dim = 0;
  };
  std::pair<std::vector<at::Tensor>, std::vector<Collected>> end_loop(
      const std::vector<at::Tensor>& carried, const std::vector<at::Tensor>& items);

  // For the sample inputs (sampling.cpp): a value, and an operator's results.
  at::Tensor sample(ValueId id);
  torch::jit::Stack run_on_samples(const OpInfo& op, const std::vector<Argument>& arguments);

  // Probing (probing.cpp).
  ResultTypes result_types(const OpInfo& op, const std::vector<Argument>& arguments);
  ResultTypes probe(const OpInfo& op, const std::vector<Argument>& arguments);
  DType probe_dtype(const OpInfo& op, const std::vector<Argument>& arguments);

 private:
  void add_outputs(const std::vector<std::pair<std::string, at::Tensor>>& outputs);
  void add_inputs();
  void apply_equalities();

  struct Operands {
    bool traced = false;
    bool batched = false;  // functorch
  };

  struct Fault {
    uint64_t calls;
    bool late;
  };
  void fail_if_due(bool late);
  void check_draw(const OpInfo& op) const;

  Operands inspect(const OpInfo& op, const torch::jit::Stack& stack);
  bool replace_written_constants(const OpInfo& op, torch::jit::Stack* stack);
  std::vector<Argument> take_arguments(const OpInfo& op, torch::jit::Stack* stack);
  bool can_fold(const OpInfo& op, const torch::jit::Stack& stack) const;
  void run_for_real(const OpInfo& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

  bool call_autocast(const OpInfo& op, torch::jit::Stack* stack);
  bool call_decomposed(const OpInfo& op, torch::jit::Stack* stack);
  void take_call(const c10::OperatorHandle& handle, c10::DispatchKeySet keys,
                 torch::jit::Stack* stack);
  void dispatch(const OpInfo& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);
  void call_record(const OpInfo& op, torch::jit::Stack* stack);
  void call_view(const OpInfo& op, torch::jit::Stack* stack);
  std::vector<Argument> with_known_layout(const OpInfo& op, std::vector<Argument> arguments);
  void call_in_place(const OpInfo& op, torch::jit::Stack* stack);
  void call_in_place_view(const OpInfo& op, torch::jit::Stack* stack);
  void call_out(const OpInfo& op, torch::jit::Stack* stack);
  void call_alias(const OpInfo& op, torch::jit::Stack* stack);
  void push_results(const OpInfo& op, const std::vector<Output>& results,
                    const TracedTensorImpl* viewed, const std::vector<Argument>& arguments,
                    torch::jit::Stack* stack);
  std::optional<Expr> operand_of_sizes(const Argument& argument);
  void find_producers();
  void call_data_dependent(const OpInfo& op, torch::jit::Stack* stack);
  Expr data_symbol(int64_t sample, Interval range, bool is_size);
  void bind(const std::string& op, std::vector<Argument> arguments);
  void bind_pending_sizes();
  bool decide(const Predicate& predicate);
  bool read_truth(ValueId id);
  bool read_equal(ValueId a, ValueId b);
  std::unordered_map<ValueId, at::Tensor> sample_all(const std::vector<ValueId>& wanted);
  std::unordered_map<ValueId, at::Tensor> sample_loop(
      const Node& node, const std::unordered_map<ValueId, at::Tensor>& values);
  torch::jit::Stack run_with(const OpInfo& op, const std::vector<Argument>& arguments,
                             const std::unordered_map<ValueId, at::Tensor>& values);
  ValueId functional_result(const OpInfo& op, std::vector<Argument> arguments);

  // The traced tensor that stands in for a real one which the model writes to, or views.
  at::Tensor stand_in(const at::Tensor& real);
  bool may_write_for_real(const at::Tensor& real) const;
  void note_real_results(const OpInfo& op, const torch::jit::Stack& stack, size_t results,
                         const std::vector<c10::IValue>& operands);

  uint64_t capture_id_;
  std::optional<Fault> fault_;
  bool seeded_ = false;
  Decompose decompose_;
  OpCatalog& catalog_;
  std::shared_ptr<Program> program_ = std::make_shared<Program>();
  std::vector<size_t> type_epochs_;  // replacement_count() at which a value's type was resolved

  std::vector<NamedWeight> weights_;
  std::unordered_map<std::string, size_t> weight_by_identity_;  // index into weights_
  std::unordered_map<const c10::TensorImpl*, ValueId> constant_ids_;
  std::unordered_map<std::string, ValueId> constant_by_identity_;
  std::unordered_map<ValueId, at::Tensor> constants_;
  std::vector<at::Tensor> kept_alive_;

  struct UserInput {
    std::string name;
    ValueId value = kNoValue;
    at::Tensor traced;
  };
  std::vector<UserInput> user_inputs_;

  struct RealView {
    at::Tensor parent;
    const OpInfo* op;
    std::vector<Argument> arguments;
    uint32_t output;
  };
  std::unordered_map<const c10::TensorImpl*, at::Tensor> stand_ins_;
  bool any_stand_in_written_ = false;
  std::unordered_set<const AliasBase*> traced_weights_;  // bases of trace_weights()
  std::unordered_set<const void*> folded_storages_;      // read by calls that became constants
  std::vector<std::string> written_too_late_;
  std::unordered_map<const c10::TensorImpl*, RealView> real_views_;
  std::unordered_set<const void*> fresh_storages_;     // made by folded calls of this trace
  std::unordered_set<const void*> constant_storages_;  // that the graph refers to

  struct WrittenBase {
    std::shared_ptr<AliasBase> base;
    ValueId before = kNoValue;
  };
  struct OpenLoop {
    Expr trips;
    SymbolId counter = 0;
    size_t first_node = 0;
    ValueId first_value = 0;
    size_t guards = 0;
    SymbolId first_symbol = 0;                 // of the first round of tracing
    SymbolId second_symbol = 0;                // of the second
    std::vector<size_t> first_calls, calls;    // what each round of tracing called
    std::unordered_set<const void*> storages;  // fresh_storages_ from before the loop
    ValueList initial;                         // what the rounds carry on, before the first
    ValueList carried;                         // its stand-ins in the body
    std::vector<WrittenBase> bases;            // the last of them: written in place
    std::vector<WrittenBase> written;          // in the round that is being traced
  };
  struct OpenBranches {
    ValueId first_value = 0;
    size_t guards = 0;
    std::unordered_set<const void*> storages;  // as in OpenLoop
    bool written = false;                      // something from outside
  };
  std::vector<OpenBranches> branches_;
  bool is_older(const AliasBase& base, ValueId first_value) const;
  void note_write_in_branches(const AliasBase& base);
  void note_write_in_loops(const std::shared_ptr<AliasBase>& base);
  void note_call_in_loops(const OpInfo& op, const torch::jit::Stack& stack);
  void forget_nodes_since(size_t first_node);
  void check_body(const OpenLoop& loop);
  void restate_guards(const OpenLoop& loop);
  bool depends_on_round(const Expr& expr, const OpenLoop& loop) const;
  std::optional<size_t> ragged_dim(const TensorType& type, const OpenLoop& loop) const;
  std::pair<ValueList, ValueList> split_items(const OpenLoop& loop, const ValueList& items,
                                              IntList& dims);
  std::vector<int64_t> check_rounds(const Node& node, size_t lengths);
  void require_own_symbols() const;
  void require_live(const std::vector<Argument>& arguments) const;
  std::vector<OpenLoop> loops_;
  std::unordered_set<ValueId> ended_;                   // values of rounds that are over
  std::unordered_map<SymbolId, size_t> ended_symbols_;  // with the number of guards at their end
  std::unordered_map<ValueId, ValueId> initial_of_;     // stand-in -> its value in the first round

  struct PendingSize {
    Expr symbol;
    size_t output;
    int64_t dim;
  };
  std::vector<PendingSize> pending_sizes_;  // of the node that is being recorded
  std::unordered_map<ValueId, Expr> item_symbols_;
  std::unordered_map<ValueId, Expr> counts_;
  std::unordered_map<ValueId, at::Tensor> samples_;
  std::unordered_map<ValueId, size_t> producers_;
  size_t producers_known_ = 0;

  std::unordered_map<std::string, ResultTypes> probe_memo_;
  std::unordered_map<const void*, std::string> module_paths_;
  std::unordered_map<std::string, uint32_t> module_ids_;
  std::unordered_map<std::string, uint32_t> source_ids_;
  std::vector<uint32_t> module_stack_ = {0};
  FrameReader frames_;
};

// Operand conversion (arguments.cpp).
Argument to_argument(Tracer& tracer, const c10::IValue& value, OperandKind kind);
// The IValue of an argument for a schema position, with symbols read from `values` and tensors from
// `tensor(ValueId)`.
// The operator that an interpreter runs for a node's: views run as reshapes, see interpreter.cpp.
const std::string& runnable_name(const std::string& op);

// A real wrapped scalar that carries a symbolic number in a Python attribute.
bool hides_symbol(const at::Tensor& tensor);

c10::IValue to_ivalue(const Argument& argument, const OperandInfo& operand,
                      std::span<const int64_t> values,
                      const std::function<at::Tensor(ValueId)>& tensor);

}  // namespace portwright
