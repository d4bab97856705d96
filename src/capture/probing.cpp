// Shapes by probing: the op's Meta kernel runs at several assignments of the symbols, each output
// dimension is fitted as an expression of the operands' dimensions, and the fit is checked at
// assignments that it was not made from. What does not fit is an error, never a silent constant.
#include <ATen/ops/empty_strided.h>

#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "capture/provenance.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

constexpr c10::DispatchKey kTracerKey = c10::DispatchKey::TESTING_ONLY_GenericMode;
constexpr int kFitted = 3;   // assignments that a fit is made from; the first is the typical sizes
constexpr int kChecked = 2;  // further ones that it must also meet
constexpr int kProbes = kFitted + kChecked;

using Samples = std::vector<int64_t>;  // one value per probe

// Distinct steps, so that no two symbols move together.
int64_t probe_step(int probe, size_t symbol) {
  static constexpr int64_t kSteps[] = {7,  11, 13, 17, 19, 23, 29, 31, 37, 41, 43,
                                       47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97};
  return kSteps[(3 * probe + 5 * symbol + probe * symbol) % std::size(kSteps)];
}

// For each symbol the one that it moves with; itself where it moves alone; kFixed where it stays.
using Ties = std::vector<SymbolId>;
constexpr SymbolId kFixed = std::numeric_limits<SymbolId>::max();

Ties no_ties(const SymbolTable& symbols) {
  Ties ties(symbols.size());
  for (SymbolId id = 0; id < ties.size(); ++id) ties[id] = id;
  return ties;
}

enum class Moves : uint8_t { kSteps, kMultiples };

// The symbols' values at one probe: typical sizes moved by `stride` steps, or multiples of them,
// which keep sizes that divide each other. What is fixed stays the sample's.
std::vector<int64_t> assignment(const SymbolTable& symbols, const Ties& ties, int probe,
                                Moves moves, int64_t stride) {
  std::vector<int64_t> values(symbols.hints().begin(), symbols.hints().end());
  for (size_t id = 0; id < values.size(); ++id) {
    if (ties[id] == kFixed) continue;
    const Interval range = symbols.info(static_cast<SymbolId>(id)).range;
    const int64_t typical = symbols.typical()[id];
    const int64_t step = probe_step(probe, id);
    int64_t moved =
        moves == Moves::kSteps ? typical + stride * step : typical * (1 + step % 5 + probe);
    if (moved > range.hi) moved = std::max(range.lo, typical - step % 5 - 1);
    if (probe == 0) moved = typical;
    values[id] = ties[id] == id ? std::clamp(moved, range.lo, range.hi) : values[ties[id]];
  }
  for (size_t id = 0; id < values.size(); ++id) {
    if (auto replacement = symbols.replacement(static_cast<SymbolId>(id))) {
      values[id] = evaluate(*replacement, values);
    }
  }
  return values;
}

bool sizes_exist(Tracer& tracer, const std::vector<Argument>& arguments,
                 std::span<const int64_t> values) {
  bool exist = true;
  for (const Argument& argument : arguments) {
    for_each_value(argument, [&](ValueId id) {
      for (const Expr& size : tracer.type(id).shape) exist &= evaluate(size, values) >= 0;
    });
  }
  return exist;
}

using Assignments = std::vector<std::vector<int64_t>>;

Assignments assignments(Tracer& tracer, const std::vector<Argument>& arguments, const Ties& ties,
                        int count, int64_t stride) {
  Assignments probes;
  for (int probe = 0; probe < count; ++probe) {
    probes.push_back(assignment(tracer.symbols(), ties, probe, Moves::kSteps, stride));
    if (!sizes_exist(tracer, arguments, probes.back())) {
      probes.back() = assignment(tracer.symbols(), ties, probe, Moves::kMultiples, stride);
    }
  }
  return probes;
}

size_t symbolic_sizes(Tracer& tracer, const std::vector<Argument>& arguments) {
  size_t count = 0;
  for (const Argument& argument : arguments) {
    for_each_value(argument, [&](ValueId id) {
      const std::vector<Expr>& shape = tracer.type(id).shape;
      count += std::count_if(shape.begin(), shape.end(), [](auto& e) { return !e.is_constant(); });
    });
  }
  return count;
}

