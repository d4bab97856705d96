// Turning one operator call into a node: result types first, then the node itself.
#include <algorithm>
#include <cstring>

#include "capture/provenance.h"
#include "capture/tracer.h"
#include "ir/text.h"

namespace portwright {
namespace {

void append_bytes(std::string& key, const void* data, size_t size) {
  key.append(static_cast<const char*>(data), size);
}

template <typename T>
void append(std::string& key, T value) {
  append_bytes(key, &value, sizeof(value));
}

void append_expr(std::string& key, const Expr& expr) {
  append(key, expr.node());
  if (expr.is_constant()) append(key, expr.constant());
}

void append_type(std::string& key, const TensorType& type) {
  key += static_cast<char>(type.dtype);
  for (const Expr& size : type.shape) append_expr(key, size);
  key += type.strides ? 's' : 'c';
  if (!type.strides) return;
  for (const Expr& stride : *type.strides) append_expr(key, stride);
}

// A key under which equal operands give equal result types; false when there is none.
bool append_argument(Tracer& tracer, std::string& key, const Argument& argument) {
  key += static_cast<char>('A' + argument.index());
  if (const auto* ref = std::get_if<ValueRef>(&argument)) {
    append_type(key, tracer.type(ref->id));
  } else if (const auto* list = std::get_if<ValueList>(&argument)) {
    for (ValueId id : *list) {
      key += id == kNoValue ? '0' : '1';
      if (id != kNoValue) append_type(key, tracer.type(id));
    }
    key += ']';
  } else if (const auto* expr = std::get_if<Expr>(&argument)) {
    append_expr(key, tracer.symbols().resolve(*expr));
  } else if (const auto* ints = std::get_if<IntList>(&argument)) {
    for (const Expr& item : *ints) append_expr(key, tracer.symbols().resolve(item));
    key += ']';
  } else if (const auto* number = std::get_if<double>(&argument)) {
    append(key, *number);
  } else if (const auto* floats = std::get_if<FloatList>(&argument)) {
    append_bytes(key, floats->data(), floats->size() * sizeof(double));
    key += ']';
  } else if (const auto* flag = std::get_if<bool>(&argument)) {
    key += *flag ? 'T' : 'F';
  } else if (const auto* dtype = std::get_if<DType>(&argument)) {
    key += static_cast<char>(*dtype);
  } else if (const auto* flags = std::get_if<BoolList>(&argument)) {
    for (bool item : *flags) key += item ? 'T' : 'F';
  } else if (const auto* text = std::get_if<std::string>(&argument)) {
    key += *text + '\0';
  } else if (const auto* format = std::get_if<MemoryFormat>(&argument)) {
    key += format->name;
  } else if (std::holds_alternative<Real>(argument) ||
             std::holds_alternative<Predicate>(argument)) {
    return false;
  }
  return true;
}

}  // namespace

ResultTypes Tracer::result_types(const OpInfo& op, const std::vector<Argument>& arguments) {
  if (op.rule != nullptr) {
    if (auto types = op.rule(*this, op, arguments)) return *types;
  }
  std::string key;
  append(key, &op);
  bool keyed = true;
  for (const Argument& argument : arguments) keyed = keyed && append_argument(*this, key, argument);
  if (keyed) {
    if (auto found = probe_memo_.find(key); found != probe_memo_.end()) return found->second;
  }
  ResultTypes types = probe(op, arguments);
  if (keyed) probe_memo_.emplace(std::move(key), types);
  return types;
}

// "of aten.linear.default(f32[s0, 3], f32[4, 4]), where s0 = 2 is input.size(0)".
std::string Tracer::describe_call(const OpInfo& op, const std::vector<Argument>& arguments) {
  std::string types;
  std::vector<SymbolId> seen;
  for (const Argument& argument : arguments) {
    for_each_value(argument, [&](ValueId id) {
      types += (types.empty() ? "" : ", ") + to_string(type(id));
      for (const Expr& size : type(id).shape) {
        for_each_symbol(size, [&](SymbolId symbol) {
          if (std::find(seen.begin(), seen.end(), symbol) == seen.end()) seen.push_back(symbol);
        });
      }
    });
  }
  std::string text = "of " + op.name + "(" + types + ")";
  for (SymbolId symbol : seen) {
    const SymbolInfo& info = symbols().info(symbol);
    text += (symbol == seen.front() ? ", where " : ", ") + info.name + " = " +
            std::to_string(info.hint) + " is " + info.origin;
  }
  return text;
}

std::string Tracer::describe(ValueId id) {
  find_producers();
  const std::string text = to_string(type(id));
  const auto producer = producers_.find(id);
  if (producer == producers_.end()) {
    const std::string& name = program_->graph.values[id].name;
    return name.empty() ? "a constant, " + text : "'" + name + "', " + text;
  }
  const Node& node = program_->graph.nodes[producer->second];
  const std::string source = to_string(program_->source(node));
  return "the result " + text + " of " + node.op + (source.empty() ? "" : " at " + source);
}

std::vector<Output> Tracer::record(const OpInfo& op, std::vector<Argument> arguments) {
  if (!ended_.empty()) require_live(arguments);
  ResultTypes types;
  try {
    types = result_types(op, arguments);
  } catch (const Error& error) {
    throw error.with_line(describe_call(op, arguments));
  }
  Graph& graph = program_->graph;
  Node node;
  node.op = op.name;
  node.arguments = std::move(arguments);
  node.provenance = current_provenance();
  for (ResultType& result : types) {
    if (result.is_list) {
      ValueList ids;
      for (TensorType& type : result.types) ids.push_back(graph.add_value(std::move(type)));
      node.outputs.emplace_back(std::move(ids));
    } else if (result.absent || result.types.empty()) {
      node.outputs.emplace_back(None{});
    } else {
      node.outputs.emplace_back(graph.add_value(std::move(result.types[0])));
    }
  }
  if (symbols().has_replacements()) {
    type_epochs_.resize(graph.values.size(), symbols().replacement_count());
  }
  std::vector<Output> outputs = node.outputs;
  graph.nodes.push_back(std::move(node));
  if (!pending_sizes_.empty()) bind_pending_sizes();
  return outputs;
}

ValueId Tracer::record_one(const OpInfo& op, std::vector<Argument> arguments) {
  return std::get<ValueId>(record(op, std::move(arguments)).at(0));
}

ValueId Tracer::record_one(const std::string& op, std::vector<Argument> arguments) {
  return record_one(catalog_.find(op), std::move(arguments));
}

void Tracer::require_equal(const Expr& a, const Expr& b) {
  if (a == b) return;
  const Expr left = symbols().resolve(a);
  const Expr right = symbols().resolve(b);
  const Predicate equal = Predicate::compare(left, Relation::kEq, right);
  const auto truth = symbols().decide(equal);
  if (truth == true) return;
  const Place place = current_place();
  if (left.is_constant() && right.is_constant()) {
    throw Error(ErrorCode::kInvalidArgument,
                "the sizes " + to_string(left) + " and " + to_string(right) +
                    " must be equal, as eager would say of these inputs too",
                place.source, place.module_path);
  }
  symbols().require(equal, GuardKind::kEquality, place.source, place.module_path);
}

bool Tracer::holds(const Predicate& predicate, bool assume_sizes) {
  if (auto truth = symbols().decide(predicate, assume_sizes)) return *truth;
  const Place place = current_place();
  return symbols().guard(predicate, GuardKind::kDecision, place.source, place.module_path);
}

}  // namespace portwright
