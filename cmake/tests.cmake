# One program with all C++ tests; torch-free, as the code under test is.
find_package(GTest REQUIRED)
include(GoogleTest)

file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/cpp/*.cpp)
add_executable(portwright_tests ${sources})
target_link_libraries(portwright_tests PRIVATE
  portwright_onnx portwright_pt2 portwright_passes nlohmann_json::nlohmann_json GTest::gtest_main)
target_include_directories(portwright_tests SYSTEM PRIVATE ${PROTOZERO_INCLUDE})
gtest_discover_tests(portwright_tests DISCOVERY_TIMEOUT 60)
