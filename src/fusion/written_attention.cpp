// Attention that a model writes out with matrix products (attn_implementation="eager").
#include "fusion/fusions.h"

namespace portwright {
namespace {

enum : size_t { kQuery, kKey, kValue, kMask, kWeights };
enum : size_t { kScale };

struct Form {
  Pattern pattern;
  bool scaled, divides, masked;
};

Pattern product() {
  return op(
      "aten.matmul.default",
      {value(kQuery), one_of({op("aten.transpose.int", {value(kKey), equal(2), equal(3)}),
                              op("aten.transpose.int", {value(kKey), equal(3), equal(2)}),
                              op("aten.transpose.int", {value(kKey), equal(-1), equal(-2)}),
                              op("aten.transpose.int", {value(kKey), equal(-2), equal(-1)})})});
}

std::vector<Form> forms() {
  std::vector<Form> all;
  const Pattern times = either_order("aten.mul.Tensor", product(), number(kScale));
  const Pattern over = op("aten.div.Tensor", {product(), number(kScale)});
  for (const bool masked : {true, false}) {
    auto weighted = [&](const Pattern& scores) {
      const Pattern shown = masked ? sum(scores, value(kMask)) : scores;
      return op("aten.matmul.default",
                {op("aten.softmax.int", {shown, last_dim()}), value(kValue)});
    };
    all.push_back({weighted(times), true, false, masked});
    all.push_back({weighted(over), true, true, masked});
    all.push_back({weighted(product()), false, false, masked});
  }
  return all;
}

}  // namespace

bool fuse_written_attention(Rewriter& out, const Node& node) {
  static const std::vector<Form> kForms = forms();
  if (node.op != "aten.matmul.default") return false;
  const Node* weights = out.definitions().of(node.arguments[0], "aten.softmax.int");
  // Where the weights are a result too, fusing would compute them twice.
  if (weights == nullptr || out.definitions().uses(weights->result()) != 1) return false;
  for (const Form& form : kForms) {
    Bindings bound;
    if (!matches(form.pattern, out.definitions(), node, bound)) continue;
    if (out.type(bound.values[kQuery]).rank() != 4) return false;
    Argument mask = None{};
    if (form.masked) mask = ValueRef{bound.values[kMask]};
    double scale = form.scaled ? bound.numbers[kScale] : 1;
    if (form.divides) scale = 1 / scale;
    out.give("aten.scaled_dot_product_attention.default",
             {ValueRef{bound.values[kQuery]}, ValueRef{bound.values[kKey]},
              ValueRef{bound.values[kValue]}, mask, 0.0, false, scale, false},
             {node.result()});
    return true;
  }
  return false;
}

}  // namespace portwright
