# portwright._core: the engine with its torch-side stages. The only target that sees torch headers.
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)

execute_process(
  COMMAND ${Python_EXECUTABLE} -c "import os, torch
print(os.path.dirname(torch.__file__), torch.__version__.split('+')[0], sep=';')"
  OUTPUT_VARIABLE TORCH_FACTS OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE TORCH_MISSING)
if(TORCH_MISSING)
  message(FATAL_ERROR "torch is not installed for ${Python_EXECUTABLE}: "
                      "pip install torch==2.13.0 (or configure with -DPORTWRIGHT_TORCH=OFF)")
endif()
list(GET TORCH_FACTS 0 TORCH_ROOT)
list(GET TORCH_FACTS 1 TORCH_VERSION)
if(NOT TORCH_VERSION MATCHES "^2\\.13\\.")
  message(FATAL_ERROR "Portwright's capture is built against torch 2.13, found ${TORCH_VERSION}: "
                      "pip install torch==2.13.0")
endif()

file(GLOB_RECURSE sources CONFIGURE_DEPENDS
     ${PROJECT_SOURCE_DIR}/src/capture/*.cpp
     ${PROJECT_SOURCE_DIR}/src/interpreter/*.cpp
     ${PROJECT_SOURCE_DIR}/src/bindings/*.cpp)
Python_add_library(_core MODULE WITH_SOABI ${sources})
target_include_directories(_core SYSTEM PRIVATE
  ${TORCH_ROOT}/include ${TORCH_ROOT}/include/torch/csrc/api/include)
target_link_libraries(_core PRIVATE portwright_onnx portwright_pt2 portwright_executorch portwright_passes)
# torch's own libraries by path: its CMake package would add flags and look for CUDA.
foreach(library torch_python torch torch_cpu c10)
  target_link_libraries(_core PRIVATE ${TORCH_ROOT}/lib/lib${library}.so)
endforeach()
target_precompile_headers(_core PRIVATE
  <torch/library.h>
  <ATen/core/dispatch/Dispatcher.h>
  <torch/csrc/utils/pybind.h>
  <torch/csrc/autograd/python_variable.h>)
set_target_properties(_core PROPERTIES
  BUILD_RPATH ${TORCH_ROOT}/lib
  INSTALL_RPATH "$ORIGIN/../torch/lib"
  CXX_VISIBILITY_PRESET hidden)

if(PORTWRIGHT_INPLACE)
  set_target_properties(_core PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_SOURCE_DIR}/python/portwright)
endif()
install(TARGETS _core DESTINATION portwright)
