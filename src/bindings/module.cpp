// Entry point of `portwright._core`.
#include "bindings/bindings.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Portwright's engine: capture, Program, passes, interpreter and writers.";
  portwright::bind_errors(m);
  portwright::bind_symbolic(m);
  portwright::bind_ir(m);
  portwright::bind_onnx(m);
  portwright::bind_executorch(m);
  portwright::bind_pt2(m);
  portwright::bind_capture(m);
}
