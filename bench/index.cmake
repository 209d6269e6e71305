# SPDX-License-Identifier: Apache-2.0
add_executable(bench_index index.cc index_peers.cc index_tiny.cc)
target_link_libraries(bench_index PRIVATE hf_store holdfast_flags)
