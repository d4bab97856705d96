#include "pt2/reader.h"

#include <algorithm>

#include "ir/verifier.h"
#include "pt2/argument_reader.h"
#include "pt2/format.h"
#include "pt2/graph_reader.h"
#include "pt2/sympy_reader.h"
#include "pt2/weight_reader.h"
#include "pt2/zip_reader.h"

namespace portwright {
namespace {

[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorCode::kUnsupported, what + " in a .pt2 file is not supported");
}

LeafConstant constant_of(const Json& argument) {
  const auto [field, value] = union_of(argument);
  if (field == "as_none") return None{};
  if (field == "as_bool") return value.get<bool>();
  if (field == "as_int") return value.get<int64_t>();
  if (field == "as_float") return read_float(value);
  if (field == "as_string") return value.get<std::string>();
  unsupported("an input or output of the kind '" + field + "'");
}

class FileReader {
 public:
  FileReader(std::string_view document, StoredWeights weights, SchemaTable& schemas)
      : document_(Json::parse(document)),
        module_(document_.at("graph_module")),
        graph_(module_.at("graph")),
        reader_(file_.program, schemas, document_.at("range_constraints")),
        weights_(std::move(weights)) {}

  Pt2File read() {
    check_version();
    reader_.symbols().read_hints(graph_);
    read_inputs();
    reader_.read_nodes(graph_, reader_.scope());
    add_writes();
    read_outputs();
    read_interface();
    read_guards();
    return std::move(file_);
  }

 private:
  void check_version() const {
    const Json& version = document_.at("schema_version");
    if (version.at("major") == pt2::kSchemaMajor) return;
    unsupported("version " + version.at("major").dump() + " of torch.export's schema (this reads " +
                std::to_string(pt2::kSchemaMajor) + ", of PyTorch 2.13)");
  }

  void read_inputs() {
    const Json& inputs = graph_.at("inputs");
    const Json& specs = module_.at("signature").at("input_specs");
    if (inputs.size() != specs.size()) corrupt("its signature has another number of inputs");
    for (size_t i = 0; i < specs.size(); ++i) {
      const auto [kind, spec] = union_of(specs[i]);
      const auto [field, value] = union_of(inputs[i]);
      if (kind == "constant_input") {
        file_.interface.inputs.push_back(
            {std::nullopt, constant_of(spec.at("value")), spec.at("name").get<std::string>()});
        continue;
      }
      if (field != "as_tensor") unsupported("an input of the kind '" + field + "'");
      const std::string name = value.at("name").get<std::string>();
      reader_.add_input(graph_, name);
      add_input(kind, spec, name);
    }
  }

  void add_input(const std::string& kind, const Json& spec, const std::string& name) {
    std::vector<InputSpec>& inputs = file_.program.inputs;
    if (kind == "user_input") {
      file_.interface.inputs.push_back({user_inputs_++, None{}, {}});
      inputs.push_back({InputKind::kUserInput, name, true, std::nullopt});
      return;
    }
    InputSpec input;
    if (kind == "parameter") {
      input = {InputKind::kParameter, spec.at("parameter_name").get<std::string>(), true, {}};
    } else if (kind == "buffer") {
      input = {InputKind::kBuffer,
               spec.at("buffer_name").get<std::string>(),
               spec.at("persistent").get<bool>(),
               {}};
    } else if (kind == "tensor_constant") {
      input = {
          InputKind::kConstantTensor, spec.at("tensor_constant_name").get<std::string>(), true, {}};
    } else {
      unsupported("an input of the kind '" + kind + "'");
    }
    const auto found = weights_.by_name.find(input.target);
    if (found == weights_.by_name.end()) corrupt("the tensor '" + input.target + "' is missing");
    input.weight = found->second;
    if (weights_.trainable.contains(input.target)) {
      file_.interface.trainable.insert(input.target);
    }
    inputs.push_back(std::move(input));
  }

  // Inputs that in-place operators changed: outputs of the functional program.
  void add_writes() {
    Program& program = file_.program;
    for (const auto& [input, value] : reader_.writes()) {
      const auto position =
          std::find(program.graph.inputs.begin(), program.graph.inputs.end(), input);
      const InputSpec& spec =
          program.inputs[static_cast<size_t>(position - program.graph.inputs.begin())];
      if (spec.kind == InputKind::kUserInput) {
        add_output(OutputKind::kUserInputMutation, spec.target, value);
      } else if (spec.kind == InputKind::kBuffer) {
        require_own_memory(spec);
        add_output(OutputKind::kBufferMutation, spec.target, value);
      } else {
        unsupported("a graph that writes to '" + spec.target + "', a parameter or constant,");
      }
    }
  }

  // What else is in the memory of a buffer that is written to would change with it.
  void require_own_memory(const InputSpec& written) const {
    const auto mine = written.weight->source->bytes();
    for (const InputSpec& other : file_.program.inputs) {
      if (&other == &written || !other.weight) continue;
      const auto theirs = other.weight->source->bytes();
      if (mine.data() < theirs.data() + theirs.size() &&
          theirs.data() < mine.data() + mine.size()) {
        unsupported("a graph that writes to '" + written.target + "', which shares memory with '" +
                    other.target + "',");
      }
    }
  }

  void add_output(OutputKind kind, const std::string& target, ValueId value) {
    file_.program.outputs.push_back({kind, target});
    file_.program.graph.outputs.push_back(value);
  }

