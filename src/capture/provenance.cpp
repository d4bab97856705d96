#include "capture/provenance.h"

#include <pybind11/pybind11.h>

#include "capture/tracer.h"

namespace portwright {
namespace {

std::string file_name(PyCodeObject* code) {
  const char* text = PyUnicode_AsUTF8(code->co_filename);
  return text != nullptr ? text : "";
}

// "transformers/models/bert/modeling_bert.py" for an installed package, else the path as it is.
std::string readable(const std::string& path) {
  static const std::string kPackages = "site-packages/";
  const size_t at = path.rfind(kPackages);
  return at == std::string::npos ? path : path.substr(at + kPackages.size());
}

}  // namespace

FrameReader::~FrameReader() {
  if (Py_IsInitialized() == 0) return;
  pybind11::gil_scoped_acquire gil;
  for (const auto& [code, model] : is_model_) Py_DECREF(code);
}

bool FrameReader::is_model_code(PyCodeObject* code) {
  if (auto found = is_model_.find(code); found != is_model_.end()) return found->second;
  const std::string path = file_name(code);
  bool model = !path.empty() && path.front() != '<';
  for (const std::string& root : roots_) model = model && path.rfind(root, 0) != 0;
  Py_INCREF(code);
  is_model_.emplace(code, model);
  return model;
}

const SourceLine& FrameReader::current() {
  PyFrameObject* frame = PyEval_GetFrame();
  Py_XINCREF(frame);
  const SourceLine* line = &unknown_;
  while (frame != nullptr) {
    PyCodeObject* code = PyFrame_GetCode(frame);
    Py_DECREF(code);  // the frame keeps it
    if (is_model_code(code)) {
      const Position position{code, PyFrame_GetLasti(frame)};
      auto [entry, added] = lines_.try_emplace(position);
      if (added) entry->second = {readable(file_name(code)), PyFrame_GetLineNumber(frame)};
      line = &entry->second;
      break;
    }
    PyFrameObject* back = PyFrame_GetBack(frame);
    Py_DECREF(frame);
    frame = back;
  }
  Py_XDECREF(frame);
  return *line;
}

Place current_place() {
  Tracer* tracer = Tracer::active();
  if (tracer == nullptr) return {};
  pybind11::gil_scoped_acquire gil;
  return {tracer->frames().current(), tracer->current_module()};
}

Provenance current_provenance() {
  Tracer* tracer = Tracer::active();
  if (tracer == nullptr) return {};
  pybind11::gil_scoped_acquire gil;
  return {tracer->module_index(), tracer->source_index(tracer->frames().current())};
}

}  // namespace portwright
