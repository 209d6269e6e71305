// SPDX-License-Identifier: Apache-2.0
// What predictions were worth, beside the truth: a reliability table, figures, a picture.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::bench {

struct Prediction {
  float mean = 0;
  float low = 0;  // of the credible interval of 95 %
  float high = 0;
  float truth = 0;  // p
  bool found = false;
};

class Report {
 public:
  Report(std::string name, const std::vector<Prediction>& predictions);

  struct Decile {
    uint64_t count = 0;
    double predicted = 0;  // means
    double observed = 0;
    double truth = 0;
  };
  const std::string& name() const { return name_; }
  const std::array<Decile, 10>& deciles() const { return deciles_; }
  // Whether so many predictions are in it (1 % of all) that their mean means something.
  bool Counts(const Decile& decile) const;
  uint32_t counted_deciles() const;
  double worst_decile_points() const;
  // Where 0.02 <= p <= 0.98: the share of intervals that cover p.
  double coverage_pct() const { return coverage_pct_; }
  // Elsewhere: the error that 95 % of the predictions do not exceed, and the mean error.
  double error_outside_points() const { return error_outside_points_; }
  double mean_error_outside_points() const { return mean_error_outside_points_; }
  double brier_vs_oracle() const { return brier_ / oracle_brier_; }

  void Print() const;

 private:
  std::string name_;
  uint64_t count_ = 0;
  std::array<Decile, 10> deciles_{};
  double inside_share_ = 0;
  double coverage_pct_ = 0;
  double error_outside_points_ = 0;
  double mean_error_outside_points_ = 0;
  double brier_ = 0;
  double oracle_brier_ = 0;
};

// Predicted against observed, by deciles; false when it cannot be written.
bool DrawReliability(const std::vector<Report>& reports, const std::string& file);

}  // namespace holdfast::bench
