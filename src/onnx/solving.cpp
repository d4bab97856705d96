// Linear systems, inverses, determinants and Cholesky factors, as Loops over the columns. ONNX has
// no assertions: what is singular or not positive definite gives infinity and NaN.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// Stacks of matrices have one batch dim here: [batch, rows, columns].
class Matrices {
 public:
  Matrices(const LoweringCall& call, const Expr& size)
      : e_(call.emit),
        size_(size),
        rows_(e_.op("Range", {e_.scalar(0, DType::kInt64), e_.scalar_int(size_),
                              e_.scalar(1, DType::kInt64)})) {}

  Emitter& emitter() const { return e_; }
  const Expr& size() const { return size_; }
  const std::string& rows() const { return rows_; }  // [n], 0 to n - 1

  std::string at(const std::string& value, const std::string& place, int64_t axis) const {
    return e_.op("Gather", {value, place}, {{"axis", axis}});
  }

  // [batch, n, n] of ones on the diagonal.
  std::string identities(const Expr& batch, DType dtype) const {
    const std::string equal = e_.op("Equal", {e_.unsqueeze(rows_, {1}), rows_});
    const std::vector<Expr> shape = {batch, size_, size_};
    return e_.op("Expand", {e_.cast(equal, DType::kBool, dtype), e_.shape(shape)});
  }

 private:
  Emitter& e_;
  Expr size_;
  std::string rows_;
};

Expr count_of(std::span<const Expr> sizes) {
  Expr all = 1;
  for (const Expr& size : sizes) all = all * size;
  return all;
}

// The batch dims of a stack, and the same with two more.
std::span<const Expr> batch_of(const TensorType& type) {
  return std::span(type.shape).first(type.rank() - 2);
}

std::vector<Expr> flat_shape(std::span<const Expr> batch, const Expr& rows, const Expr& columns) {
  return {count_of(batch), rows, columns};
}

std::vector<Expr> full_shape(std::span<const Expr> batch, const Expr& rows, const Expr& columns) {
  std::vector<Expr> shape(batch.begin(), batch.end());
  shape.push_back(rows);
  shape.push_back(columns);
  return shape;
}

// What is left of [matrix | right] when the left part has become the identity.
struct Eliminated {
  std::string value;   // [batch, n, n + k]
  std::string pivots;  // [n, batch]
  std::string signs;   // [n, batch], -1 where rows changed places
};

// Gauss and Jordan's, with the largest element of each column as the pivot. With `singular`, a
// column of zeros is passed over, as determinants need it.
Eliminated eliminate(const Matrices& m, const std::string& matrix, DType dtype, bool singular) {
  Emitter& e = m.emitter();
  const std::string rows = e.unsqueeze(m.rows(), {1});  // [n, 1]
  const std::string zero = e.scalar(0, dtype);
  const std::string one = e.scalar(1, dtype);
  e.open_body();
  const std::string round = e.body_input(DType::kInt64, OnnxBodyValue::Kind::kScalar);
  const std::string again = e.body_input(DType::kBool, OnnxBodyValue::Kind::kScalar);
  const std::string before = e.body_input(dtype);
  const std::string sizes = e.op("Abs", {m.at(before, round, 2)});
  const std::string left = e.op("GreaterOrEqual", {m.rows(), round});
  const std::string candidates = e.op("Where", {left, sizes, e.scalar(-1, dtype)});
  const std::string place =
      e.op("ArgMax", {candidates}, {{"axis", int64_t{1}}, {"keepdims", int64_t{1}}});
  const std::string is_chosen = e.unsqueeze(e.op("Equal", {m.rows(), place}), {2});
  const std::string is_current = e.op("Equal", {rows, round});
  const std::string chosen =
      e.op("ReduceSum", {e.op("Where", {is_chosen, before, zero}), e.ints({1})},
           {{"keepdims", int64_t{1}}});
  const std::string current = e.unsqueeze(m.at(before, round, 1), {1});
  const std::string swapped =
      e.op("Where", {is_current, chosen, e.op("Where", {is_chosen, current, before})});
  const std::string pivot = m.at(chosen, round, 2);  // [batch, 1]
  std::string divisor = pivot;
  if (singular) divisor = e.op("Where", {e.op("Equal", {pivot, zero}), one, pivot});
  const std::string unit = e.op("Div", {chosen, e.unsqueeze(divisor, {2})});
  const std::string factors = e.unsqueeze(m.at(swapped, round, 2), {2});
  const std::string reduced = e.op("Sub", {swapped, e.op("Mul", {factors, unit})});
  e.body_output(again, DType::kBool);
  e.body_output(e.op("Where", {is_current, unit, reduced}), dtype);
  e.body_output(e.squeeze(pivot, {1}), dtype);
  const std::string kept = e.op("Equal", {e.squeeze(place, {1}), round});
  e.body_output(e.op("Where", {kept, one, e.scalar(-1, dtype)}), dtype);
  const auto body = e.close_body();
  const auto results = e.ops("Loop", {e.scalar_int(m.size()), "", matrix}, 3, {{"body", body}});
  return {results[0], results[1], results[2]};
}

