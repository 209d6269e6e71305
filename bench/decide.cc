// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdio>
#include <cstring>
#include "bench/decide_parts.h"
int main(int argc, char** argv) {
  using namespace holdfast::bench;
  bool quick = argc > 1 && !std::strcmp(argv[1], "--quick");
  auto t0 = std::chrono::steady_clock::now();
  auto lap = [&] { std::fprintf(stderr, "%.1f s\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count()); };
  Laws laws;
  for (Churn churn : kChurns) laws[static_cast<size_t>(churn)] = MakeLaw(churn);
  lap();
  MeasureSavings(laws, quick);
  lap();
}
