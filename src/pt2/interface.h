// How a program is called from Python: the containers around its inputs and outputs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "ir/program.h"

namespace portwright {

// A leaf that is no tensor: a constant, or (among outputs) a size that the program computes.
using LeafConstant = std::variant<None, bool, int64_t, double, std::string, Expr>;

// One leaf of a pytree: a tensor of the program, or a constant.
struct InterfaceLeaf {
  // The position among the program's user inputs (or user outputs). An input that stands twice in
  // its containers is read at the first place.
  std::optional<size_t> tensor;
  LeafConstant constant;
  std::string name;  // of a constant input
};

struct Pt2Interface {
  // torch.utils._pytree.treespec_dumps of (args, kwargs) and of the result.
  std::string in_spec, out_spec;
  std::vector<InterfaceLeaf> inputs, outputs;    // in the specs' order
  std::vector<std::string> argument_names;       // of forward, in the specs' order
  std::set<std::string, std::less<>> trainable;  // parameters with requires_grad
};

// Keyword arguments under their flat names, and a tuple of tensors.
Pt2Interface plain_interface(const Program& program);

// Where leaves of forward's arguments stand in Python's words ("['ids']", "['x'][0]") and their
// positions in `inputs`. Leaves in containers other than dicts, lists and tuples are left out.
std::map<std::string, size_t> input_paths(const Pt2Interface& interface);

}  // namespace portwright
