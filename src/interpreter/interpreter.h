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
  // Error(kUnsupported) when PyTorch lacks an operator of the program.
  explicit Interpreter(std::shared_ptr<const Program> program);

  // The symbols' values for these user inputs. Error(kInvalidArgument) for another count, rank or
  // dtype, Error(kGuardViolated) for sizes that the program was not captured for; both name the
  // input and the dim.
  std::vector<int64_t> check(const std::vector<at::Tensor>& inputs) const;
  // The user outputs, in the signature's order, after check(). Buffers and inputs that the program
  // mutates are written.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs) const;

 private:
  struct Step {
    std::optional<c10::OperatorHandle> op;  // none: the node binds a symbol
    std::vector<OperandInfo> operands;
    const Node* node;
    std::vector<ValueId> last_uses;
  };

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
  std::vector<Step> steps_;
  std::vector<std::pair<ValueId, at::Tensor>> weights_;
  std::vector<size_t> user_inputs_;
};

}  // namespace portwright
