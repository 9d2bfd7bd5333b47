# Flags of all targets, and the functions by which folders declare theirs.

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(graft_options INTERFACE)
target_include_directories(graft_options INTERFACE ${CMAKE_SOURCE_DIR})
add_compile_options(-Wall -Wextra)
if(GRAFT_WERROR)
  add_compile_options(-Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Wthread-safety)
endif()
if(GRAFT_SANITIZE)
  add_compile_options(-fsanitize=${GRAFT_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${GRAFT_SANITIZE})
endif()

# What headers over <ATen/core/Tensor.h> need; the root fills it after find_package(Torch).
add_library(graft_torch_headers INTERFACE)

# One precompiled header for all LibTorch targets: one #include <torch/torch.h> costs 11 s.
function(graft_use_torch NAME)
  if(NOT TARGET graft_torch_pch)
    file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cc "")
    add_library(graft_torch_pch STATIC ${CMAKE_BINARY_DIR}/torch_pch.cc)
    target_link_libraries(graft_torch_pch PUBLIC graft_torch_headers)
    target_precompile_headers(graft_torch_pch PRIVATE <torch/torch.h>)
  endif()
  target_link_libraries(${NAME} PRIVATE graft_torch_headers)
  target_precompile_headers(${NAME} REUSE_FROM graft_torch_pch)
endfunction()

# graft_test(NAME x SOURCES x.cc LIBS ... LABEL unit|integration|slow [tsan] [TIMEOUT s] [WHOLE]): one GoogleTest
# program, one ctest entry for each of its tests. With label tsan, preset tsan builds and runs it too. WHOLE: one ctest
# entry for the program, where starting it costs more than its tests (loading LibTorch takes 0.5 s).
function(graft_test)
  cmake_parse_arguments(ARG "WHOLE" "NAME;TIMEOUT" "SOURCES;LIBS;LABEL" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  if("tsan" IN_LIST ARG_LABEL)
    set_property(GLOBAL APPEND PROPERTY GRAFT_TSAN_TESTS ${ARG_NAME})
  endif()
  if(ARG_WHOLE)
    add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${ARG_NAME} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT})
    return()
  endif()
  gtest_discover_tests(${ARG_NAME} DISCOVERY_TIMEOUT 60 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  # gtest_discover_tests() cannot carry a list in a property: ctest sets it when it reads the list of tests.
  set(labels_file ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}_labels.cmake)
  file(WRITE ${labels_file}
    "if(${ARG_NAME}_TESTS)\n"
    "  set_tests_properties(\${${ARG_NAME}_TESTS} PROPERTIES LABELS \"${ARG_LABEL}\")\n"
    "endif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${labels_file})
endfunction()

# Programs use jemalloc: with glibc's allocator every large activation is a page fault storm. A sanitizer brings an
# allocator of its own.
function(graft_use_jemalloc NAME)
  if(NOT GRAFT_SANITIZE)
    target_sources(${NAME} PRIVATE ${CMAKE_SOURCE_DIR}/worker/device/jemalloc_options.cc)
    target_link_libraries(${NAME} PRIVATE -Wl,--no-as-needed PkgConfig::jemalloc -Wl,--as-needed)
  endif()
endfunction()
