# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET hf_origin)  # the origin is built with the tests, and without them for this program
  add_subdirectory(${PROJECT_SOURCE_DIR}/tests/origin ${PROJECT_BINARY_DIR}/tests/origin EXCLUDE_FROM_ALL)
endif()
add_executable(bench_pack pack.cc pack_world.cc)
target_link_libraries(bench_pack PRIVATE hf_packs hf_io_far hf_io_net hf_origin holdfast_flags)
