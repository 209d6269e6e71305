# SPDX-License-Identifier: Apache-2.0
add_executable(bench_plan plan.cc plan_node.cc)
target_link_libraries(bench_plan PRIVATE hf_daemon hf_jobclient hf_io_net holdfast_flags)
