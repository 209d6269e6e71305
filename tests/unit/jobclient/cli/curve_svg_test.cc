// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/curve_svg.h"

#include <gtest/gtest.h>

#include <regex>

namespace holdfast::cli {
namespace {

using snapshot::SurvivalCurve;
using snapshot::SurvivalEvidence;

// Every element is closed in order, and attributes are quoted.
void ExpectWellFormed(const std::string& svg) {
  std::vector<std::string> open;
  const std::regex tag(R"(<(/?)([a-z]+)((?: [a-zA-Z0-9-]+="[^"<]*")*)(/?)>)");
  size_t tags = 0;
  for (std::sregex_iterator at(svg.begin(), svg.end(), tag), end; at != end; ++at, ++tags) {
    const std::smatch& m = *at;
    if (m[1] == "/") {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), m[2]);
      open.pop_back();
    } else if (m[4] != "/") {
      open.push_back(m[2]);
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(tags, static_cast<size_t>(std::count(svg.begin(), svg.end(), '<')));
}

// Of all points of lines and areas.
void ExpectInside(const std::string& svg) {
  const std::regex point(R"((-?[0-9.a-z]+),(-?[0-9.a-z]+) )");
  size_t points = 0;
  for (std::sregex_iterator at(svg.begin(), svg.end(), point), end; at != end; ++at, ++points) {
    const double x = std::stod((*at)[1]), y = std::stod((*at)[2]);
    EXPECT_TRUE(x >= 70 && x <= 770 && y >= 50 && y <= 1000) << at->str();
  }
  EXPECT_GT(points, 500u);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

CurvePicture PictureOf(const SurvivalCurve& curve) {
  return {.curve = &curve,
          .threshold = 0.006,
          .about = "/logs/of <A & B>\x1b[31m, snapshot 3",
          .observed = {{0s, 1, 1, 1}, {60s, 0.8, 0.7, 0.72}, {120s, 0.85, 0.5, 0.51}}};
}

TEST(CurveSvg, TellsTheTimesAndTheTrial) {
  SurvivalEvidence evidence;
  for (int i = 0; i < 3'000; ++i) evidence.Evicted(0s, 60s + 1s * (i % 300), 1);
  const SurvivalCurve curve(evidence, {});
  const std::string svg = CurveSvg(PictureOf(curve));
  ExpectWellFormed(svg);
  ExpectInside(svg);
  for (const std::string& piece :
       {"t_alive " + FormatDuration(curve.AgeOf(0.99)),
        "t_dead " + FormatDuration(curve.AgeOf(0.01)), std::string("mean life"),
        std::string("yes, still there: "), std::string("given up from"),
        std::string("/logs/of &lt;A &amp; B>[31m, snapshot 3"),
        std::string("a look pays above 0.6 %")}) {
    EXPECT_NE(svg.find(piece), std::string::npos) << piece;
  }
}

TEST(CurveSvg, TheTrialIsTheIntervalInWhichTheSecondHalfBeginsToGo) {
  SurvivalEvidence evidence;
  for (int i = 0; i < 3'000; ++i) evidence.Evicted(0s, 60s + 1s * (i % 300), 1);
  const SurvivalCurve curve(evidence, {});
  std::smatch found;
  const std::string svg = CurveSvg(PictureOf(curve));
  ASSERT_TRUE(std::regex_search(svg, found, std::regex("yes, still there: ([0-9]+) of ([0-9]+)")));
  const double kept = std::stod(found[1]), all = std::stod(found[2]);
  EXPECT_GT(kept, 0);
  EXPECT_LT(kept, all);
  ASSERT_TRUE(std::regex_search(svg, found, std::regex(R"(Beta\(([0-9.]+), ([0-9.]+)\))")));
  EXPECT_NEAR(std::stod(found[1]), kept + 0.97, 0.6) << "with the prior";
}

TEST(CurveSvg, TheMeanLifeIsThatOfWhatIsKnown) {
  SurvivalEvidence evidence;
  for (int i = 0; i < 3'000; ++i) evidence.Evicted(0s, 60s + 1s * (i % 300), 1);
  const double seconds = static_cast<double>(MeanLifeOf(SurvivalCurve(evidence, {})).count()) / 1e6;
  EXPECT_NEAR(seconds, 210, 5) << "the few of which nothing is known do not draw it out";
}

// No evidence, one eviction, lives below the first cell's end and above the last one's start;
// no threshold and one above every chance; nothing observed.
TEST(CurveSvg, WhatIsExtremeIsDrawnToo) {
  std::vector<SurvivalEvidence> extremes(5);
  extremes[1].Evicted(0s, 1s, 1);
  extremes[2].Evicted(0s, 1us, uint64_t{1} << 62);
  extremes[3].Evicted(0s, std::chrono::hours(24 * 365), 100);
  extremes[4].StillThere(0s, std::chrono::hours(24 * 365), uint64_t{1} << 62);
  for (const SurvivalEvidence& evidence : extremes) {
    const SurvivalCurve curve(evidence, {});
    for (double threshold : {0.0, 0.5, 1.0}) {
      CurvePicture picture = PictureOf(curve);
      picture.threshold = threshold;
      if (threshold == 0) picture.observed.clear();
      const std::string svg = CurveSvg(picture);
      ExpectWellFormed(svg);
      ExpectInside(svg);
    }
  }
}

}  // namespace
}  // namespace holdfast::cli
