# Headers of ExecuTorch's schemas, by the flatc that belongs to the flatbuffers headers.
# Not the one of the executorch wheel, which is of another version.
find_program(FLATC flatc PATHS /usr/bin /usr/local/bin NO_DEFAULT_PATH)
find_program(FLATC flatc REQUIRED)
find_path(FLATBUFFERS_INCLUDE flatbuffers/flatbuffers.h REQUIRED)
set(EXECUTORCH_SCHEMAS ${PROJECT_BINARY_DIR}/executorch_schemas)
set(headers)
foreach(schema program scalar_type xnnpack)
  set(header ${EXECUTORCH_SCHEMAS}/${schema}_generated.h)
  add_custom_command(
    OUTPUT ${header} DEPENDS ${PROJECT_SOURCE_DIR}/src/executorch/schemas/${schema}.fbs
    COMMAND ${FLATC} --cpp --scoped-enums -o ${EXECUTORCH_SCHEMAS}
            ${PROJECT_SOURCE_DIR}/src/executorch/schemas/${schema}.fbs)
  list(APPEND headers ${header})
endforeach()
add_custom_target(executorch_schemas DEPENDS ${headers})
