// Loops whose number of rounds is a symbol. The body is traced twice: once to find what it carries
// on from round to round, then with stand-ins for that. Its nodes are then cut out of the graph
// into the body of one loop node. Both traces are of the first round of the sample inputs; what was
// decided there is checked in every round when the program runs, and here for the sample inputs.
#include <algorithm>
#include <unordered_map>

#include "capture/provenance.h"
#include "capture/sym_node.h"
#include "capture/tracer.h"
#include "ir/data_symbols.h"
#include "ir/loop_node.h"
#include "ir/symbol_scopes.h"

namespace portwright {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  const Place place = current_place();
  throw Error(ErrorCode::kUnsupported, "the loop cannot be captured as one: " + why, place.source,
              place.module_path);
}

// Cuts nodes out of a graph into a graph of their own.
class BodyCutter {
 public:
  explicit BodyCutter(const Graph& outer) : outer_(outer) {}

  void add_input(ValueId id) { body_.inputs.push_back(define(id)); }

  void add_node(Node node) {
    for (Argument& argument : node.arguments) {
      argument = map_values(argument, [this](ValueId id) { return use(id); });
    }
    for (Output& output : node.outputs) {
      if (auto* id = std::get_if<ValueId>(&output)) {
        *id = define(*id);
      } else if (auto* list = std::get_if<ValueList>(&output)) {
        for (ValueId& item : *list) {
          if (item != kNoValue) item = define(item);
        }
      }
    }
    body_.nodes.push_back(std::move(node));
  }

  void add_output(ValueId id) { body_.outputs.push_back(use(id)); }

  // The body, and the outer values that it reads, which are its last inputs.
  std::pair<Graph, ValueList> take() {
    for (ValueId id : captures_) body_.inputs.push_back(inner_.at(id));
    return {std::move(body_), std::move(captures_)};
  }

 private:
  ValueId define(ValueId id) {
    const ValueId inner = body_.add_value(outer_.type(id));
    inner_[id] = inner;
    return inner;
  }

  ValueId use(ValueId id) {
    if (auto found = inner_.find(id); found != inner_.end()) return found->second;
    captures_.push_back(id);
    return define(id);
  }

  const Graph& outer_;
  Graph body_;
  ValueList captures_;
  std::unordered_map<ValueId, ValueId> inner_;
};

}  // namespace

c10::SymNode Tracer::begin_loop(const Expr& trips) {
  if (symbols().hint(trips) <= 0) refuse("the sample inputs give it no round");
  const Place place = current_place();
  SymbolInfo info;
  info.range = {0, Interval::kInfinity};
  info.origin = "the counter of a loop";
  if (place.source.known()) info.origin += " at " + to_string(place.source);
  info.unbacked = true;
  info.is_size = false;
  const Expr counter = symbols().add_symbol(std::move(info));
  const std::vector<Guard> guards = symbols().guards();
  symbols().guard(Predicate::compare(counter, Relation::kLt, trips), GuardKind::kDecision,
                  place.source, place.module_path);
  symbols().set_guards(guards);  // learnt, but nothing to check: it holds in every round
  OpenLoop loop;
  loop.trips = trips;
  loop.counter = *counter.symbol();
  loop.first_node = program_->graph.nodes.size();
  loop.first_value = static_cast<ValueId>(program_->graph.values.size());
  loop.guards = symbols().guards().size();
  loop.first_symbol = static_cast<SymbolId>(symbols().size());
  // What was made before is not written for real: that would happen twice, however often it runs.
  loop.storages = std::exchange(fresh_storages_, {});
  loops_.push_back(std::move(loop));
  return c10::make_intrusive<TracedSymNode>(counter, symbols_ptr());
}

// Bases that were there before the loop and are written in it are carried on.
void Tracer::note_write_in_loops(const std::shared_ptr<AliasBase>& base) {
  for (OpenLoop& loop : loops_) {
    if (is_older(*base, loop.first_value)) loop.written.push_back({base, base->value});
  }
}

