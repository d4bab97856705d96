// Turns portwright::Error into the matching class of portwright.errors.
#include <array>
#include <exception>

#include "base/error.h"
#include "bindings/bindings.h"

namespace portwright {
namespace {

namespace py = pybind11;

// Indexed by ErrorCode; the classes live in python/portwright/errors.py.
constexpr std::array<const char*, 10> kClassNames = {"InvalidArgumentError",
                                                     "UnsupportedError",
                                                     "MissingLoweringError",
                                                     "DataDependentError",
                                                     "GuardViolatedError",
                                                     "SymbolOverflowError",
                                                     "FileError",
                                                     "CorruptFileError",
                                                     "IrParseError",
                                                     "InternalError"};

}  // namespace

void raise_python(const Error& error) {
  py::object type =
      py::module_::import("portwright.errors").attr(kClassNames[static_cast<size_t>(error.code())]);
  py::object value = type(error.what());
  value.attr("source_file") = error.source().file;
  value.attr("source_line") = error.source().line;
  value.attr("module_path") = error.module_path();
  PyErr_SetObject(type.ptr(), value.ptr());
}

void bind_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr pending) {
    try {
      if (pending) std::rethrow_exception(pending);
    } catch (const Error& error) {
      raise_python(error);
    }
  });
}

}  // namespace portwright