// matrix * result = right; both [batch, n, ...].
std::string solved(const Matrices& m, const std::string& matrix, const std::string& right,
                   DType dtype) {
  Emitter& e = m.emitter();
  const std::string both = e.op("Concat", {matrix, right}, {{"axis", int64_t{2}}});
  const std::string value = eliminate(m, both, dtype, false).value;
  return e.op("Slice", {value, e.dim(m.size()), e.ints({INT64_MAX}), e.ints({2})});
}

std::string stack(const LoweringCall& call) {
  const TensorType& type = call.type(0);
  const Expr& n = type.shape.back();
  return call.emit.reshape(call.emit.tensor(call.arg(0)), type.shape,
                           flat_shape(batch_of(type), n, n));
}

// No matrix is found wanting.
void give_info(const LoweringCall& call, size_t i) {
  Emitter& e = call.emit;
  const TensorType& type = call.result(i);
  call.give(e.op("Expand", {e.scalar(0, type.dtype), e.shape(type.shape)}), i);
}

// linalg_inv_ex(self, check_errors) -> (inverse, info).
void inverse(const LoweringCall& call) {
  const TensorType& type = call.type(0);
  const Expr& n = type.shape.back();
  const Matrices m(call, n);
  const std::string ones = m.identities(count_of(batch_of(type)), type.dtype);
  const std::string result = solved(m, stack(call), ones, type.dtype);
  call.give(call.emit.reshape(result, flat_shape(batch_of(type), n, n), type.shape), 0);
  give_info(call, 1);
}

// `sizes` in one batch dim, after `value` was spread over the batch dims.
std::string spread(const LoweringCall& call, const std::string& value, std::span<const Expr> batch,
                   const Expr& rows, const Expr& columns) {
  Emitter& e = call.emit;
  const std::vector<Expr> full = full_shape(batch, rows, columns);
  return e.reshape(e.op("Expand", {value, e.shape(full)}), full, flat_shape(batch, rows, columns));
}

struct System {
  std::string matrix, right;
  const TensorType& matrix_type;
  const TensorType& right_type;
  bool left;  // matrix * result = right, else result * matrix = right
};

void solve(const LoweringCall& call, System system) {
  Emitter& e = call.emit;
  const Expr& n = system.matrix_type.shape.back();
  const bool vector =
      call.result().rank() + 1 == system.matrix_type.rank() || system.right_type.rank() == 1;
  std::vector<Expr> shape = call.result().shape;
  if (vector) {
    system.right = e.unsqueeze(system.right, {-1});
    shape.emplace_back(1);
  }
  if (!system.left) {
    system.matrix = e.matrix_transposed(system.matrix, system.matrix_type.rank());
    system.right = e.matrix_transposed(system.right, system.right_type.rank());
    std::swap(shape[shape.size() - 2], shape.back());
  }
  const std::span<const Expr> batch = std::span(shape).first(shape.size() - 2);
  const Expr columns = shape.back();
  const Matrices m(call, n);
  const DType dtype = call.result().dtype;
  std::string result = solved(m, spread(call, system.matrix, batch, n, n),
                              spread(call, system.right, batch, n, columns), dtype);
  result = e.reshape(result, flat_shape(batch, n, columns), shape);
  if (!system.left) result = e.matrix_transposed(result, shape.size());
  call.give(vector ? e.squeeze(result, {-1}) : result, 0);
}

// _linalg_solve_ex(A, B, left, check_errors) -> (result, LU, pivots, info).
void solve_any(const LoweringCall& call) {
  Emitter& e = call.emit;
  solve(call, {e.tensor(call.arg(0)), e.tensor(call.arg(1)), call.type(0), call.type(1),
               flag(call.arg(2))});
  give_info(call, 3);
}