// A call counts as the same in both rounds of tracing when its operator, its line and its numbers
// are; symbols are compared at the sample inputs. Constants are folded in the first round only, so
// calls are compared, not nodes.
void Tracer::note_call_in_loops(const OpInfo& op, const torch::jit::Stack& stack) {
  size_t hash = std::hash<const void*>()(&op);
  const auto mix = [&hash](size_t value) { hash = hash * 1000003 + value; };
  const auto mix_number = [&](const Argument& argument) {
    mix(argument.index());
    if (const auto* expr = std::get_if<Expr>(&argument)) mix(symbols().hint(*expr));
    if (const auto* number = std::get_if<double>(&argument)) mix(std::hash<double>()(*number));
    if (const auto* flag = std::get_if<bool>(&argument)) mix(*flag ? 1 : 2);
    if (const auto* text = std::get_if<std::string>(&argument))
      mix(std::hash<std::string>()(*text));
    if (const auto* list = std::get_if<IntList>(&argument)) {
      mix(list->size());
      for (const Expr& item : *list) mix(symbols().hint(item));
    }
  };
  mix(current_provenance().source);
  for (size_t i = 0; i < op.operands.size(); ++i) {
    const c10::IValue& value = stack[stack.size() - op.operands.size() + i];
    const OperandKind kind = op.operands[i].kind;
    if (kind == OperandKind::kTensorList || kind == OperandKind::kOptionalTensorList) continue;
    const bool tensor = value.isTensor() && value.toTensor().defined();
    if (tensor && !value.toTensor().unsafeGetTensorImpl()->is_wrapped_number()) continue;
    mix_number(to_argument(*this, value, kind));
  }
  for (OpenLoop& loop : loops_) loop.calls.push_back(hash);
}

void Tracer::forget_nodes_since(size_t first_node) {
  Graph& graph = program_->graph;
  std::unordered_set<SymbolId> bound;
  for (size_t i = first_node; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for_each_output(node, [&](ValueId id) { ended_.insert(id); });
    if (binds_symbol(node)) bound.insert(bound_symbol(node));
  }
  graph.nodes.erase(graph.nodes.begin() + static_cast<int64_t>(first_node), graph.nodes.end());
  producers_.clear();
  producers_known_ = 0;
  // Also of values from before the loop that were read in it: later they are read again.
  const auto over = [&](const auto& item) {
    const auto symbol = item.second.symbol();
    return ended_.contains(item.first) || (symbol && bound.contains(*symbol));
  };
  std::erase_if(item_symbols_, over);
  std::erase_if(counts_, over);
}

std::vector<at::Tensor> Tracer::restart_loop(const std::vector<at::Tensor>& carried) {
  OpenLoop& loop = loops_.back();
  forget_nodes_since(loop.first_node);
  const auto stand_in_for = [&](ValueId initial) {
    const ValueId value = program_->graph.add_value(type(initial));
    loop.initial.push_back(initial);
    loop.carried.push_back(value);
    initial_of_.emplace(value, initial);
    return value;
  };
  std::vector<at::Tensor> stand_ins;
  for (const at::Tensor& tensor : carried) {
    auto* traced = TracedTensorImpl::of(tensor);
    // A view that was brought up to date in the first round only is so once more.
    if (traced && ended_.contains(traced->value)) traced->version = UINT64_MAX;
    stand_ins.push_back(
        wrap(stand_in_for(traced ? current_value(*traced) : constant_value(tensor))));
  }
  for (const WrittenBase& written : loop.written) {
    written.base->value = stand_in_for(written.before);
    ++written.base->version;
  }
  require_live({loop.initial});
  loop.bases = std::exchange(loop.written, {});
  loop.first_node = program_->graph.nodes.size();  // views of what was written are replayed before
  loop.first_value = static_cast<ValueId>(program_->graph.values.size());
  loop.second_symbol = static_cast<SymbolId>(symbols().size());
  loop.first_calls = std::exchange(loop.calls, {});
  fresh_storages_.clear();
  return stand_ins;
}

// The stand-ins themselves count as the loop's own; a base written only in the second round of
// tracing would be missing among what is carried.
void Tracer::check_body(const OpenLoop& loop) {
  for (const WrittenBase& written : loop.written) {
    const bool known = std::any_of(loop.bases.begin(), loop.bases.end(),
                                   [&](const auto& base) { return base.base == written.base; });
    if (!known) refuse("it writes to other tensors in its second round");
  }
  if (loop.calls != loop.first_calls) refuse("its first round differs from the others");
  if (symbols().replacement(loop.counter)) refuse("a decision fixes its counter");
}

