# SPDX-License-Identifier: Apache-2.0
# How every target here is built: warnings are errors, ccache and mold where they are, sanitizers on request.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(holdfast_flags INTERFACE)
target_compile_options(holdfast_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow -Werror)
target_include_directories(holdfast_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
if(HOLDFAST_SANITIZE)
  if(HOLDFAST_SANITIZE STREQUAL "address")
    set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  else()
    set(sanitizers -fsanitize=${HOLDFAST_SANITIZE})
  endif()
  add_compile_options(${sanitizers} -fno-omit-frame-pointer)
  add_link_options(${sanitizers})
endif()

# holdfast_library(NAME DIR... SOURCES... LINK PUBLIC... PRIVATE...): static library hf_NAME of this folder.
function(holdfast_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(hf_${name} STATIC ${arg_SOURCES})
  target_link_libraries(hf_${name} PUBLIC ${arg_PUBLIC} PRIVATE holdfast_flags ${arg_PRIVATE})
  target_include_directories(hf_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
endfunction()

# holdfast_test(NAME SOURCES... LINK...): a GoogleTest program, one ctest entry per test case.
function(holdfast_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINK} holdfast_flags GTest::gtest GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300)
endfunction()
