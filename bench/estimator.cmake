# SPDX-License-Identifier: Apache-2.0
find_package(Threads REQUIRED)
add_executable(bench_estimator estimator.cc estimator_report.cc estimator_worlds.cc)
target_link_libraries(bench_estimator PRIVATE hf_snapshot hf_store Threads::Threads holdfast_flags)