// What was decided on a symbol of the first round of tracing has been learnt, so it is checked of
// the symbol that took its place in the second.
void Tracer::restate_guards(const OpenLoop& loop) {
  const size_t count = loop.second_symbol - loop.first_symbol;
  if (symbols().size() - loop.second_symbol != count) {
    refuse("its first round reads other numbers than the others");
  }
  std::vector<Guard> guards = symbols().guards();
  for (size_t i = loop.guards; i < guards.size(); ++i) {
    guards[i].predicate = guards[i].predicate.substitute([&](SymbolId id) -> std::optional<Expr> {
      if (id < loop.first_symbol || id >= loop.second_symbol) return std::nullopt;
      return symbols().symbol(id + static_cast<SymbolId>(count));
    });
  }
  symbols().set_guards(std::move(guards));
}

bool Tracer::depends_on_round(const Expr& expr, const OpenLoop& loop) const {
  bool found = false;
  for_each_symbol(
      expr, [&](SymbolId id) { found = found || id == loop.counter || id >= loop.first_symbol; });
  return found;
}

// The dim in which the rounds of a loop differ; nothing when all are alike.
std::optional<size_t> Tracer::ragged_dim(const TensorType& type, const OpenLoop& loop) const {
  std::optional<size_t> found;
  for (size_t dim = 0; dim < type.rank(); ++dim) {
    if (!depends_on_round(type.shape[dim], loop)) continue;
    if (found) refuse("what it collects changes its shape in more than one dim");
    found = dim;
  }
  return found;
}

// The items that are stacked, and those that are joined along a dim of `dims`. The lengths of the
// latter are stacked as well, as the last of the former.
std::pair<ValueList, ValueList> Tracer::split_items(const OpenLoop& loop, const ValueList& items,
                                                    IntList& dims) {
  ValueList stacked, joined, lengths;
  for (ValueId id : items) {
    const auto dim = ragged_dim(type(id), loop);
    (dim ? joined : stacked).push_back(id);
    if (!dim) continue;
    dims.emplace_back(*dim);
    lengths.push_back(record_one("aten.scalar_tensor.default",
                                 {type(id).shape[*dim], DType::kInt64, None{}, None{}, None{}}));
  }
  stacked.insert(stacked.end(), lengths.begin(), lengths.end());
  return {std::move(stacked), std::move(joined)};
}

// Runs what the symbols of all rounds need on the sample inputs, so that conditions on them are
// checked. Gives the sums of the last `lengths` that are stacked.
std::vector<int64_t> Tracer::check_rounds(const Node& node, size_t lengths) {
  const Node reads = reading_part(node, lengths);
  const LoopNode loop = as_loop(reads);
  ValueList wanted = loop.initial;
  wanted.insert(wanted.end(), loop.captures.begin(), loop.captures.end());
  std::vector<int64_t> totals;
  try {
    const auto values = sample_loop(reads, sample_all(wanted));
    c10::impl::ExcludeDispatchKeyGuard exclude(c10::DispatchKey::TESTING_ONLY_GenericMode);
    for (ValueId id : loop.stacked) totals.push_back(values.at(id).sum().item<int64_t>());
  } catch (const Error& error) {
    refuse(std::string("its rounds differ: ") + error.what());
  }
  return totals;
}