// How many of the operands' sizes move from probe to probe.
size_t moving_sizes(Tracer& tracer, const std::vector<Argument>& arguments,
                    const Assignments& probes) {
  size_t moving = 0;
  for (const Argument& argument : arguments) {
    for_each_value(argument, [&](ValueId id) {
      for (const Expr& size : tracer.type(id).shape) {
        if (size.is_constant()) continue;
        std::set<int64_t> seen;
        for (const auto& values : probes) seen.insert(evaluate(size, values));
        moving += seen.size() >= std::min<size_t>(3, probes.size()) ? 1 : 0;
      }
    });
  }
  return moving;
}

// A size like floor(s / 320) stands still while s makes small steps, and what depends on it would
// look constant: the steps are as large as it takes to move every size that can be moved. The
// strides are odd, so that remainders vary too.
Assignments assignments(Tracer& tracer, const std::vector<Argument>& arguments, const Ties& ties,
                        int count) {
  const size_t wanted = symbolic_sizes(tracer, arguments);
  Assignments best;
  size_t most = 0;
  for (const int64_t stride : {1, 9, 65, 513}) {
    Assignments probes = assignments(tracer, arguments, ties, count, stride);
    const size_t moving = moving_sizes(tracer, arguments, probes);
    if (best.empty() || moving > most) {
      most = moving;
      best = std::move(probes);
    }
    if (most == wanted) break;
  }
  return best;
}

class Candidates {
 public:
  Candidates(Tracer& tracer, const std::vector<Argument>& arguments,
             const std::vector<std::vector<int64_t>>& probes)
      : probes_(probes) {
    for (const Argument& argument : arguments) {
      for_each_value(argument, [&](ValueId id) {
        for (const Expr& size : tracer.type(id).shape) add(size);
      });
      if (const auto* expr = std::get_if<Expr>(&argument)) add(tracer.symbols().resolve(*expr));
      if (const auto* list = std::get_if<IntList>(&argument)) {
        for (const Expr& item : *list) add(tracer.symbols().resolve(item));
      }
    }
  }

  bool symbolic() const { return !exprs_.empty(); }

  // The simplest expression of the candidates that takes these values: a constant, a candidate, an
  // affine form, a product, sum or difference of two, a min or max, a floor division.
  std::optional<Expr> fit(const Samples& wanted) const {
    if (std::all_of(wanted.begin(), wanted.end(),
                    [&](int64_t value) { return value == wanted[0]; })) {
      return Expr(wanted[0]);
    }
    if (auto found = fit_affine(wanted)) return found;
    if (auto found = fit_pairs(wanted)) return found;
    if (auto found = fit_clamped(wanted)) return found;
    return fit_divided(wanted);
  }

 private:
  void add(const Expr& expr) {
    if (expr.is_constant() || std::find(exprs_.begin(), exprs_.end(), expr) != exprs_.end()) return;
    exprs_.push_back(expr);
    samples_.push_back(sample(expr));
  }

  Samples sample(const Expr& expr) const {
    Samples values;
    for (const auto& probe : probes_) values.push_back(evaluate(expr, probe));
    return values;
  }

  bool meets(const Expr& expr, const Samples& wanted) const { return sample(expr) == wanted; }

  std::optional<Expr> fit_affine(const Samples& wanted) const {
    for (size_t i = 0; i < exprs_.size(); ++i) {
      if (samples_[i] == wanted) return exprs_[i];
    }
    for (size_t i = 0; i < exprs_.size(); ++i) {
      const int64_t run = samples_[i][1] - samples_[i][0];
      const int64_t rise = wanted[1] - wanted[0];
      if (run == 0 || rise % run != 0) continue;
      const int64_t slope = rise / run;
      const Expr form = Expr(slope) * exprs_[i] + Expr(wanted[0] - slope * samples_[i][0]);
      if (meets(form, wanted)) return form;
    }
    return std::nullopt;
  }

  std::optional<Expr> fit_pairs(const Samples& wanted) const {
    for (size_t i = 0; i < exprs_.size(); ++i) {
      for (size_t j = i; j < exprs_.size(); ++j) {
        const int64_t base = samples_[i][0] * samples_[j][0];
        if (base != 0 && wanted[0] % base == 0) {
          const Expr form = Expr(wanted[0] / base) * exprs_[i] * exprs_[j];
          if (meets(form, wanted)) return form;
        }
        for (const Expr& form :
             {exprs_[i] + exprs_[j], exprs_[i] - exprs_[j], exprs_[j] - exprs_[i]}) {
          if (meets(form, wanted)) return form;
          const Expr shifted = form + Expr(wanted[0] - evaluate(form, probes_[0]));
          if (meets(shifted, wanted)) return shifted;
        }
      }
    }
    return std::nullopt;
  }

