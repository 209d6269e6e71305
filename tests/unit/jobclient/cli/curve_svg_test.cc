// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/curve_svg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace holdfast::cli {
namespace {

using snapshot::SurvivalCurve;
using snapshot::SurvivalEvidence;

// What stands between `begin` and `end`, each time, in order.
std::vector<std::string> Between(const std::string& text, const std::string& begin,
                                 const std::string& end) {
  std::vector<std::string> found;
  for (size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
    at += begin.size();
    found.push_back(text.substr(at, text.find(end, at) - at));
  }
  return found;
}

// Every element is closed, in order; attributes are quoted, and text has no bare '<' or '&'.
void ExpectWellFormed(const std::string& svg) {
  std::vector<std::string> open;
  for (const std::string& tag : Between(svg, "<", ">")) {
    const std::string name = tag.substr(0, tag.find(' '));
    if (name.front() == '/') {
      ASSERT_FALSE(open.empty()) << tag;
      EXPECT_EQ(open.back(), name.substr(1));
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    EXPECT_EQ(std::count(tag.begin(), tag.end(), '"'), 2 * std::count(tag.begin(), tag.end(), '='));
    EXPECT_EQ(tag.find('<'), std::string::npos) << tag;
  }
  EXPECT_TRUE(open.empty());
  for (const std::string& entity : Between(svg, "&", ";"))
    EXPECT_TRUE(entity == "lt" || entity == "amp") << entity;
}

// Of all points of lines and areas.
void ExpectInside(const std::string& svg) {
  size_t count = 0;
  for (const std::string& points : Between(svg, "points=\"", "\"")) {
    std::istringstream in(points);
    for (std::string point; in >> point; ++count) {
      double x = 0, y = 0;
      ASSERT_EQ(std::sscanf(point.c_str(), "%lf,%lf", &x, &y), 2) << point;
      EXPECT_TRUE(x >= 70 && x <= 770 && y >= 50 && y <= 1000) << point;
    }
  }
  EXPECT_GT(count, 500u);
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
  const std::string svg = CurveSvg(PictureOf(curve));
  double kept = 0, all = 0, alpha = 0, beta = 0;
  const std::vector<std::string> trials = Between(svg, "yes, still there: ", "<");
  ASSERT_EQ(trials.size(), 1u);
  ASSERT_EQ(std::sscanf(trials[0].c_str(), "%lf of %lf", &kept, &all), 2);
  EXPECT_GT(kept, 0);
  EXPECT_LT(kept, all);
  const std::vector<std::string> posterior = Between(svg, "Beta(", ")");
  ASSERT_EQ(posterior.size(), 1u);
  ASSERT_EQ(std::sscanf(posterior[0].c_str(), "%lf, %lf", &alpha, &beta), 2);
  EXPECT_NEAR(alpha, kept + 0.97, 0.6) << "with the prior";
  EXPECT_NEAR(beta, all - kept + 0.03, 1.1);
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
