// Runs a Program with real tensors through PyTorch's dispatcher.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "capture/graph_runner.h"
#include "ir/program.h"

namespace portwright {

// A Program made ready to run: operators looked up, constant operands converted, last uses known.
// Runs of one interpreter may overlap; it keeps no state between them.
class Interpreter {
 public:
  // Keeps a copy (weights are references), so that passes over `program` do not disturb it.
  // Error(kUnsupported) when PyTorch lacks an operator of the program.
  explicit Interpreter(const Program& program);

  // The symbols' values for these user inputs; errors of check_inputs (ir/input_check.h).
  std::vector<int64_t> check(const std::vector<at::Tensor>& inputs) const;
  // The same, of what the inputs say without a run: nothing for symbols that other data decides.
  std::vector<std::optional<int64_t>> known_symbols(const std::vector<at::Tensor>& inputs) const;
  struct Results {
    std::vector<at::Tensor> outputs;  // the user's, in the signature's order
    std::vector<int64_t> symbols;     // their values, those that come from data included
  };
  // Runs the program, after check(). Buffers and inputs that the program mutates are written.
  Results run(const std::vector<at::Tensor>& inputs) const;

 private:
  // The tensor that a mutation output is written to.
  at::Tensor mutation_target(const std::string& name, const std::vector<at::Tensor>& inputs) const;

  std::shared_ptr<const Program> program_;
  std::unique_ptr<const GraphRunner> runner_;
  std::vector<std::pair<ValueId, at::Tensor>> weights_;
  std::vector<size_t> user_inputs_;
};

}  // namespace portwright
