#include "ir/dim_source.h"

#include "symbolic/linear.h"

namespace portwright {

std::optional<DimSource> find_source(const Program& program, SymbolId symbol) {
  std::optional<DimSource> found;
  for (size_t i : program.user_inputs()) {
    const ValueId input = program.graph.inputs[i];
    const TensorType& type = program.graph.type(input);
    for (size_t axis = 0; axis < type.rank(); ++axis) {
      const auto form = as_linear(program.symbols->resolve(type.shape[axis]));
      if (!form || form->symbol != symbol) continue;
      DimSource source{input, static_cast<int64_t>(axis), form->factor, form->offset};
      if (source.factor == 1 && source.offset == 0) return source;
      if (!found) found = source;
    }
  }
  return found;
}

}  // namespace portwright