  std::optional<Expr> fit_clamped(const Samples& wanted) const {
    const auto [low, high] = std::minmax_element(wanted.begin(), wanted.end());
    for (size_t i = 0; i < exprs_.size(); ++i) {
      for (const Expr& form : {min(exprs_[i], *high), max(exprs_[i], *low)}) {
        if (meets(form, wanted)) return form;
      }
      for (size_t j = i + 1; j < exprs_.size(); ++j) {
        for (const Expr& form : {min(exprs_[i], exprs_[j]), max(exprs_[i], exprs_[j])}) {
          if (meets(form, wanted)) return form;
        }
      }
    }
    return std::nullopt;
  }

  // floor((x + b) / q) + c.
  std::optional<Expr> fit_divided(const Samples& wanted) const {
    auto floored = [](int64_t a, int64_t b) { return a / b - ((a % b != 0) && (a < 0) ? 1 : 0); };
    for (size_t i = 0; i < exprs_.size(); ++i) {
      for (int64_t q = 2; q <= 64; ++q) {
        for (int64_t b = 0; b < q; ++b) {
          const int64_t c = wanted[0] - floored(samples_[i][0] + b, q);
          bool meets_all = true;
          for (size_t k = 1; k < wanted.size() && meets_all; ++k) {
            meets_all = floored(samples_[i][k] + b, q) + c == wanted[k];
          }
          if (meets_all) return floor_div(exprs_[i] + Expr(b), q) + Expr(c);
        }
      }
    }
    return std::nullopt;
  }

  const std::vector<std::vector<int64_t>>& probes_;
  std::vector<Expr> exprs_;
  std::vector<Samples> samples_;
};

at::Tensor meta_tensor(const TensorType& type, std::span<const int64_t> values) {
  std::vector<int64_t> sizes, strides;
  for (const Expr& size : type.shape) sizes.push_back(evaluate(size, values));
  for (const Expr& stride : strides_of(type)) strides.push_back(evaluate(stride, values));
  return at::empty_strided(
      sizes, strides,
      at::TensorOptions().dtype(to_scalar_type(type.dtype)).device(c10::DeviceType::Meta));
}

// The results of the Meta kernel at one assignment.
torch::jit::Stack run_meta(Tracer& tracer, const OpInfo& op, const std::vector<Argument>& arguments,
                           std::span<const int64_t> values) {
  c10::impl::ExcludeDispatchKeyGuard exclude(kTracerKey);  // before the operands are made
  auto tensor = [&](ValueId id) { return meta_tensor(tracer.type(id), values); };
  torch::jit::Stack stack;
  for (size_t i = 0; i < arguments.size(); ++i) {
    stack.push_back(to_ivalue(arguments[i], op.operands[i], values, tensor));
    if (op.operands[i].kind == OperandKind::kDevice) stack.back() = c10::Device(c10::kMeta);
  }
  op.handle.callBoxed(stack);
  return stack;
}

constexpr const char* kKeepStatic =
    ". Keep the dims that it comes from static (Dim.STATIC), or write this line with other "
    "operators";

[[noreturn]] void refuse(const OpInfo& op, const std::string& why) {
  const Place place = current_place();
  throw Error(ErrorCode::kUnsupported, op.name + ": " + why, place.source, place.module_path);
}

// One result tensor as seen by all probes.
TensorType fit_tensor(const OpInfo& op, const Candidates& candidates,
                      const std::vector<at::Tensor>& seen) {
  TensorType type{to_dtype(seen[0].scalar_type()), {}, {}};
  auto fit = [&](auto&& read, const char* what, int64_t dim) {
    Samples samples;
    for (const at::Tensor& tensor : seen) samples.push_back(read(tensor));
    if (auto expr = candidates.fit(samples)) return *expr;
    std::string values;
    for (int64_t value : samples) values += (values.empty() ? "" : ", ") + std::to_string(value);
    refuse(op, std::string("its result's ") + what + " " + std::to_string(dim) +
                   " is no simple expression of the operands' sizes (sampled: " + values + ")" +
                   kKeepStatic);
  };
  for (const at::Tensor& tensor : seen) {
    if (tensor.dim() != seen[0].dim()) {
      refuse(op, std::string("the rank of its result depends on sizes") + kKeepStatic);
    }
  }
  for (int64_t dim = 0; dim < seen[0].dim(); ++dim) {
    type.shape.push_back(fit([dim](const at::Tensor& t) { return t.size(dim); }, "size", dim));
  }
  const bool contiguous =
      std::all_of(seen.begin(), seen.end(), [](const at::Tensor& t) { return t.is_contiguous(); });
  if (contiguous) return type;
  type.strides.emplace();
  for (int64_t dim = 0; dim < seen[0].dim(); ++dim) {
    Samples samples;
    for (const at::Tensor& tensor : seen) samples.push_back(tensor.stride(dim));
    const auto expr = candidates.fit(samples);
    if (!expr) {  // strides are a matter of layout, not of values: fall back to row-major
      type.strides.reset();
      return type;
    }
    type.strides->push_back(*expr);
  }
  return normalized(std::move(type));
}

