#include "ir/input_check.h"

#include <string>

#include "ir/data_symbols.h"
#include "ir/symbol_values.h"
#include "symbolic/linear.h"

namespace portwright {
namespace {

std::string shape_text(const std::vector<Expr>& shape) {
  std::string text = "[";
  for (const Expr& size : shape) text += (text.size() > 1 ? ", " : "") + to_string(size);
  return text + "]";
}

std::string size_text(const Expr& size, std::span<const int64_t> values) {
  const std::string value = std::to_string(evaluate(size, values));
  return size.is_constant() ? value : to_string(size) + " = " + value;
}

// The guard by which the dim of this origin equals a constant, or an expression of other dims.
const Guard* equality_of(const std::string& origin, const SymbolTable& symbols) {
  for (const Guard& guard : symbols.guards()) {
    if (guard.predicate.kind() != Predicate::Kind::kInteger ||
        guard.predicate.relation() != Relation::kEq ||
        symbols.resolve(guard.predicate).maybe_constant() != true) {
      continue;  // no equality that was learnt
    }
    bool found = false;
    guard.predicate.for_each_symbol([&](SymbolId id) {
      found = found || (symbols.info(id).origin == origin && symbols.replacement(id));
    });
    if (found) return &guard;
  }
  return nullptr;
}

// The guard that took the symbol's value out of its range. A program that was read from a file has
// no narrowings, but their guards.
const Guard* excluder(SymbolId id, std::span<const int64_t> values, const SymbolTable& symbols) {
  for (const Narrowing& narrowing : symbols.narrowings()) {
    if (narrowing.symbol == id && narrowing.before.contains(values[id]) &&
        !narrowing.after.contains(values[id])) {
      return &narrowing.guard;
    }
  }
  for (const Guard& guard : symbols.guards()) {
    bool about_it = true;
    guard.predicate.for_each_symbol([&](SymbolId other) { about_it = about_it && other == id; });
    if (about_it && !guard.predicate.evaluate(values)) return &guard;
  }
  return nullptr;
}

[[noreturn]] void refuse(const std::string& problem, const Guard* guard,
                         const std::string& otherwise) {
  if (guard == nullptr) throw Error(ErrorCode::kGuardViolated, problem + otherwise);
  throw Error(ErrorCode::kGuardViolated,
              problem + ": the model needs " + to_string(guard->predicate), guard->source,
              guard->module_path);
}

class InputCheck {
 public:
  InputCheck(const Program& program, std::span<const GivenInput> inputs)
      : program_(program),
        symbols_(*program.symbols),
        inputs_(inputs),
        places_(program.user_inputs()),
        values_(symbols_.hints().begin(), symbols_.hints().end()),
        bound_(values_.size(), false) {}

  std::vector<int64_t> run() {
    check_types();
    // Symbols that are dims first, then those that are only in derived ones (2 * rows + 1).
    for (const bool derived : {false, true}) bind(derived);
    for (size_t i = 0; i < inputs_.size(); ++i) check_sizes(i);
    check_ranges();
    for (const Guard& guard : symbols_.guards()) {
      if (!about_data(guard.predicate, symbols_)) check_guard(guard, symbols_, values_);
    }
    return std::move(values_);
  }

 private:
  const TensorType& type(size_t i) const {
    return program_.graph.type(program_.graph.inputs[places_[i]]);
  }
  const std::string& name(size_t i) const { return program_.inputs[places_[i]].target; }

  void check_types() const {
    if (inputs_.size() != places_.size()) {
      throw Error(ErrorCode::kInvalidArgument, "the program takes " +
                                                   std::to_string(places_.size()) + " tensors, " +
                                                   std::to_string(inputs_.size()) + " were given");
    }
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].dtype != type(i).dtype) {
        throw Error(ErrorCode::kInvalidArgument, "input '" + name(i) + "' has dtype " +
                                                     std::string(to_string(inputs_[i].dtype)) +
                                                     ", the program takes " +
                                                     std::string(to_string(type(i).dtype)));
      }
      if (inputs_[i].shape.size() != type(i).rank()) {
        throw Error(ErrorCode::kInvalidArgument,
                    "input '" + name(i) + "' has rank " + std::to_string(inputs_[i].shape.size()) +
                        ", the program takes " + shape_text(type(i).shape));
      }
    }
  }

  void bind(bool derived) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      for (size_t d = 0; d < type(i).rank(); ++d) {
        const Expr& size = type(i).shape[d];
        const auto form = as_linear(size);
        if (!form || bound_[form->symbol] || size.symbol().has_value() == derived) continue;
        const int64_t multiple = inputs_[i].shape[d] - form->offset;
        if (multiple % form->factor != 0) continue;  // check_sizes says so
        values_[form->symbol] = multiple / form->factor;
        bound_[form->symbol] = true;
      }
    }
  }

  void check_sizes(size_t i) const {
    for (size_t d = 0; d < type(i).rank(); ++d) {
      const Expr& expected = type(i).shape[d];
      if (evaluate(expected, values_) == inputs_[i].shape[d]) continue;
      const auto form = as_linear(expected);
      const bool unbound = form && !bound_[form->symbol];
      const std::string problem =
          "input '" + name(i) + "' has size " + std::to_string(inputs_[i].shape[d]) + " in dim " +
          std::to_string(d) + ", the program needs " +
          (unbound ? to_string(expected) : size_text(expected, values_)) + " there";
      refuse(problem, equality_of(name(i) + ".size(" + std::to_string(d) + ")", symbols_),
             "; export with that dim dynamic, or pass such an input");
    }
  }

  void check_ranges() const {
    for (SymbolId id = 0; id < symbols_.size(); ++id) {
      const SymbolInfo& info = symbols_.info(id);
      if (symbols_.replacement(id) || info.unbacked || info.range.contains(values_[id])) continue;
      refuse("dim '" + info.name + "' (" + info.origin + ") is " + std::to_string(values_[id]) +
                 ", the program takes " + to_string(info.range),
             excluder(id, values_, symbols_), "");
    }
  }

  const Program& program_;
  const SymbolTable& symbols_;
  std::span<const GivenInput> inputs_;
  std::vector<size_t> places_;
  std::vector<int64_t> values_;
  std::vector<bool> bound_;
};

}  // namespace

std::vector<int64_t> check_inputs(const Program& program, std::span<const GivenInput> inputs) {
  return InputCheck(program, inputs).run();
}

}  // namespace portwright
