// SPDX-License-Identifier: Apache-2.0
// How long objects stay in the cluster, learned from what nodes say of the ages at which they
// evicted.
//
// Ages are cut into cells, narrow ones first and ever wider ones after. An object that was there at
// the start of a cell is a Bernoulli trial: it is still there at the end, or it is not. The chance
// p of a cell is unknown; after k of n trials it is distributed as Beta(a + k, b + n - k), with
// Beta(a, b) for what was believed before. Then
//
//   P(there at age x | seen there at age y) = product of p over the cells from y to x,
//
// which cannot increase with x. Of objects that were first seen late, or are there still, the cells
// count through which they were watched, and the parts of cells as parts of a trial: this is the
// estimate of Kaplan and Meier (Nonparametric Estimation from Incomplete Observations, 1958) with a
// prior, by cells as actuaries do it. Neighbouring cells in which too little happened share one p:
// a group.
//
// Objects that leave in one piece, because they lay in one segment, are not independent trials: c
// objects together count as one. A group's counts are divided by the design effect of its
// evictions, sum of c^2 over sum of c (Kish, Survey Sampling, 1965).
//
// Pure, and for one thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/units.h"

namespace holdfast::snapshot {

// Cells of ages: [0, 1 s), and then 16 per doubling up to 97 days, where all else is.
class AgeCells {
 public:
  static constexpr uint32_t kPerDoubling = 16;
  static constexpr uint32_t kDoublings = 23;
  static constexpr uint32_t kCells = 1 + kPerDoubling * kDoublings;
  static uint32_t CellOf(Duration age);  // negative ages are 0
  static Duration StartOf(uint32_t cell);
  static Duration MiddleOf(uint32_t cell);  // of the last one, which has no end, its start
  // The cell, and how much of it is over: 3.25 is a quarter into cell 3.
  static double PositionOf(Duration age);
};

// A probability that is itself uncertain, by its first two moments.
struct Chance {
  double mean = 0;
  double variance = 0;

  // Of the Beta distribution with these moments. `share` in (0, 1): 0.95 is the central 95 %.
  struct Range {
    double low = 0;
    double high = 0;
  };
  Range Credible(double share) const;
  // P(p > threshold).
  double Above(double threshold) const;
};

struct SurvivalOptions {
  // The belief before there is evidence, as trials of every cell.
  double prior_kept = 0.97;
  double prior_lost = 0.03;
  // A group ends once so many (effective) evictions are in it, or where what follows is another
  // kind of life.
  double least_evictions = 8;
};

// The evidence, as counts that can be added, forgotten, and turned into a curve.
class SurvivalEvidence {
 public:
  SurvivalEvidence();

  // `count` objects that were under observation since their age `since` were evicted together at
  // `age`. Ages below `since` say nothing.
  void Evicted(Duration since, Duration age, uint64_t count);
  // The same, and they are there still at `age`.
  void StillThere(Duration since, Duration age, uint64_t count);
  // Of `count` objects that were or will be told of as if they had been under observation since they
  // were new: they came under it at `age`.
  void CameLate(Duration age, uint64_t count);
  // What came before weighs `keep` of what it did, 0 <= keep <= 1: the curve follows the cluster.
  void Forget(double keep);

  // Evidence of other objects, or of a later time.
  SurvivalEvidence& operator+=(const SurvivalEvidence& o);
  // What came after `o`: of two cumulative sums the difference is what happened between them.
  SurvivalEvidence& operator-=(const SurvivalEvidence& o);
  // Follows the cluster: forgets, and adds `recent`, what happened in the time `passed` since the
  // last time.
  //
  // What is older than four mean ages at eviction, or than 6,000 effective evictions, fades: the
  // former follows a churn that slows down, of which evictions tell late, the latter one that
  // speeds up. Where `recent` contradicts what is known (half as many evictions again as were to be
  // expected or more, or two thirds of them or fewer, and that by five standard deviations), next
  // to nothing is kept: the curve is made anew.
  //
  // Evictions may depend on each other more than their segments tell, as those of a node that
  // turns over at one speed do. By how much the counts of `recent` miss what was to be expected,
  // above what chance alone does (Pearson's chi-squared over its degrees of freedom; Wedderburn,
  // Quasi-likelihood functions, 1974), becomes part of their design effect.
  void Follow(SurvivalEvidence recent, Duration passed);
  // How many independent evictions tell as much as all of these.
  double effective_evictions() const;

  // Of a cell, or of cells together: by weight, what was said of them.
  struct Cell {
    double kept = 0;
    double lost = 0;
    double lost_squares = 0;  // sum of c^2 over evictions of c objects together

    double trials() const { return kept + lost; }
    // Below 1 where older evictions weigh less than newer ones: their weights are not counts.
    double design_effect() const { return lost > 0 && lost_squares > 0 ? lost_squares / lost : 1; }
    Cell& operator+=(const Cell& o);
    Cell& operator-=(const Cell& o);
  };
  std::vector<Cell> Cells() const;  // AgeCells::kCells of them
  // What Cells() says of a cell, said again: evidence survives being written down.
  void Add(uint32_t cell, const Cell& said);

 private:
  // Where `kept` holds how much it differs from the cell before, so that a life costs two additions.
  std::vector<Cell> cells_;
  void Keep(double from, double to, double count);
};

// The posterior at one time.
class SurvivalCurve {
 public:
  SurvivalCurve(const SurvivalEvidence& evidence, const SurvivalOptions& options);

  // P(there at `age` | seen there at `seen`); 1 for age <= seen.
  Chance At(Duration age, Duration seen) const;
  // Its mean alone: some ten nanoseconds.
  double Mean(Duration age, Duration seen) const {
    return std::exp(LogMean(AgeCells::PositionOf(seen), AgeCells::PositionOf(age)));
  }
  // The logarithm of that, 0 or less; between positions of ages.
  double LogMean(double from, double to) const;

  // The youngest age at which no more than `share` of the objects are there still, on average; 0 <
  // share < 1. T_alive is AgeOf(0.99), t_dead AgeOf(0.01). The longest age of all when so few are
  // never reached.
  Duration AgeOf(double share) const;
  // The mean time from the load to the eviction, of which more than t_dead counts as t_dead: of
  // longer lives the curve may know nothing but what was believed before, and much of a mean would
  // be of them.
  Duration MeanLife() const;

  struct Group {
    uint32_t first = 0;  // cells [first, end) have one p
    uint32_t end = 0;
    double alpha = 0;  // of its Beta distribution
    double beta = 0;
    uint32_t moments = 0;  // where its table begins
  };
  const std::vector<Group>& groups() const { return groups_; }

 private:
  void Close(const std::vector<SurvivalEvidence::Cell>& cells, uint32_t first, uint32_t end,
             const SurvivalOptions& options);
  void Tabulate();

  // Logarithms of products: of the mean, and of what the mean square is above the squared mean.
  struct Logs {
    double mean = 0;
    double excess = 0;
  };
  Logs Between(double from, double to) const;
  double MomentOf(const Group& group, double cells) const;
  Logs Part(const Group& group, double cells) const;

  std::vector<Group> groups_;
  std::vector<uint16_t> group_of_;  // a cell
  std::vector<double> moments_;     // log E[p^n] of each group, n = 0, 1, 2...
  std::vector<Logs> before_;        // the groups before this one, whole
};

}  // namespace holdfast::snapshot
