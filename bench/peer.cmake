# SPDX-License-Identifier: Apache-2.0
add_executable(bench_peer peer.cc peer_node.cc memcached_client.cc)
target_link_libraries(bench_peer PRIVATE hf_io_bulk hf_io_shm hf_store holdfast_flags)
