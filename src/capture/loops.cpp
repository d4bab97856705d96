// Loops whose number of rounds is a symbol. The body is traced twice: once to find what it carries
// on from round to round, then with stand-ins for that. Its nodes are then cut out of the graph
// into the body of one loop node.
#include <algorithm>
#include <unordered_map>

#include "capture/provenance.h"
#include "capture/sym_node.h"
#include "capture/tracer.h"
#include "ir/data_symbols.h"
#include "ir/loop_node.h"

namespace portwright {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  const Place place = current_place();
  throw Error(ErrorCode::kUnsupported, "the loop cannot be captured as one: " + why, place.source,
              place.module_path);
}

bool mentions(const TensorType& type, SymbolId symbol) {
  bool found = false;
  for (const Expr& size : type.shape) {
    for_each_symbol(size, [&](SymbolId id) { found = found || id == symbol; });
  }
  return found;
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
  loops_.push_back(std::move(loop));
  return c10::make_intrusive<TracedSymNode>(counter, symbols_ptr());
}

// Bases that were there before the loop and are written in it are carried on.
void Tracer::note_write_in_loops(const std::shared_ptr<AliasBase>& base) {
  for (OpenLoop& loop : loops_) {
    const bool outer = base->value < loop.first_value || constants_.contains(base->value);
    if (outer) loop.written.push_back({base, base->value});
  }
}

void Tracer::forget_nodes_since(size_t first_node) {
  Graph& graph = program_->graph;
  for (size_t i = first_node; i < graph.nodes.size(); ++i) {
    for_each_output(graph.nodes[i], [&](ValueId id) { ended_.insert(id); });
  }
  graph.nodes.erase(graph.nodes.begin() + static_cast<int64_t>(first_node), graph.nodes.end());
  producers_.clear();
  producers_known_ = 0;
  std::erase_if(item_symbols_, [&](const auto& item) { return ended_.contains(item.first); });
  std::erase_if(counts_, [&](const auto& item) { return ended_.contains(item.first); });
}

std::vector<at::Tensor> Tracer::restart_loop(const std::vector<at::Tensor>& carried) {
  OpenLoop& loop = loops_.back();
  forget_nodes_since(loop.first_node);
  const auto stand_in_for = [&](ValueId initial) {
    const ValueId value = program_->graph.add_value(type(initial));
    loop.initial.push_back(initial);
    loop.carried.push_back(value);
    return value;
  };
  std::vector<at::Tensor> stand_ins;
  for (const at::Tensor& tensor : carried) {
    auto* traced = TracedTensorImpl::of(tensor);
    stand_ins.push_back(
        wrap(stand_in_for(traced ? current_value(*traced) : constant_value(tensor))));
  }
  for (const WrittenBase& written : loop.written) {
    written.base->value = stand_in_for(written.before);
    ++written.base->version;
  }
  loop.bases = std::exchange(loop.written, {});
  loop.first_value = static_cast<ValueId>(program_->graph.values.size());
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
  const std::vector<Guard>& guards = symbols().guards();
  for (size_t i = loop.guards; i < guards.size(); ++i) {
    bool counted = false;
    guards[i].predicate.for_each_symbol(
        [&](SymbolId id) { counted = counted || id == loop.counter; });
    if (counted) refuse("its rounds differ, by " + to_string(guards[i].predicate));
  }
  const std::vector<Node>& nodes = program_->graph.nodes;
  for (size_t i = loop.first_node; i < nodes.size(); ++i) {
    if (binds_symbol(nodes[i])) refuse("it reads numbers out of tensors");
  }
}

std::pair<std::vector<at::Tensor>, std::vector<at::Tensor>> Tracer::end_loop(
    const std::vector<at::Tensor>& carried, const std::vector<at::Tensor>& items) {
  OpenLoop loop = std::move(loops_.back());
  loops_.pop_back();
  check_body(loop);
  const auto value_of = [&](const at::Tensor& tensor) {
    auto* traced = TracedTensorImpl::of(tensor);
    return traced ? current_value(*traced) : constant_value(tensor);
  };
  ValueList results;
  for (const at::Tensor& tensor : carried) results.push_back(value_of(tensor));
  for (const WrittenBase& written : loop.bases) results.push_back(written.base->value);
  for (size_t i = 0; i < results.size(); ++i) {
    const TensorType before = type(loop.carried[i]);
    if (type(results[i]).dtype != before.dtype || type(results[i]).shape != before.shape) {
      refuse("what it carries from round to round changes its dtype or shape");
    }
  }
  ValueList item_values;
  for (const at::Tensor& tensor : items) item_values.push_back(value_of(tensor));

  Graph& graph = program_->graph;
  BodyCutter cutter(graph);
  for (ValueId id : loop.carried) cutter.add_input(id);
  for (size_t i = loop.first_node; i < graph.nodes.size(); ++i) cutter.add_node(graph.nodes[i]);
  for (ValueId id : results) cutter.add_output(id);
  for (ValueId id : item_values) cutter.add_output(id);
  forget_nodes_since(loop.first_node);
  ended_.insert(loop.carried.begin(), loop.carried.end());
  auto [body, captures] = cutter.take();

  ValueList last, stacked;
  for (ValueId id : loop.initial) {
    TensorType carried_type = type(id);
    carried_type.strides.reset();
    last.push_back(graph.add_value(std::move(carried_type)));
  }
  for (ValueId id : item_values) {
    TensorType item = type(id);
    if (mentions(item, loop.counter)) refuse("what it collects changes its shape");
    item.strides.reset();
    item.shape.insert(item.shape.begin(), loop.trips);
    stacked.push_back(graph.add_value(std::move(item)));
  }
  Node node;
  node.op = kLoop;
  node.arguments = {loop.trips, symbols().symbol(loop.counter), loop.initial, std::move(captures)};
  node.outputs = {last, stacked};
  node.graphs.push_back(std::move(body));
  node.provenance = current_provenance();
  graph.nodes.push_back(std::move(node));

  std::pair<std::vector<at::Tensor>, std::vector<at::Tensor>> found;
  for (size_t i = 0; i < last.size(); ++i) {
    if (i < carried.size()) {
      found.first.push_back(wrap(last[i]));
      continue;
    }
    AliasBase& base = *loop.bases[i - carried.size()].base;
    base.value = last[i];
    ++base.version;
  }
  for (ValueId id : stacked) found.second.push_back(wrap(id));
  return found;
}

void Tracer::require_live(const std::vector<Argument>& arguments) const {
  for (const Argument& argument : arguments) {
    for_each_value(argument, [&](ValueId id) {
      if (ended_.contains(id)) refuse("a value of one round is used outside it");
    });
  }
}

}  // namespace portwright