struct Probes {
  std::vector<std::vector<int64_t>> values;
  std::vector<torch::jit::Stack> results;
  std::optional<std::string> objection;  // why the kernel does not take one of them
};

// The results of the Meta kernel, or why it does not take these sizes. Python kernels leave their
// error in the interpreter: it is fetched.
std::optional<torch::jit::Stack> try_meta(Tracer& tracer, const OpInfo& op,
                                          const std::vector<Argument>& arguments,
                                          std::span<const int64_t> values,
                                          std::optional<std::string>& objection) {
  try {
    return run_meta(tracer, op, arguments, values);
  } catch (const c10::Error& error) {
    objection = error.what_without_backtrace();
  } catch (python_error& error) {
    const pybind11::gil_scoped_acquire gil;
    error.persist();
    objection = error.what();
  } catch (const std::exception& error) {
    objection = error.what();
  }
  // without the Python stack that pybind11 appends
  objection = objection->substr(0, objection->find("\n\nAt:\n"));
  return std::nullopt;
}

// The Meta kernel at `count` assignments, until one fails.
Probes run_probes(Tracer& tracer, const OpInfo& op, const std::vector<Argument>& arguments,
                  const Ties& ties, int count) {
  Probes probes{assignments(tracer, arguments, ties, count), {}, std::nullopt};
  for (const auto& values : probes.values) {
    auto result = try_meta(tracer, op, arguments, values, probes.objection);
    if (!result) break;
    probes.results.push_back(std::move(*result));
  }
  return probes;
}

// Further probes far from the sample, where the kernel takes them. Near it, sizes that are divided
// on their way (by strides, by patches) move so little that a wrong expression can meet them all,
// a constant among them.
void add_far_probes(Tracer& tracer, const OpInfo& op, const std::vector<Argument>& arguments,
                    Probes& probes) {
  const Ties ties = no_ties(tracer.symbols());
  for (const int64_t stride : {9, 65, 513}) {
    const int probe = static_cast<int>(probes.values.size());
    auto values = assignment(tracer.symbols(), ties, probe, Moves::kSteps, stride);
    if (!sizes_exist(tracer, arguments, values)) continue;
    std::optional<std::string> objection;  // it need not take them
    if (auto result = try_meta(tracer, op, arguments, values, objection)) {
      probes.values.push_back(std::move(values));
      probes.results.push_back(std::move(*result));
    }
  }
}

// States what the kernel needs of sizes that it refuses to see move: that some are equal which are
// equal at the sample (the inner dims of a product), or that one is the sample's (the channels of
// an image). False when it does not even take the sample's sizes.
bool learn_needed_sizes(Tracer& tracer, const OpInfo& op, const std::vector<Argument>& arguments) {
  SymbolTable& symbols = tracer.symbols();
  auto accepts = [&](const Ties& ties) {
    return !run_probes(tracer, op, arguments, ties, 2).objection;
  };
  Ties ties(symbols.size(), kFixed);
  if (!accepts(ties)) return false;
  auto with = [&](SymbolId id, SymbolId leader) {
    Ties moved = ties;
    moved[id] = leader;
    if (moved[leader] == kFixed) moved[leader] = leader;
    return moved;
  };
  for (SymbolId id = 0; id < ties.size(); ++id) {
    if (symbols.replacement(id)) continue;
    if (const Ties alone = with(id, id); accepts(alone)) {
      ties = alone;
      continue;
    }
    for (SymbolId other = 0; other < id && ties[id] == kFixed; ++other) {
      if (symbols.hints()[other] != symbols.hints()[id] || symbols.replacement(other)) continue;
      if (ties[other] != kFixed && ties[other] != other) continue;
      if (const Ties tied = with(id, other); accepts(tied)) ties = tied;
    }
  }
  for (SymbolId id = 0; id < ties.size(); ++id) {
    if (symbols.replacement(id) || ties[id] == id) continue;
    const int64_t hint = symbols.hints()[id];
    tracer.require_equal(symbols.symbol(id),
                         ties[id] == kFixed ? Expr(hint) : symbols.symbol(ties[id]));
  }
  return true;
}

