// What lowerings write ONNX nodes with: operands by argument, constants stored once, symbolic sizes
// computed from the inputs' shapes, names that follow the module path.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ir/program.h"
#include "onnx/model.h"
#include "onnx/runtime.h"

namespace portwright {

// A symbolic size is named by its expression.
OnnxValueInfo value_info(const std::string& name, const TensorType& type);

class Emitter {
 public:
  Emitter(const Program& program, OnnxModel& model, OnnxRuntime runtime);

  const Program& program() const { return program_; }
  int64_t opset() const { return model_.opset; }
  OnnxRuntime runtime() const { return runtime_; }

  // Nodes that follow belong to this node of the program: their names and source come from it.
  void begin(const Node& node);

  // How a node of the program is lowered, for those that have bodies.
  void set_lowering(std::function<void(const Node&)> lower) { lower_ = std::move(lower); }
  void lower(const Node& node) { lower_(node); }

  // Nodes from open_body() to close_body() go into a body, which may be inside another. With
  // `graph` the values bound there are that graph's; without, the body is the lowering's own.
  void open_body(const Graph* graph = nullptr);
  bool in_body() const { return scopes_.size() > 1; }
  std::string body_input(DType dtype, OnnxBodyValue::Kind kind = OnnxBodyValue::Kind::kTensor);
  void body_output(const std::string& value, DType dtype,
                   OnnxBodyValue::Kind kind = OnnxBodyValue::Kind::kTensor);
  std::shared_ptr<OnnxBody> close_body();

  // The ONNX value of a program value; set by bind().
  const std::string& value(ValueId id) const;
  void bind(ValueId id, std::string name);
  const TensorType& type(ValueId id) const { return scopes_.back().graph->type(id); }

  // Adds a node and gives its outputs. "com.microsoft::Gelu" is a node of another domain, whose
  // version 1 is imported.
  std::string op(const std::string& type, std::vector<std::string> inputs,
                 OnnxAttributes attributes = {});
  std::vector<std::string> ops(const std::string& type, std::vector<std::string> inputs,
                               size_t outputs, OnnxAttributes attributes = {});

  // What several nodes need alike: made where it is first asked for under this key.
  std::string once(const std::string& key, const std::function<std::string()>& make);

  // The nodes that follow are for such sizes only.
  void require(const Predicate& predicate, const Node& node);

  // Constants: small initializers, each distinct one stored once.
  std::string ints(const std::vector<int64_t>& values);  // 1-D int64
  std::string scalar(double value, DType dtype);         // 0-D of any numeric dtype
  std::string constant(const Weight& weight);

  // A tensor operand as `dtype`; a number becomes a scalar constant.
  std::string tensor(const Argument& argument, DType dtype);
  // A tensor operand in its own dtype. Error(kInternal) for a number.
  std::string tensor(const Argument& argument) const;
  std::string cast(const std::string& value, DType from, DType to);

  // Symbolic integers at run time: a 1-D tensor of one int64, a 0-D int64, a 1-D of all.
  std::string dim(const Expr& expr);
  std::string scalar_int(const Expr& expr);
  // The size that a symbol from data has, a 1-D tensor of one int64.
  void bind_symbol(SymbolId symbol, std::string dim);
  std::string shape(std::span<const Expr> exprs);
  // Symbolic float as a 0-D tensor.
  std::string scalar_real(const Real& real, DType dtype);
  // Whether a condition holds, a 0-D bool.
  std::string condition(const Predicate& predicate);

  // Common small steps.
  std::string reshape(const std::string& value, std::span<const Expr> from,
                      std::span<const Expr> to);
  std::string unsqueeze(const std::string& value, const std::vector<int64_t>& axes);
  std::string squeeze(const std::string& value, const std::vector<int64_t>& axes);
  std::string transpose(const std::string& value, const std::vector<int64_t>& order);
  // The last two dims of `rank` change places.
  std::string matrix_transposed(const std::string& value, size_t rank);

  // The name of a program value that is an output of the model, or one made from the node's name.
  static std::string path_name(const std::string& module_path);

 private:
  std::string node_name(const std::string& type);
  std::string symbol_dim(SymbolId symbol);
  std::optional<std::string> dim_of_lowered(SymbolId symbol);
  std::string term_dim(const Term& term);
  std::string atom_dim(const Atom& atom);
  std::string real_value(const Real& real);

  // The graph that is being written, or a body in it. What is computed in a body is known in it and
  // in the bodies inside; its values are those of its own graph.
  struct Scope {
    const Graph* graph = nullptr;
    std::shared_ptr<OnnxBody> body;  // null for the model's graph
    std::unordered_map<ValueId, std::string> values;
    std::unordered_map<Expr, std::string> dims;
    std::unordered_map<std::string, std::string> shapes;
    std::unordered_map<std::string, std::string> shared;
    std::unordered_map<SymbolId, std::string> data_symbols;
  };
  template <typename Key>
  const std::string* known(std::unordered_map<Key, std::string> Scope::* table,
                           const Key& key) const {
    for (size_t i = scopes_.size(); i-- > 0;) {
      auto found = (scopes_[i].*table).find(key);
      if (found != (scopes_[i].*table).end()) return &found->second;
    }
    return nullptr;
  }

  const Program& program_;
  OnnxModel& model_;
  OnnxRuntime runtime_;
  std::function<void(const Node&)> lower_;
  std::vector<Scope> scopes_;
  std::unordered_map<std::string, std::string> constants_;
  std::unordered_set<std::string> computed_shapes_;  // values with a shape that nodes compute
  std::unordered_map<std::string, size_t> name_counts_;
  std::string prefix_;
  std::string source_;
};

// The dim of an argument that must be constant, wrapped to [0, rank).
int64_t constant_dim(const Argument& argument, size_t rank);
std::vector<int64_t> constant_dims(const Argument& argument, size_t rank);
// A constant int operand. Error(kUnsupported) when symbolic.
int64_t constant_int(const Argument& argument);
bool is_none(const Argument& argument);
bool flag(const Argument& argument);
// A constant number operand as a double; nothing for tensors and symbolic numbers.
std::optional<double> constant_number(const Argument& argument);

}  // namespace portwright
