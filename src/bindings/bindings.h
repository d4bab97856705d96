// The parts of the Python module `portwright._core`, one per folder of the engine.
#pragma once

#include <pybind11/pybind11.h>

#include "base/error.h"

namespace portwright {

// Sets the Python exception that belongs to an error; the interpreter lock must be held.
void raise_python(const Error& error);

void bind_errors(pybind11::module_& m);
void bind_symbolic(pybind11::module_& m);
void bind_ir(pybind11::module_& m);
void bind_onnx(pybind11::module_& m);
void bind_executorch(pybind11::module_& m);
void bind_pt2(pybind11::module_& m);
void bind_capture(pybind11::module_& m);

}  // namespace portwright
