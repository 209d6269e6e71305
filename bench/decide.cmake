# SPDX-License-Identifier: Apache-2.0
add_executable(bench_decide decide.cc decide_messages.cc decide_peers.cc decide_periods.cc decide_player.cc
  decide_recovery.cc decide_savings.cc decide_speed.cc decide_world.cc)
target_link_libraries(bench_decide PRIVATE hf_snapshot hf_io_net holdfast_flags)
