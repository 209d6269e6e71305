// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/curve_svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <utility>

namespace holdfast::cli {
namespace {

using snapshot::AgeCells;
using snapshot::SurvivalCurve;

constexpr double kWidth = 800, kPanelHeight = 340;
constexpr double kLeft = 70, kRight = 770, kTop = 50, kBottom = 270;  // of a panel's axes
constexpr int kSteps = 240;                                           // of a line
constexpr const char *kBlue = "#1f5fa8", *kRed = "#b3392e", *kGrey = "#666", *kBlack = "#000";
constexpr const char *kSolid = "none", *kDashed = "5 4";

constexpr double kSecond = 1e6, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
struct Unit {
  double us;
  const char* name;
  std::array<double, 6> steps;  // between two ticks
};
constexpr std::array kUnits{
    Unit{kSecond, "s", {0.1, 0.5, 1, 2, 5, 15}}, Unit{kMinute, "min", {0.5, 1, 2, 5, 10, 15}},
    Unit{kHour, "h", {0.5, 1, 2, 3, 6, 12}}, Unit{kDay, "d", {1, 2, 5, 10, 20, 50}}};

__attribute__((format(printf, 1, 2))) std::string Print(const char* format, ...) {
  std::array<char, 400> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return text.data();
}

// As text in XML; of what is not printable ASCII nothing is left.
std::string Escaped(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c >= 0x20 && c < 0x7f) {
      escaped += c;
    }
  }
  return escaped;
}

enum class Anchor { kStart, kMiddle, kEnd };

// One picture: time to the right, shares from 0 to 1 upwards.
class Panel {
 public:
  using Points = std::vector<std::pair<double, double>>;  // (us, share)

  Panel(int row, double last_us, const char* title)
      : top_(kTop + row * kPanelHeight), last_us_(std::max(last_us, 1.0)) {
    Text(kLeft, top_ - 14, title, kBlack, Anchor::kStart, 15);
    DrawAxes();
  }

  double X(double us) const {
    return kLeft + std::clamp(us / last_us_, 0.0, 1.0) * (kRight - kLeft);
  }
  double Y(double share) const {
    return top_ + (1 - std::clamp(share, 0.0, 1.0)) * (kBottom - kTop);
  }

  void Line(const Points& points, const char* color, double width, const char* dashes = kSolid) {
    svg_ += Print(R"(<polyline fill="none" stroke="%s" stroke-width="%g" stroke-dasharray="%s")",
                  color, width, dashes);
    svg_ += " points=\"" + List(points) + "\"/>\n";
  }
  void Area(const Points& points, const char* color, double opacity) {
    svg_ += Print(R"(<polygon fill="%s" fill-opacity="%g")", color, opacity);
    svg_ += " points=\"" + List(points) + "\"/>\n";
  }
  void Dots(const Points& points, const char* color) {
    for (const auto& [us, share] : points) {
      svg_ += Print(R"(<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>)", X(us), Y(share), color);
      svg_ += '\n';
    }
  }
  // An age, and what it is called, if it lies within the picture.
  void Rule(double us, const char* color, const std::string& label, double at_share) {
    if (us > last_us_) return;
    Line({{us, 0}, {us, 1}}, color, 1, kDashed);
    const bool late = us > last_us_ * 0.7;
    Text(X(us) + (late ? -5 : 5), Y(at_share), label, color, late ? Anchor::kEnd : Anchor::kStart);
  }
  void Text(double x, double y, const std::string& text, const char* color, Anchor anchor,
            int size = 12) {
    static constexpr std::array kAnchors{"start", "middle", "end"};
    svg_ += Print(R"(<text x="%.1f" y="%.1f" fill="%s" text-anchor="%s" font-size="%d">)", x, y,
                  color, kAnchors[static_cast<size_t>(anchor)], size);
    svg_ += Escaped(text) + "</text>\n";
  }
  // What a line is, below the picture.
  void Legend(int column, const char* color, const char* dashes, const char* text) {
    const double x = kLeft + 230 * column, y = Y(0) + 40;
    svg_ += Print(R"(<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f")", x, x + 28, y - 4, y - 4);
    svg_ += Print(R"( stroke="%s" stroke-width="2" stroke-dasharray="%s"/>)", color, dashes);
    svg_ += '\n';
    Text(x + 34, y, text, kBlack, Anchor::kStart);
  }

  std::string Take() && { return std::move(svg_); }

