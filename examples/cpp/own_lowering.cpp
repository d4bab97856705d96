// A converter with a pass and an ONNX lowering of its own, on the torch-free engine.
//
//   own_lowering model.pt2 model.onnx
//
// A source without the ending .pt2 is read as IR text (docs/ir.md). The program's relu becomes gelu
// (the pass), and gelu becomes ONNX Runtime's fused operator (the lowering).
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "ir/text.h"
#include "onnx/export.h"
#include "onnx/lowering.h"
#include "onnx/writer.h"
#include "passes/pass.h"
#include "pt2/reader.h"

namespace {

using namespace portwright;

// A fix: edits the program in place and says whether it did.
bool relu_to_gelu(Program& program) {
  bool changed = false;
  for (Node& node : program.graph.nodes) {
    if (node.op != "aten.relu.default") continue;
    node.op = "aten.gelu.default";
    node.arguments.emplace_back(std::string("none"));  // all arguments of the schema are present
    changed = true;
  }
  return changed;
}

constexpr Pass kOwnPasses[] = {{"relu_to_gelu", &relu_to_gelu}};

// A lowering: emits ONNX nodes for one node of the program, and states what its result is.
void lower_gelu(const LoweringCall& call) {
  call.give(call.emit.op("com.microsoft::Gelu", {call.emit.tensor(call.arg(0))}));
}

Program read(const std::string& path) {
  if (path.ends_with(".pt2")) {
    SchemaTable schemas;
    return read_pt2(path, schemas).program;
  }
  std::ifstream file(path);
  return parse(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::cerr << "usage: own_lowering model.pt2 model.onnx\n";
    return 2;
  }
  try {
    Program program = read(arguments[1]);
    run_passes(program, kOwnPasses);
    OnnxOptions options;
    options.lowerings["aten.gelu.default"] = &lower_gelu;
    const OnnxModel model = lower(program, options);
    for (const OnnxNode& node : model.nodes) {
      std::cout << node.domain << "::" << node.op_type << '\n';
    }
    write_onnx(model, arguments[2], true);
  } catch (const Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
