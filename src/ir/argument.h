// What a node's operand can be.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "ir/dtype.h"
#include "symbolic/expr.h"
#include "symbolic/predicate.h"
#include "symbolic/real.h"

namespace portwright {

// Index of a value in its graph.
using ValueId = uint32_t;
inline constexpr ValueId kNoValue = UINT32_MAX;

// A reference to a tensor value; a distinct type so that it never mixes with an integer.
struct ValueRef {
  ValueId id = kNoValue;
  friend bool operator==(const ValueRef&, const ValueRef&) = default;
};

struct None {
  friend bool operator==(const None&, const None&) = default;
};

// torch.device, torch.layout and torch.memory_format by their PyTorch names ("cpu", "strided",
// "contiguous_format").
struct Device {
  std::string name;
  friend bool operator==(const Device&, const Device&) = default;
};
struct Layout {
  std::string name;
  friend bool operator==(const Layout&, const Layout&) = default;
};
struct MemoryFormat {
  std::string name;
  friend bool operator==(const MemoryFormat&, const MemoryFormat&) = default;
};

// Tensor?[] and Tensor[]: kNoValue stands for None.
using ValueList = std::vector<ValueId>;
using IntList = std::vector<Expr>;
using FloatList = std::vector<double>;
using BoolList = std::vector<bool>;
using StringList = std::vector<std::string>;

// One operand, in the schema's order. Integers are always Expr (constants included), so that one
// reading serves static and symbolic shapes. A dtype operand is DType. A number where the schema
// has a Tensor (`x + 2` arriving as add.Tensor) is kept as the number, as torch.export serialises
// it. A list of tensors is a ValueList, also when it is empty.
using Argument =
    std::variant<None, ValueRef, bool, Expr, double, Real, Predicate, std::string, DType, Device,
                 Layout, MemoryFormat, ValueList, IntList, FloatList, BoolList, StringList>;

// Calls `visit(ValueId)` for every value that the argument names.
template <typename Visitor>
void for_each_value(const Argument& argument, Visitor&& visit) {
  if (const auto* ref = std::get_if<ValueRef>(&argument)) {
    visit(ref->id);
  } else if (const auto* list = std::get_if<ValueList>(&argument)) {
    for (ValueId id : *list) {
      if (id != kNoValue) visit(id);
    }
  }
}

// The argument with every value id replaced by `map(id)`.
template <typename Map>
Argument map_values(const Argument& argument, Map&& map) {
  if (const auto* ref = std::get_if<ValueRef>(&argument)) return ValueRef{map(ref->id)};
  if (const auto* list = std::get_if<ValueList>(&argument)) {
    ValueList mapped = *list;
    for (ValueId& id : mapped) {
      if (id != kNoValue) id = map(id);
    }
    return mapped;
  }
  return argument;
}

}  // namespace portwright
