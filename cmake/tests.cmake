# One program with all C++ tests; torch-free, as the code under test is.
find_package(GTest REQUIRED)
include(GoogleTest)

file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/cpp/*.cpp)
add_executable(portwright_tests ${sources})
target_link_libraries(portwright_tests PRIVATE
  portwright_onnx portwright_pt2 portwright_executorch portwright_passes nlohmann_json::nlohmann_json GTest::gtest_main)
target_include_directories(portwright_tests SYSTEM PRIVATE ${PROTOZERO_INCLUDE}
  ${FLATBUFFERS_INCLUDE} ${EXECUTORCH_SCHEMAS})
gtest_discover_tests(portwright_tests DISCOVERY_TIMEOUT 60)

# The example of docs/exporters.md: an extension written against the headers alone.
add_executable(own_lowering ${PROJECT_SOURCE_DIR}/examples/cpp/own_lowering.cpp)
target_link_libraries(own_lowering PRIVATE portwright_onnx portwright_pt2)
add_test(NAME example_own_lowering
  COMMAND own_lowering ${PROJECT_SOURCE_DIR}/examples/cpp/model.ir
          ${PROJECT_BINARY_DIR}/own_lowering.onnx)
set_tests_properties(example_own_lowering PROPERTIES
  PASS_REGULAR_EXPRESSION "Gemm\ncom.microsoft::Gelu")