// PyTorch's fallback for Meta, which only objects, does not count.
bool has_meta_kernel(const c10::OperatorHandle& op) {
  using c10::DispatchKey;
  constexpr std::array<DispatchKey, 4> keys = {
      DispatchKey::Meta, DispatchKey::CompositeImplicitAutograd,
      DispatchKey::CompositeExplicitAutograd, DispatchKey::CompositeExplicitAutogradNonFunctional};
  return std::any_of(keys.begin(), keys.end(),
                     [&](DispatchKey key) { return op.hasKernelForDispatchKey(key); });
}

}  // namespace

ResultTypes Tracer::probe(const OpInfo& op, const std::vector<Argument>& arguments) {
  const std::vector<std::vector<int64_t>> none;
  const int count = Candidates(*this, arguments, none).symbolic() ? kProbes : 1;
  Probes probes = run_probes(*this, op, arguments, no_ties(symbols()), count);
  if (probes.objection && learn_needed_sizes(*this, op, arguments)) {
    probes = run_probes(*this, op, arguments, no_ties(symbols()), count);
  }
  if (probes.objection && !has_meta_kernel(op.handle)) {
    refuse(op,
           "PyTorch has no Meta kernel for it, so the shape of its result is unknown. Register one "
           "with torch.library.register_fake, or write this line with other operators");
  }
  if (probes.objection) refuse(op, "cannot run on these sizes: " + *probes.objection);
  if (count > 1) add_far_probes(*this, op, arguments, probes);
  const std::vector<torch::jit::Stack>& stacks = probes.results;
  const Candidates candidates(*this, arguments, probes.values);

  ResultTypes results;
  for (size_t i = 0; i < stacks[0].size(); ++i) {
    ResultType result;
    auto fit_at = [&](auto&& pick) {
      std::vector<at::Tensor> seen;
      for (const auto& stack : stacks) seen.push_back(pick(stack[i]));
      result.types.push_back(fit_tensor(op, candidates, seen));
    };
    if (stacks[0][i].isTensorList()) {
      result.is_list = true;
      const size_t count = stacks[0][i].toTensorVector().size();
      for (const auto& stack : stacks) {
        if (stack[i].toTensorVector().size() != count) {
          refuse(op, std::string("the number of its results depends on sizes") + kKeepStatic);
        }
      }
      for (size_t j = 0; j < count; ++j) {
        fit_at([j](const c10::IValue& value) { return value.toTensorVector()[j]; });
      }
    } else if (stacks[0][i].isTensor() && stacks[0][i].toTensor().defined()) {
      fit_at([](const c10::IValue& value) { return value.toTensor(); });
    } else if (stacks[0][i].isTensor() || stacks[0][i].isNone()) {
      result.absent = true;
    } else {
      refuse(op, "it returns a value that is no tensor");
    }
    results.push_back(std::move(result));
  }
  return results;
}

DType Tracer::probe_dtype(const OpInfo& op, const std::vector<Argument>& arguments) {
  std::string key = op.name;
  for (const Argument& argument : arguments) {
    key += static_cast<char>('A' + argument.index());
    if (const auto* ref = std::get_if<ValueRef>(&argument)) {
      const TensorType& operand = type(ref->id);
      key += static_cast<char>(operand.dtype);
      key += operand.shape.empty() ? '0' : 'n';
    } else if (const auto* dtype = std::get_if<DType>(&argument)) {
      key += static_cast<char>(*dtype);
    } else if (const auto* text = std::get_if<std::string>(&argument)) {
      key += *text;
    }
  }
  auto& memo = catalog_.dtype_memo();
  if (auto found = memo.find(key); found != memo.end()) return found->second;
  const auto stack = run_meta(*this, op, arguments, symbols().hints());
  const DType dtype = to_dtype(stack.at(0).toTensor().scalar_type());
  memo.emplace(std::move(key), dtype);
  return dtype;
}

}  // namespace portwright
