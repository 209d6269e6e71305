// SPDX-License-Identifier: Apache-2.0
// The survival curve and what it was learned from, as pictures in one SVG file:
//
//   1  the share of one snapshot's objects that later ones list, with and without those that were
//      loaded again, and what the curve expects
//   2  the curve with its 95 % band, t_alive and t_dead
//   3  one interval of age as a Bernoulli trial: its counts, the posterior of its chance, and the
//      threshold below which looking is given up
#pragma once

#include <string>
#include <vector>

#include "snapshot/survival.h"

namespace holdfast::cli {

struct CurvePicture {
  struct Observed {
    Duration later{};
    double listed = 0;    // shares
    double the_same = 0;  // without those that were loaded again
    double expected = 0;
  };
  const snapshot::SurvivalCurve* curve = nullptr;
  snapshot::SurvivalOptions prior{};  // that the curve was made with
  double threshold = 0;               // of the chance: a look pays above it
  std::string about{};                // the title: which log, which snapshot
  std::vector<Observed> observed{};   // by time, the snapshot itself first
};

// The age up to which the curve is shown: beyond t_dead, where there is room for words.
Duration LastAgeShown(const snapshot::SurvivalCurve& curve);

std::string CurveSvg(const CurvePicture& picture);

}  // namespace holdfast::cli
