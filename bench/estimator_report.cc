// SPDX-License-Identifier: Apache-2.0
#include "bench/estimator_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

namespace holdfast::bench {

Report::Report(std::string name, const std::vector<Prediction>& predictions)
    : name_(std::move(name)), count_(predictions.size()) {
  uint64_t inside = 0, covered = 0;
  std::vector<double> errors;
  const auto all = static_cast<double>(predictions.size());
  for (const Prediction& p : predictions) {
    const double outcome = p.found ? 1 : 0;
    Decile& decile = deciles_[std::min<size_t>(static_cast<size_t>(p.mean * 10), 9)];
    ++decile.count;
    decile.predicted += p.mean;
    decile.observed += outcome;
    decile.truth += p.truth;
    brier_ += (p.mean - outcome) * (p.mean - outcome) / all;
    oracle_brier_ += (p.truth - outcome) * (p.truth - outcome) / all;
    if (p.truth < 0.02F || p.truth > 0.98F) {
      errors.push_back(std::abs(p.mean - p.truth) * 100);
      mean_error_outside_points_ += errors.back();
      continue;
    }
    ++inside;
    covered += p.low <= p.truth && p.truth <= p.high;
  }
  for (Decile& decile : deciles_) {
    const auto n = static_cast<double>(std::max<uint64_t>(decile.count, 1));
    decile.predicted /= n;
    decile.observed /= n;
    decile.truth /= n;
  }
  inside_share_ = static_cast<double>(inside) / all;
  coverage_pct_ = 100 * static_cast<double>(covered) / static_cast<double>(inside);
  if (errors.empty()) return;
  mean_error_outside_points_ /= static_cast<double>(errors.size());
  const auto nth = errors.begin() + static_cast<ptrdiff_t>(errors.size() * 95 / 100);
  std::nth_element(errors.begin(), nth, errors.end());
  error_outside_points_ = *nth;
}

bool Report::Counts(const Decile& decile) const { return decile.count * 100 >= count_; }

uint32_t Report::counted_deciles() const {
  return static_cast<uint32_t>(std::count_if(deciles_.begin(), deciles_.end(),
                                             [this](const Decile& d) { return Counts(d); }));
}

double Report::worst_decile_points() const {
  double worst = 0;
  for (const Decile& d : deciles_) {
    if (Counts(d)) worst = std::max(worst, 100 * std::abs(d.predicted - d.observed));
  }
  return worst;
}

void Report::Print() const {
  std::printf("%s\n  predicted      share  predicted  observed    points  0%46s1\n", name_.c_str(),
              "");
  for (size_t i = 0; i < deciles_.size(); ++i) {
    const Decile& d = deciles_[i];
    if (d.count == 0) continue;
    // Observed as a bar, predicted as the mark where it should end.
    std::string bar(static_cast<size_t>(std::lround(d.observed * 48)), '=');
    bar.resize(49, ' ');
    bar[static_cast<size_t>(std::lround(d.predicted * 48))] = '|';
    std::printf("  %.1f to %.1f  %7.2f %%    %.4f     %.4f  %+8.2f  %s%s\n",
                static_cast<double>(i) / 10, static_cast<double>(i + 1) / 10,
                100 * static_cast<double>(d.count) / static_cast<double>(count_), d.predicted,
                d.observed, 100 * (d.predicted - d.observed), bar.c_str(),
                Counts(d) ? "" : " (too few)");
  }
  std::printf(
      "  0.02 <= p <= 0.98 (%.1f %% of predictions): 95 %% intervals cover p in %.2f %% of cases\n"
      "  elsewhere: 95 %% of the errors within %.2f points, on average %.2f\n"
      "  Brier score %.5f, of the oracle %.5f: %.4f times\n\n",
      100 * inside_share_, coverage_pct_, error_outside_points_, mean_error_outside_points_, brier_,
      oracle_brier_, brier_vs_oracle());
}

bool DrawReliability(const std::vector<Report>& reports, const std::string& file) {
  constexpr double kSize = 400, kMargin = 50;
  constexpr const char* kColours[] = {"#1b6ca8", "#c0392b"};
  std::ofstream out(file);
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 500 500\" "
         "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"500\" height=\"500\" "
         "fill=\"white\"/>\n";
  auto x = [&](double p) { return kMargin + p * kSize; };
  auto y = [&](double p) { return kMargin + (1 - p) * kSize; };
  for (int i = 0; i <= 10; i += 2) {
    const double p = i / 10.0;
    out << "<text x=\"" << x(p) << "\" y=\"" << y(0) + 18 << "\" text-anchor=\"middle\">" << p
        << "</text>\n<text x=\"" << x(0) - 8 << "\" y=\"" << y(p) + 4 << "\" text-anchor=\"end\">"
        << p << "</text>\n";
  }
  out << "<rect x=\"" << x(0) << "\" y=\"" << y(1) << "\" width=\"" << kSize << "\" height=\""
      << kSize << "\" fill=\"none\" stroke=\"#888\"/>\n<line x1=\"" << x(0) << "\" y1=\"" << y(0)
      << "\" x2=\"" << x(1) << "\" y2=\"" << y(1) << "\" stroke=\"#888\" stroke-dasharray=\"4\"/>\n"
      << "<text x=\"250\" y=\"490\" text-anchor=\"middle\">predicted</text>\n"
      << "<text x=\"14\" y=\"250\" text-anchor=\"middle\" transform=\"rotate(-90 14 250)\">"
         "observed</text>\n";
  for (size_t i = 0; i < reports.size(); ++i) {
    const char* colour = kColours[i % std::size(kColours)];
    out << "<text x=\"" << x(0) + 12 << "\" y=\"" << y(1) + 20 + 18 * static_cast<double>(i)
        << "\" fill=\"" << colour << "\">" << reports[i].name() << "</text>\n";
    for (const Report::Decile& d : reports[i].deciles()) {
      if (!reports[i].Counts(d)) continue;
      out << "<circle cx=\"" << x(d.predicted) << "\" cy=\"" << y(d.observed)
          << "\" r=\"5\" fill=\"" << colour << "\" fill-opacity=\"0.7\"/>\n";
    }
  }
  out << "</svg>\n";
  return out.good();
}

}  // namespace holdfast::bench
