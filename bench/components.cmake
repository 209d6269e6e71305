# SPDX-License-Identifier: Apache-2.0
add_executable(bench_components components.cc components_client.cc components_engine.cc)
target_link_libraries(bench_components PRIVATE hf_store hf_io_storage holdfast_flags)
