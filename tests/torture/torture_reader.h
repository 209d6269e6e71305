// SPDX-License-Identifier: Apache-2.0
// The reading side of a torture: copies, batches and views at random, each checked byte by byte,
// views a second time when they are released.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "tests/torture/torture_counters.h"
#include "wire/local_reader.h"

namespace holdfast::torture {

class ReadLoop {
 public:
  ReadLoop(LocalReader* reader, uint64_t seed, ReaderCounters* counters);
  // About a hundred lookups and a dozen views.
  void Step();
  void ReleaseViews();
  // In a forked child: nothing may be found, and letting go of the parent's views must take nothing
  // from it.
  void ActAsChild();

 private:
  struct Kept {
    LocalView view;
    uint32_t key = 0;
  };
  void CopySome();
  void CopyBatch();
  void TakeView();
  void Check(uint32_t key, const LocalOutcome& outcome, ByteView bytes);
  void CheckView(const Kept& kept);
  void Wrong(const char* how, uint32_t key, VersionHash version);
  uint32_t AnyKey();

  LocalReader* reader_;
  Random random_;
  ReaderCounters* counters_;
  Buffer buffer_;
  std::vector<Kept> kept_;
  std::vector<LocalRequest> requests_;
  std::vector<LocalOutcome> outcomes_;
};

// Attaches to the daemon in `directory`, reads with one to three threads, attaches anew and forks
// now and then, until the phase is kEnd. The exit code of its process.
int RunReader(const std::string& directory, uint64_t seed, Shared* shared,
              ReaderCounters* counters);

}  // namespace holdfast::torture
