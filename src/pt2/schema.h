// What torch-free code knows of operators: their schemas, in PyTorch's own text.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ir/argument.h"

namespace portwright {

struct SchemaArgument {
  std::string name;
  std::string type;  // "Tensor", "Tensor?[]", "SymInt[]?": without list sizes and alias marks
  bool keyword_only = false;
  std::optional<Argument> fallback;  // the default, as Program holds it
};

struct Schema {
  std::vector<SchemaArgument> arguments;
  std::vector<std::string> returns;  // types, as above
  bool makes_view = false;           // a result shares memory with an operand
};

// "linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor". Error(kParse).
Schema parse_schema(std::string_view text);

// Schemas by Program's operator names ("aten.add.Tensor", "aten.linear.default").
class SchemaTable {
 public:
  // All of ATen's overloads that write to no operand.
  SchemaTable();
  // Another library's: "torchvision::nms(Tensor dets, ...) -> Tensor". Replaces one of that name.
  void add(std::string text);
  // Gives the schema's text of an operator that the table lacks, or nothing.
  using Source = std::function<std::optional<std::string>(const std::string& op)>;
  void set_source(Source source) { source_ = std::move(source); }
  // Null when unknown. The text is parsed when it is first asked for.
  const Schema* find(const std::string& op);

 private:
  struct Entry {
    std::string_view text;
    std::optional<Schema> schema;
  };
  std::vector<std::unique_ptr<std::string>> added_;
  std::unordered_map<std::string, Entry> entries_;
  Source source_;
};

}  // namespace portwright
