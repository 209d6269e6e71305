# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET hf_origin)
  add_subdirectory(${PROJECT_SOURCE_DIR}/tests/origin ${PROJECT_BINARY_DIR}/tests/origin EXCLUDE_FROM_ALL)
endif()
add_executable(bench_own_disk own_disk.cc servers.cc)
target_link_libraries(bench_own_disk PRIVATE hf_daemon hf_origin holdfast::holdfast holdfast_flags)
