// Common subexpressions.
// Needs: nothing. Ensures: no two nodes of a graph compute the same operator of the same operands,
// random operators aside; the earlier one stays.
//   %1 : f32[2] = aten.neg.default(%x)             %1 : f32[2] = aten.neg.default(%x)
//   %2 : f32[2] = aten.neg.default(%x)        =>   output user "a" %1
//   output user "a" %1, output user "b" %2         output user "b" %1
#include <cstring>
#include <unordered_map>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace portwright {
namespace {

void append(std::string& key, const void* data, size_t size) {
  key.append(static_cast<const char*>(data), size);
}

template <typename T>
void append_value(std::string& key, const T& value) {
  append(key, &value, sizeof(value));
}

void append_expr(std::string& key, const Expr& expr) {
  append_value(key, reinterpret_cast<uintptr_t>(expr.node()));
  append_value(key, expr.is_constant() ? expr.constant() : int64_t{0});
}

// Equal keys mean equal arguments.
struct KeyWriter {
  std::string& key;

  void operator()(None) const {}
  void operator()(ValueRef ref) const { append_value(key, ref.id); }
  void operator()(bool item) const { key += item ? '1' : '0'; }
  void operator()(const Expr& expr) const { append_expr(key, expr); }
  void operator()(double item) const { append_value(key, item); }
  void operator()(const Real& real) const { (*this)(to_string(real)); }
  void operator()(const Predicate& predicate) const { (*this)(to_string(predicate)); }
  void operator()(const std::string& text) const {
    append_value(key, text.size());
    key += text;
  }
  void operator()(DType dtype) const { append_value(key, dtype); }
  void operator()(const Device& device) const { (*this)(device.name); }
  void operator()(const Layout& layout) const { (*this)(layout.name); }
  void operator()(const MemoryFormat& format) const { (*this)(format.name); }
  template <typename T>
  void operator()(const std::vector<T>& list) const {
    append_value(key, list.size());
    for (const auto& item : list) (*this)(static_cast<T>(item));
  }
  void operator()(ValueId id) const { append_value(key, id); }
};

std::string key_of(const Node& node) {
  std::string key = node.op;
  for (const Argument& argument : node.arguments) {
    key += static_cast<char>(argument.index());
    std::visit(KeyWriter{key}, argument);
  }
  return key;
}

bool run(Graph& graph) {
  Replacements replacements(graph);
  std::unordered_map<std::string, size_t> seen;  // key -> index into kept
  std::vector<Node> kept;
  kept.reserve(graph.nodes.size());
  bool changed = false;
  for (Node& node : graph.nodes) {
    replacements.apply(node);
    for (Graph& body : node.graphs) changed |= run(body);
    if (!is_random(node.op) && node.graphs.empty()) {
      auto [entry, added] = seen.try_emplace(key_of(node), kept.size());
      if (!added) {
        std::vector<ValueId> first, second;
        for_each_output(kept[entry->second], [&](ValueId id) { first.push_back(id); });
        for_each_output(node, [&](ValueId id) { second.push_back(id); });
        for (size_t i = 0; i < first.size(); ++i) replacements.replace(second[i], first[i]);
        changed = true;
        continue;
      }
    }
    kept.push_back(std::move(node));
  }
  graph.nodes = std::move(kept);
  for (ValueId& id : graph.outputs) id = replacements(id);
  return changed;
}

}  // namespace

bool eliminate_common_subexpressions(Program& program) {
  const bool changed = run(program.graph);
  if (changed) eliminate_dead_code(program);
  return changed;
}

}  // namespace portwright