std::pair<std::vector<at::Tensor>, std::vector<Tracer::Collected>> Tracer::end_loop(
    const std::vector<at::Tensor>& carried, const std::vector<at::Tensor>& items) {
  const auto value_of = [&](const at::Tensor& tensor) {
    auto* traced = TracedTensorImpl::of(tensor);
    return traced ? current_value(*traced) : constant_value(tensor);
  };
  check_body(loops_.back());
  restate_guards(loops_.back());
  ValueList results;
  for (const at::Tensor& tensor : carried) results.push_back(value_of(tensor));
  ValueList item_values;
  for (const at::Tensor& tensor : items) item_values.push_back(value_of(tensor));
  require_live({results, item_values});
  IntList dims;
  auto [stacked_items, joined_items] = split_items(loops_.back(), item_values, dims);
  OpenLoop loop = std::move(loops_.back());
  loops_.pop_back();
  fresh_storages_.insert(loop.storages.begin(), loop.storages.end());
  for (const WrittenBase& written : loop.bases) results.push_back(written.base->value);
  for (size_t i = 0; i < results.size(); ++i) {
    const TensorType before = type(loop.carried[i]);
    if (type(results[i]).dtype != before.dtype || type(results[i]).shape != before.shape) {
      refuse("what it carries from round to round changes its dtype or shape");
    }
  }

  Graph& graph = program_->graph;
  BodyCutter cutter(graph);
  for (ValueId id : loop.carried) cutter.add_input(id);
  for (size_t i = loop.first_node; i < graph.nodes.size(); ++i) cutter.add_node(graph.nodes[i]);
  for (const ValueList& ids : {results, stacked_items, joined_items}) {
    for (ValueId id : ids) cutter.add_output(id);
  }
  forget_nodes_since(loop.first_node);
  ended_.insert(loop.carried.begin(), loop.carried.end());
  auto [body, captures] = cutter.take();

  const auto define = [&](TensorType type) {
    type.strides.reset();
    return graph.add_value(std::move(type));
  };
  ValueList last, stacked, joined;
  for (ValueId id : loop.initial) last.push_back(define(type(id)));
  for (ValueId id : stacked_items) {
    TensorType item = type(id);
    item.shape.insert(item.shape.begin(), loop.trips);
    stacked.push_back(define(std::move(item)));
  }
  Node node;
  node.op = kLoop;
  node.arguments = {loop.trips, symbols().symbol(loop.counter), loop.initial, std::move(captures),
                    dims};
  node.outputs = {last, stacked, joined};
  node.graphs.push_back(std::move(body));
  node.provenance = current_provenance();

  // What the rounds decided says something about symbols from outside only if there are rounds.
  std::vector<int64_t> totals;
  const auto own = round_symbols(as_loop(node));
  if (own.size() > 1 || symbols().guards().size() > loop.guards || !dims.empty()) {
    totals = check_rounds(node, dims.size());
    const Place place = current_place();
    symbols().guard(Predicate::compare(loop.trips, Relation::kGe, 1), GuardKind::kDecision,
                    place.source, place.module_path);
  }
  for (SymbolId id = loop.first_symbol; id < symbols().size(); ++id) {
    ended_symbols_.try_emplace(id, symbols().guards().size());
  }
  ended_symbols_.try_emplace(loop.counter, symbols().guards().size());
  const size_t first_length = stacked.size() - dims.size();
  std::vector<Expr> sizes;
  for (size_t i = 0; i < dims.size(); ++i) {
    sizes.push_back(data_symbol(totals[i], {0, Interval::kInfinity}, true));
    TensorType item = type(joined_items[i]);
    item.shape[dims[i].constant()] = sizes.back();
    joined.push_back(define(std::move(item)));
  }
  node.outputs[2] = joined;
  graph.nodes.push_back(std::move(node));
  for (size_t i = 0; i < dims.size(); ++i) {
    bind(kBindSize, {ValueRef{joined[i]}, dims[i], sizes[i]});
  }

  std::pair<std::vector<at::Tensor>, std::vector<Collected>> found;
  for (size_t i = 0; i < last.size(); ++i) {
    if (i < carried.size()) {
      found.first.push_back(wrap(last[i]));
      continue;
    }
    AliasBase& base = *loop.bases[i - carried.size()].base;
    base.value = last[i];
    ++base.version;
  }
  size_t next_stacked = 0, next_joined = 0;
  for (ValueId id : item_values) {
    const bool ragged = next_joined < joined.size() && joined_items[next_joined] == id;
    if (!ragged) {
      found.second.push_back({wrap(stacked[next_stacked++]), std::nullopt, 0});
      continue;
    }
    found.second.push_back({wrap(joined[next_joined]), wrap(stacked[first_length + next_joined]),
                            dims[next_joined].constant()});
    ++next_joined;
  }
  return found;
}

void Tracer::require_live(const std::vector<Argument>& arguments) const {
  for (const Argument& argument : arguments) {
    for_each_value(argument, [&](ValueId id) {
      if (ended_.contains(id)) refuse("a value of one round is used outside it");
    });
  }
}

// A symbol of a round has no value outside it, also where a condition was decided by it later.
void Tracer::require_own_symbols() const {
  const SymbolTable& table = *program_->symbols;
  if (const auto symbol = misplaced_symbol(program_->graph, table)) {
    const SymbolInfo& info = table.info(*symbol);
    throw Error(ErrorCode::kUnsupported,
                info.name + " (" + info.origin +
                    ") is used where it has no value: before it is read, or outside of the loop "
                    "that reads it. Read it earlier, or keep it as a tensor");
  }
  const std::vector<Guard>& guards = table.guards();
  for (size_t i = 0; i < guards.size(); ++i) {
    guards[i].predicate.for_each_symbol([&](SymbolId id) {
      const auto ended = ended_symbols_.find(id);
      if (ended != ended_symbols_.end() && i >= ended->second) {
        refuse("a number of one round decides what is done after it: " +
               to_string(guards[i].predicate));
      }
    });
  }
}

}  // namespace portwright