// linalg_solve_triangular(A, B, upper, left, unitriangular): the other triangle is not read.
void solve_triangular(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const bool upper = flag(call.arg(2));
  const bool unit = flag(call.arg(4));
  const int64_t from = unit ? (upper ? 1 : -1) : 0;
  std::string matrix = e.op("Trilu", {e.tensor(call.arg(0)), e.scalar(from, DType::kInt64)},
                            {{"upper", int64_t{upper}}});
  if (unit) {
    const Matrices m(call, call.type(0).shape.back());
    matrix = e.op("Add", {matrix, e.squeeze(m.identities(1, dtype), {0})});
  }
  solve(call, {matrix, e.tensor(call.arg(1)), call.type(0), call.type(1), flag(call.arg(3))});
}

std::string over_columns(Emitter& e, const char* reduction, const std::string& value) {
  return e.op(reduction, {value, e.ints({0})}, {{"keepdims", int64_t{0}}});
}

Eliminated triangle(const LoweringCall& call) {
  const TensorType& type = call.type(0);
  return eliminate(Matrices(call, type.shape.back()), stack(call), type.dtype, true);
}

void give_by_matrix(const LoweringCall& call, const std::string& value, size_t i) {
  const std::vector<Expr> flat = {count_of(batch_of(call.type(0)))};
  call.give(call.emit.reshape(value, flat, call.result(i).shape), i);
}

// _linalg_det(A) -> (result, LU, pivots).
void determinant(const LoweringCall& call) {
  Emitter& e = call.emit;
  const Eliminated found = triangle(call);
  const std::string all = e.op("Mul", {found.pivots, found.signs});
  give_by_matrix(call, over_columns(e, "ReduceProd", all), 0);
}

// _linalg_slogdet(A) -> (sign, logabsdet, LU, pivots).
void log_determinant(const LoweringCall& call) {
  Emitter& e = call.emit;
  const Eliminated found = triangle(call);
  const std::string signs = e.op("Mul", {e.op("Sign", {found.pivots}), found.signs});
  give_by_matrix(call, over_columns(e, "ReduceProd", signs), 0);
  const std::string logs = e.op("Log", {e.op("Abs", {found.pivots})});
  give_by_matrix(call, over_columns(e, "ReduceSum", logs), 1);
}

// linalg_cholesky_ex(self, upper, check_errors) -> (L, info); the other triangle is not read.
void cholesky(const LoweringCall& call) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  const DType dtype = type.dtype;
  const Expr& n = type.shape.back();
  const bool upper = flag(call.arg(1));
  const Matrices m(call, n);
  const std::string matrix = stack(call);
  const std::string zero = e.scalar(0, dtype);
  const std::vector<Expr> flat = flat_shape(batch_of(type), n, n);
  e.open_body();
  const std::string round = e.body_input(DType::kInt64, OnnxBodyValue::Kind::kScalar);
  const std::string again = e.body_input(DType::kBool, OnnxBodyValue::Kind::kScalar);
  const std::string before = e.body_input(dtype);
  const std::string row = e.unsqueeze(m.at(before, round, 1), {2});
  const std::string done = e.squeeze(e.op("MatMul", {before, row}), {2});
  const std::string rest = e.op("Sub", {m.at(matrix, round, upper ? 1 : 2), done});
  const std::string root = e.unsqueeze(e.op("Sqrt", {m.at(rest, round, 1)}), {1});
  const std::string below = e.op("GreaterOrEqual", {m.rows(), round});
  const std::string column = e.op("Where", {below, e.op("Div", {rest, root}), zero});
  e.body_output(again, DType::kBool);
  const std::string is_current = e.op("Equal", {m.rows(), round});
  e.body_output(e.op("Where", {is_current, e.unsqueeze(column, {2}), before}), dtype);
  const auto body = e.close_body();
  const std::string zeros = e.op("Expand", {zero, e.shape(flat)});
  std::string factor = e.op("Loop", {e.scalar_int(n), "", zeros}, {{"body", body}});
  if (upper) factor = e.matrix_transposed(factor, 3);
  call.give(e.reshape(factor, flat, type.shape), 0);
  give_info(call, 1);
}

void nothing(const LoweringCall&) {}

}  // namespace

std::span<const Lowering> solving_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.linalg_inv_ex.default", inverse},
      Lowering{"aten._linalg_solve_ex.default", solve_any},
      Lowering{"aten.linalg_solve_triangular.default", solve_triangular},
      Lowering{"aten._linalg_det.default", determinant},
      Lowering{"aten._linalg_slogdet.default", log_determinant},
      Lowering{"aten.linalg_cholesky_ex.default", cholesky},
      Lowering{"aten._linalg_check_errors.default", nothing},
  };
  return kRows;
}

}  // namespace portwright