 private:
  void DrawAxes() {
    for (int quarter = 0; quarter <= 4; ++quarter) {
      const double share = quarter / 4.0;
      Line({{0, share}, {last_us_, share}}, "#ddd", 1);
      Text(kLeft - 8, Y(share) + 4, Print("%d %%", quarter * 25), kGrey, Anchor::kEnd);
    }
    const auto [unit, step] = TickOf(last_us_);
    for (int i = 0; i * step * unit->us <= last_us_; ++i) {
      const double us = i * step * unit->us;
      Text(X(us), Y(0) + 18, Print("%g %s", i * step, unit->name), kGrey, Anchor::kMiddle);
    }
    Line({{0, 1}, {0, 0}, {last_us_, 0}}, kBlack, 1);
  }

  static std::pair<const Unit*, double> TickOf(double last_us) {
    constexpr double kMostTicks = 9;
    for (const Unit& unit : kUnits) {
      for (double step : unit.steps) {
        if (last_us <= kMostTicks * step * unit.us) return {&unit, step};
      }
    }
    return {&kUnits.back(), kUnits.back().steps.back()};
  }

  std::string List(const Points& points) const {
    std::string list;
    for (const auto& [us, share] : points) list += Print("%.1f,%.1f ", X(us), Y(share));
    return list;
  }

  double top_;
  double last_us_;
  std::string svg_;
};

double Us(Duration d) { return static_cast<double>(d.count()); }
Duration FromUs(double us) { return Duration(std::llround(us)); }

Panel::Points MeansOf(const SurvivalCurve& curve, double last_us) {
  Panel::Points means;
  for (int i = 0; i <= kSteps; ++i) {
    const double us = last_us * i / kSteps;
    means.push_back({us, curve.Mean(FromUs(us), Duration(0))});
  }
  return means;
}

// --- The three pictures --------------------------------------------------------------------------

std::string DrawObserved(const CurvePicture& picture) {
  const Duration last = picture.observed.empty() ? 1s : picture.observed.back().later;
  Panel panel(0, Us(last), "1  Objects of one snapshot that later ones list, by time since");
  Panel::Points listed, the_same, expected;
  for (const CurvePicture::Observed& o : picture.observed) {
    listed.push_back({Us(o.later), o.listed});
    the_same.push_back({Us(o.later), o.the_same});
    expected.push_back({Us(o.later), o.expected});
  }
  panel.Line(expected, kGrey, 1.5, kDashed);
  panel.Line(listed, kRed, 2);
  panel.Line(the_same, kBlue, 2);
  panel.Dots(listed, kRed);
  panel.Dots(the_same, kBlue);
  panel.Legend(0, kRed, kSolid, "listed");
  panel.Legend(1, kBlue, kSolid, "without those loaded again");
  panel.Legend(2, kGrey, kDashed, "as the curve expects");
  return std::move(panel).Take();
}

std::string DrawCurve(const CurvePicture& picture, double last_us) {
  const SurvivalCurve& curve = *picture.curve;
  const Panel::Points means = MeansOf(curve, last_us);
  Panel::Points band, lower;
  for (const auto& [us, mean] : means) {
    const snapshot::Chance::Range range = curve.At(FromUs(us), Duration(0)).Credible(0.95);
    band.push_back({us, range.high});
    lower.push_back({us, range.low});
  }
  band.insert(band.end(), lower.rbegin(), lower.rend());
  const Duration alive = curve.AgeOf(0.99), dead = curve.AgeOf(0.01), mean_life = curve.MeanLife();
  Panel panel(1, last_us, "2  The chance to be there still, by age");
  panel.Area({{Us(dead), 0}, {Us(dead), 0.06}, {last_us, 0.06}, {last_us, 0}}, kRed, 0.25);
  panel.Area(band, kBlue, 0.2);
  panel.Line(means, kBlue, 2);
  panel.Rule(Us(alive), kGrey, "t_alive " + FormatDuration(alive), 0.08);
  panel.Rule(Us(mean_life), kGrey, "mean life " + FormatDuration(mean_life), 0.92);
  panel.Rule(Us(dead), kRed, "t_dead " + FormatDuration(dead), 0.16);
  panel.Legend(0, kBlue, kSolid, "mean, with its 95 % band");
  return std::move(panel).Take();
}

