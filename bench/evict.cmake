# SPDX-License-Identifier: Apache-2.0
find_package(Threads REQUIRED)
add_executable(bench_evict evict.cc evict_holdfast.cc evict_mapped.cc evict_policies.cc evict_traces.cc)
target_link_libraries(bench_evict PRIVATE hf_store Threads::Threads holdfast_flags)
