// Runs a Program with real tensors through PyTorch's dispatcher.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "capture/op_catalog.h"
#include "ir/program.h"

namespace portwright {

// A Program made ready to run: operators looked up, constant operands converted, last uses known.
// Runs of one interpreter may overlap; it keeps no state between them.
class Interpreter {
 public:
  // Keeps a copy (weights are references), so that passes over `program` do not disturb it.
  // Error(kUnsupported) when PyTorch lacks an operator of the program.
  explicit Interpreter(const Program& program);

  // The symbols' values for these user inputs. Error(kInvalidArgument) for another count, rank or
  // dtype, Error(kGuardViolated) for sizes that the program was not captured for; both name the
  // input and the dim.
  std::vector<int64_t> check(const std::vector<at::Tensor>& inputs) const;
  struct Results {
    std::vector<at::Tensor> outputs;  // the user's, in the signature's order
    std::vector<int64_t> symbols;     // their values, those that come from data included
  };
  // Runs the program, after check(). Buffers and inputs that the program mutates are written.
  Results run(const std::vector<at::Tensor>& inputs) const;

 private:
  struct Block;
  struct Step {
    std::optional<c10::OperatorHandle> op;  // none: the node binds a symbol, or is a loop
    std::vector<OperandInfo> operands;
    const Node* node;
    std::vector<ValueId> last_uses;
    std::shared_ptr<const Block> body;  // of a loop
  };
  // A graph made ready to run.
  struct Block {
    const Graph* graph;
    std::vector<Step> steps;
  };
  // The symbols' values, as far as they are bound.
  struct Symbols {
    std::vector<int64_t> values;
    std::vector<bool> bound;
  };

  static Block prepared(const Graph& graph, OpCatalog& catalog);
  // Runs the steps; `values` holds the block's inputs.
  void run_block(const Block& block, Symbols& symbols, std::vector<at::Tensor>& values) const;
  void run_loop(const Step& step, Symbols& symbols, std::vector<at::Tensor>& values) const;

  std::vector<int64_t> bind_symbols(const std::vector<at::Tensor>& inputs) const;
  void check_guards(std::span<const int64_t> values) const;
  void check_guard(const Guard& guard, std::span<const int64_t> values) const;
  // Those whose symbols are all bound by now.
  void check_data_guards(std::span<const int64_t> values, const std::vector<bool>& bound) const;
  int64_t read_symbol(const Node& node, const std::vector<at::Tensor>& values) const;
  // The tensor that a mutation output is written to.
  at::Tensor mutation_target(const std::string& name, const std::vector<at::Tensor>& inputs) const;
  void run_step(const Step& step, std::span<const int64_t> symbols,
                std::vector<at::Tensor>& values) const;

  std::shared_ptr<const Program> program_;
  Block block_;
  std::vector<std::pair<ValueId, at::Tensor>> weights_;
  std::vector<size_t> user_inputs_;
};

}  // namespace portwright