// The density of the group's Beta distribution, by its greatest value, in a frame in the upper right.
void DrawPosterior(Panel* panel, const SurvivalCurve::Group& group, double last_us) {
  const double size = group.alpha + group.beta, mean = group.alpha / size;
  const double spread = std::sqrt(mean * (1 - mean) / (size + 1));
  const double low = std::max(mean - 5 * spread, 0.0), high = std::min(mean + 5 * spread, 1.0);
  std::array<double, kSteps> logs{};
  for (int i = 0; i < kSteps; ++i) {
    const double p = std::clamp(low + (high - low) * (i + 0.5) / kSteps, 1e-12, 1 - 1e-12);
    logs[static_cast<size_t>(i)] =
        (group.alpha - 1) * std::log(p) + (group.beta - 1) * std::log1p(-p);
  }
  const double greatest = *std::max_element(logs.begin(), logs.end());
  const double left = 0.72 * last_us, right = 0.98 * last_us, foot = 0.4, height = 0.27;
  Panel::Points density;
  for (int i = 0; i < kSteps; ++i) {
    density.push_back({left + (right - left) * i / (kSteps - 1),
                       foot + height * std::exp(logs[static_cast<size_t>(i)] - greatest)});
  }
  panel->Line({{left, foot}, {right, foot}}, kBlack, 1);
  panel->Line(density, kRed, 1.5);
  const double y = panel->Y(foot) + 15;
  panel->Text(panel->X(left), y, Print("%.4f", low), kGrey, Anchor::kStart, 11);
  panel->Text((panel->X(left) + panel->X(right)) / 2, y, "p", kGrey, Anchor::kMiddle, 11);
  panel->Text(panel->X(right), y, Print("%.4f", high), kGrey, Anchor::kEnd, 11);
}

std::string DrawTrial(const CurvePicture& picture, double last_us) {
  const SurvivalCurve& curve = *picture.curve;
  // The one in which the second half begins to go: there many trials end in either way.
  const uint32_t cell = std::max(AgeCells::CellOf(curve.AgeOf(0.5)), 1u) - 1;
  const auto group = std::find_if(curve.groups().begin(), curve.groups().end() - 1,
                                  [&](const SurvivalCurve::Group& g) { return cell < g.end; });
  const Duration from = AgeCells::StartOf(group->first);
  const Duration to = group->end < AgeCells::kCells ? AgeCells::StartOf(group->end)
                                                    : std::max(from, FromUs(last_us));
  const double kept = group->alpha - picture.prior.prior_kept;
  const double lost = group->beta - picture.prior.prior_lost;

  Panel panel(2, last_us, "3  One interval as a Bernoulli trial, and where looking is given up");
  panel.Area({{Us(from), 0}, {Us(from), 1}, {Us(to), 1}, {Us(to), 0}}, kRed, 0.15);
  panel.Line(MeansOf(curve, last_us), kBlue, 2);
  panel.Line({{0, picture.threshold}, {last_us, picture.threshold}}, kRed, 1.5, kDashed);
  const Duration given_up = curve.AgeOf(std::clamp(picture.threshold, 1e-6, 1 - 1e-6));
  panel.Rule(Us(given_up), kGrey, "given up from " + FormatDuration(given_up), 0.2);
  const std::array lines{"age " + FormatDuration(from) + " to " + FormatDuration(to) +
                             ", in steps of " +
                             Print("%.1f %%", 100 * (std::exp2(1.0 / AgeCells::kPerDoubling) - 1)),
                         Print("yes, still there: %.0f of %.0f", kept, kept + lost),
                         Print("p of a step: Beta(%.1f, %.1f)", group->alpha, group->beta)};
  for (size_t i = 0; i < lines.size(); ++i)
    panel.Text(kRight - 14, panel.Y(0.94 - 0.08 * static_cast<double>(i)), lines[i], kRed,
               Anchor::kEnd);
  DrawPosterior(&panel, *group, last_us);
  panel.Legend(0, kBlue, kSolid, "the chance to be there");
  panel.Legend(1, kRed, kDashed,
               Print("a look pays above %.2g %%", 100 * picture.threshold).c_str());
  return std::move(panel).Take();
}

}  // namespace

Duration LastAgeShown(const SurvivalCurve& curve) {
  const Duration dead = curve.AgeOf(0.01);
  return std::min(dead + dead / 5 * 3, AgeCells::StartOf(AgeCells::kCells - 1));
}

std::string CurveSvg(const CurvePicture& picture) {
  const double last_us = Us(LastAgeShown(*picture.curve)), height = 3 * kPanelHeight + kTop;
  std::string svg =
      Print(R"(<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" )", kWidth, height);
  svg += Print(R"(viewBox="0 0 %g %g" font-family="sans-serif">)", kWidth, height);
  svg += Print("\n<rect width=\"%g\" height=\"%g\" fill=\"#fff\"/>\n", kWidth, height);
  svg += DrawObserved(picture) + DrawCurve(picture, last_us) + DrawTrial(picture, last_us);
  svg += Print(R"(<text x="%g" y="%g" fill="%s" font-size="12">)", kLeft, height - 20, kGrey);
  return svg + Escaped(picture.about) + "</text>\n</svg>\n";
}

}  // namespace holdfast::cli
