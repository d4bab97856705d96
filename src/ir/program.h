// Program: what capture makes and every backend reads. SSA over ATen operators, free of aliasing;
// mutation exists only in the signature. Holds no torch types.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "ir/argument.h"
#include "ir/dtype.h"
#include "ir/weight.h"
#include "symbolic/symbol_table.h"

namespace portwright {

// dtype and symbolic shape of a tensor. Strides are kept only where the tensor is not contiguous.
struct TensorType {
  DType dtype = DType::kFloat32;
  std::vector<Expr> shape;
  std::optional<std::vector<Expr>> strides;

  size_t rank() const { return shape.size(); }
};

// Where a node came from: the nn.Module path and the Python line. Indexes into Program's tables.
struct Provenance {
  uint32_t module = 0;  // Program::module_paths; 0 is the root module ""
  uint32_t source = 0;  // Program::source_lines; 0 is unknown
};

// A tensor in a graph. (Symbolic ints are Exprs in arguments, not values.)
struct Value {
  TensorType type;
  std::string name;  // unique in its graph; graph inputs keep their signature name
};

// One result of a node: a tensor, a list of tensors (Tensor[]), or nothing (an optional result that
// is absent).
using Output = std::variant<None, ValueId, ValueList>;

struct Graph;

struct Node {
  // torch.export's name of the overload: "aten.add.Tensor", "aten.linear.default".
  std::string op;
  std::vector<Argument> arguments;  // all of the schema's, in its order, defaults filled in
  std::vector<Output> outputs;
  std::vector<Graph> graphs;  // bodies of control flow
  Provenance provenance;

  // The single tensor result; Error(kInternal) when there is none.
  ValueId result() const;
};

// Nodes in topological order. Every value is a graph input or the output of one node.
struct Graph {
  std::vector<Value> values;
  std::vector<ValueId> inputs;
  std::vector<Node> nodes;
  std::vector<ValueId> outputs;

  ValueId add_value(TensorType type, std::string name = {});
  const TensorType& type(ValueId id) const { return values.at(id).type; }
};

// torch.export's signature kinds (torch/export/graph_signature.py).
enum class InputKind : uint8_t { kUserInput, kParameter, kBuffer, kConstantTensor };
enum class OutputKind : uint8_t { kUserOutput, kBufferMutation, kUserInputMutation };

// One graph input, at the same position in Graph::inputs.
struct InputSpec {
  InputKind kind = InputKind::kUserInput;
  std::string target;            // "encoder.layer.0.weight"; for user inputs their flat name
  bool persistent = true;        // of a buffer
  std::optional<Weight> weight;  // for all kinds but user inputs
};

// One graph output, at the same position in Graph::outputs.
struct OutputSpec {
  OutputKind kind = OutputKind::kUserOutput;
  std::string target;  // user outputs: their flat name; mutations: the buffer's or the input's name
};

struct Program {
  std::shared_ptr<SymbolTable> symbols = std::make_shared<SymbolTable>();
  Graph graph;
  std::vector<InputSpec> inputs;
  std::vector<OutputSpec> outputs;
  std::vector<std::string> module_paths = {""};
  std::vector<SourceLine> source_lines = {SourceLine{}};

  const std::string& module_path(const Node& node) const {
    return module_paths.at(node.provenance.module);
  }
  const SourceLine& source(const Node& node) const {
    return source_lines.at(node.provenance.source);
  }
  // The weight behind a value of the top graph, or null.
  const Weight* weight(ValueId id) const;
  // Positions in Graph::inputs of the user inputs, in order.
  std::vector<size_t> user_inputs() const;
};

// A user input or output at its place: which one of before it is, and its name.
struct Placed {
  size_t before = 0;
  std::string name;
};

// Gives the user inputs and the user outputs these places and names; other inputs and outputs keep
// theirs. Error(kInternal) unless each of before is named once.
void arrange(Program& program, const std::vector<Placed>& inputs,
             const std::vector<Placed>& outputs);

// The largest index of any value that `node` defines is the caller's concern; this calls
// `visit(ValueId)` for each.
template <typename Visitor>
void for_each_output(const Node& node, Visitor&& visit) {
  for (const Output& output : node.outputs) {
    if (const auto* id = std::get_if<ValueId>(&output)) {
      visit(*id);
    } else if (const auto* list = std::get_if<ValueList>(&output)) {
      for (ValueId id : *list) {
        if (id != kNoValue) visit(id);
      }
    }
  }
}

}  // namespace portwright
