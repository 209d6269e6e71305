# SPDX-License-Identifier: Apache-2.0
add_executable(bench_local local.cc local_holdfast.cc local_lmdb.cc local_memcached.cc)
target_link_libraries(bench_local PRIVATE hf_io_shm hf_store holdfast_flags lmdb)