  void read_outputs() {
    for (const Json& item : module_.at("signature").at("output_specs")) {
      const auto [kind, spec] = union_of(item);
      const Json& argument = spec.at("arg");
      if (kind == "buffer_mutation") {
        add_output(OutputKind::kBufferMutation, spec.at("buffer_name").get<std::string>(),
                   reader_.last_value(argument.at("name").get<std::string>()));
      } else if (kind == "user_input_mutation") {
        add_output(OutputKind::kUserInputMutation, spec.at("user_input_name").get<std::string>(),
                   reader_.last_value(argument.at("name").get<std::string>()));
      } else if (kind == "user_output") {
        read_user_output(argument);
      } else {
        unsupported("an output of the kind '" + kind + "'");
      }
    }
  }

  void read_user_output(const Json& argument) {
    std::vector<InterfaceLeaf>& leaves = file_.interface.outputs;
    const auto [field, value] = union_of(argument);
    if (field == "as_tensor") {
      const std::string name = value.at("name").get<std::string>();
      add_output(OutputKind::kUserOutput, name, reader_.last_value(name));
      leaves.push_back({user_outputs_++, None{}, {}});
    } else if (field == "as_sym_int") {
      const NamedValue number = read_number(argument, reader_.scope());
      const auto* size = std::get_if<Expr>(&number);
      if (size == nullptr) unsupported("an output that is a symbolic float or condition");
      leaves.push_back({std::nullopt, *size, {}});
    } else {
      leaves.push_back({std::nullopt, constant_of(argument), {}});
    }
  }

  void read_interface() {
    const Json& top = module_.at("module_call_graph").at(0);
    const Json& signature = top.at("signature");
    file_.interface.in_spec = signature.at("in_spec").get<std::string>();
    file_.interface.out_spec = signature.at("out_spec").get<std::string>();
    const Json& names = signature.at("forward_arg_names");
    if (!names.is_null()) {
      file_.interface.argument_names = names.get<std::vector<std::string>>();
    }
  }

  // Conditions on input sizes that torch keeps as Python text.
  void read_guards() {
    const Json& texts = document_.at("guards_code");
    if (texts.empty()) return;
    const std::map<std::string, size_t> inputs = input_paths(file_.interface);
    const Program& program = file_.program;
    const std::vector<size_t> user = program.user_inputs();
    std::vector<Guard> guards = program.symbols->guards();
    for (const Json& text : texts) {
      const Predicate predicate =
          read_guard(text.get<std::string>(), *program.symbols,
                     [&](const std::string& path, size_t dim) -> Expr {
                       const auto found = inputs.find(path);
                       if (found == inputs.end()) unsupported("a guard on L" + path);
                       const InterfaceLeaf& leaf = file_.interface.inputs.at(found->second);
                       const ValueId id = program.graph.inputs.at(user.at(leaf.tensor.value()));
                       return program.graph.type(id).shape.at(dim);
                     });
      if (predicate.maybe_constant() == true) continue;
      guards.push_back({predicate, GuardKind::kDecision, {}, {}});
    }
    file_.program.symbols->set_guards(std::move(guards));
  }

  Pt2File file_;
  const Json document_;
  const Json& module_;
  const Json& graph_;
  GraphReader reader_;
  StoredWeights weights_;
  size_t user_inputs_ = 0, user_outputs_ = 0;
};

Pt2File read_document(std::string_view document, StoredWeights weights, SchemaTable& schemas) {
  Pt2File file = FileReader(document, std::move(weights), schemas).read();
  try {
    verify(file.program);
  } catch (const Error& error) {
    corrupt(error.what());
  }
  return file;
}

Pt2File read_archive(const ZipReader& archive, SchemaTable& schemas) {
  if (archive.text(pt2::kFormat) != pt2::kFormatValue) corrupt("it is an archive of another kind");
  if (archive.contains(pt2::kByteOrder) && archive.text(pt2::kByteOrder) != pt2::kByteOrderValue) {
    unsupported("big-endian data");
  }
  size_t models = 0;
  for (const auto& [name, entry] : archive.entries()) models += name.starts_with("models/") ? 1 : 0;
  if (models > 1) unsupported("more than one program");
  StoredWeights weights;
  read_weights(archive, pt2::kWeightsConfig, pt2::kWeights, weights);
  read_weights(archive, pt2::kConstantsConfig, pt2::kConstants, weights);
  return read_document(archive.text(pt2::kModel), std::move(weights), schemas);
}

// What `read` gives; whatever a damaged document makes it throw is Error(kCorrupt).
template <typename Read>
Pt2File checked(const std::string& place, Read&& read) {
  try {
    return read();
  } catch (const Json::exception& error) {
    corrupt(place + ": " + error.what());
  } catch (const std::logic_error& error) {  // an index out of range, an absent leaf
    corrupt(place + ": " + error.what());
  } catch (const std::bad_variant_access&) {
    corrupt(place + ": a value of another kind than its operator gives");
  }
}

}  // namespace

Pt2File read_pt2(const std::string& path, SchemaTable& schemas) {
  const ZipReader archive = ZipReader::open(path);
  return checked(path, [&] { return read_archive(archive, schemas); });
}

Pt2File read_model(std::string_view document, StoredWeights weights, SchemaTable& schemas) {
  return checked("the document",
                 [&] { return read_document(document, std::move(weights), schemas); });
}

}  // namespace portwright
