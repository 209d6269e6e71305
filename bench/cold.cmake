# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET hf_origin)  # the origin is built with the tests, and without them for this program
  add_subdirectory(${PROJECT_SOURCE_DIR}/tests/origin ${PROJECT_BINARY_DIR}/tests/origin EXCLUDE_FROM_ALL)
endif()
find_package(CURL REQUIRED)
add_executable(bench_cold cold.cc cold_clients.cc servers.cc)
target_link_libraries(bench_cold PRIVATE hf_daemon hf_origin holdfast::holdfast CURL::libcurl holdfast_flags)
