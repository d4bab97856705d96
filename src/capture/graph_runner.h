// Runs the nodes of a graph with real tensors: all of a program's for the interpreter, a loop for
// its results at the sample inputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <vector>

#include "capture/op_catalog.h"
#include "ir/program.h"
#include "ir/symbol_values.h"

namespace portwright {

// A graph made ready to run: operators looked up, last uses known. Keeps no state between runs.
class GraphRunner {
 public:
  // `program` has the graph's symbols and places; both must outlive the runner.
  // Error(kUnsupported) when PyTorch lacks an operator.
  GraphRunner(const Program& program, const Graph& graph, OpCatalog& catalog);

  // `values`, one per value of the graph, holds what the nodes read from outside; afterwards also
  // the graph's outputs. Error(kGuardViolated) for a condition on data that does not hold,
  // Error(kInvalidArgument) for an operator that refuses its operands.
  void run(SymbolValues& symbols, std::vector<at::Tensor>& values) const;

 private:
  struct Step {
    std::optional<c10::OperatorHandle> op;  // none: the node binds a symbol, or is a loop
    std::vector<OperandInfo> operands;
    const Node* node = nullptr;
    std::vector<ValueId> last_uses;
    std::shared_ptr<const GraphRunner> body;  // of a loop
  };

  int64_t read_symbol(const Node& node, const std::vector<at::Tensor>& values) const;
  void run_step(const Step& step, std::span<const int64_t> symbols,
                std::vector<at::Tensor>& values) const;
  void run_loop(const Step& step, SymbolValues& symbols, std::vector<at::Tensor>& values) const;

  const Program& program_;
  std::vector<Step> steps_;
};

// What a symbol of data holds for the one element of a tensor; of a float, its bits as a double.
int64_t item_bits(const at::Tensor& tensor);

}  // namespace portwright
