# SPDX-License-Identifier: Apache-2.0
find_package(RocksDB REQUIRED)
add_executable(bench_store store.cc store_disk.cc disk_world.cc store_holdfast.cc store_lmdb.cc store_packed.cc
               store_rocksdb.cc)
target_link_libraries(bench_store PRIVATE hf_store hf_io_disk hf_io_net holdfast_flags RocksDB::rocksdb-shared lmdb)
