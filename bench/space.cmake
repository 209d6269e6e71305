# SPDX-License-Identifier: Apache-2.0
add_executable(bench_space space.cc space_tiny.cc disk_world.cc)
target_link_libraries(bench_space PRIVATE hf_store hf_io_disk hf_io_net holdfast_flags)
