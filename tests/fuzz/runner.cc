// SPDX-License-Identifier: Apache-2.0
// Runs a fuzzer without libFuzzer: a bounded number of mutations of its seeds, each made from (seed, run) alone, so that one
// that crashed is replayed by itself.
//   fuzz_x [--runs N] [--seed S] [--first R]   runs R, R + 1, ..., R + N - 1
//   fuzz_x FILE...                             exactly these inputs
//   fuzz_x --write-corpus DIR                  the seeds as files
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/random.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace {

using holdfast::Mix64;
using holdfast::Random;
using Input = std::vector<std::byte>;

constexpr size_t kMaxInput = 64 * 1024;

volatile uint64_t g_seed = 0, g_run = 0;

void SayHowToReplay() {
  std::array<char, 128> line;
  int size = std::snprintf(
      line.data(), line.size(), "crashed; replay with --seed %llu --first %llu --runs 1\n",
      static_cast<unsigned long long>(g_seed), static_cast<unsigned long long>(g_run));
  (void)!write(2, line.data(), static_cast<size_t>(size));
}

void OnCrash(int signal) {
  SayHowToReplay();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

std::byte RandomByte(Random& random) { return static_cast<std::byte>(random.Next()); }

void Overwrite(Random& random, Input* in) {
  constexpr std::array<uint64_t, 10> kOdd = {0,      1,      63,         64,         65,
                                             0x7fff, 0xffff, 0x7fffffff, 0xffffffff, ~uint64_t{0}};
  size_t width = size_t{1} << random.Below(4);
  if (in->size() < width) return;
  uint64_t value = kOdd[random.Below(kOdd.size())] + random.Below(3) - 1;
  std::memcpy(in->data() + random.Below(in->size() - width + 1), &value, width);
}

void Insert(Random& random, Input* in) {
  Input more(1 + random.Below(16));
  for (std::byte& b : more) b = RandomByte(random);
  auto at = static_cast<std::ptrdiff_t>(random.Below(in->size() + 1));
  in->insert(in->begin() + at, more.begin(), more.end());
}

void Erase(Random& random, Input* in) {
  if (in->empty()) return;
  size_t from = random.Below(in->size());
  size_t count = 1 + random.Below(std::min<size_t>(in->size() - from, 32));
  auto first = in->begin() + static_cast<std::ptrdiff_t>(from);
  in->erase(first, first + static_cast<std::ptrdiff_t>(count));
}

// The beginning of one seed and the end of another.
void Splice(Random& random, const std::vector<Input>& seeds, Input* in) {
  const Input& other = seeds[random.Below(seeds.size())];
  in->resize(random.Below(in->size() + 1));
  auto from = static_cast<std::ptrdiff_t>(random.Below(other.size() + 1));
  in->insert(in->end(), other.begin() + from, other.end());
}

void MutateOnce(Random& random, const std::vector<Input>& seeds, Input* in) {
  switch (random.Below(8)) {
    case 0:
      return Insert(random, in);
    case 1:
      return Erase(random, in);
    case 2:
      return Splice(random, seeds, in);
    case 3:
    case 4:
      return Overwrite(random, in);
    case 5:
      if (!in->empty()) (*in)[random.Below(in->size())] = RandomByte(random);
      return;
    default:
      if (!in->empty()) (*in)[random.Below(in->size())] ^= std::byte{1} << random.Below(8);
  }
}

void Try(const Input& in) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(in.data()), in.size());
}

void RunOne(const std::vector<Input>& seeds, uint64_t seed, uint64_t run) {
  g_run = run;
  Random random(Mix64(seed) ^ run);
  Input in = seeds[random.Below(seeds.size())];
  for (uint64_t n = 1 + random.Below(6); n > 0; --n) MutateOnce(random, seeds, &in);
  in.resize(std::min(in.size(), kMaxInput));
  Try(in);
}

int WriteCorpus(const std::vector<Input>& seeds, const std::string& folder) {
  for (size_t i = 0; i < seeds.size(); ++i) {
    std::ofstream file(folder + "/seed-" + std::to_string(i), std::ios::binary);
    file << holdfast::AsText(seeds[i]);
    if (!file.flush()) {
      std::fprintf(stderr, "cannot write to the folder %s\n", folder.c_str());
      return 1;
    }
  }
  return 0;
}

int TryFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path);
    return 1;
  }
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto view = holdfast::AsBytes(bytes);
  Try(Input(view.begin(), view.end()));
  return 0;
}

int Usage() {
  std::fprintf(stderr,
               "usage: fuzz_x [--runs N] [--seed S] [--first R] | FILE... | --write-corpus DIR\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Input> seeds;
  if (holdfast::fuzz::Seeds != nullptr) seeds = holdfast::fuzz::Seeds();
  if (seeds.empty()) seeds.emplace_back();
  uint64_t runs = 20'000, seed = 1, first = 0;
  bool files = false;
  for (int i = 1; i < argc; ++i) {
    std::string_view arg = argv[i];
    if (!arg.starts_with("--")) {
      files = true;
      if (int rc = TryFile(argv[i]); rc != 0) return rc;
      continue;
    }
    if (++i == argc) return Usage();
    if (arg == "--write-corpus") return WriteCorpus(seeds, argv[i]);
    uint64_t* number = arg == "--runs"    ? &runs
                       : arg == "--seed"  ? &seed
                       : arg == "--first" ? &first
                                          : nullptr;
    std::string_view value = argv[i];
    if (number == nullptr ||
        std::from_chars(value.data(), value.data() + value.size(), *number).ec != std::errc()) {
      return Usage();
    }
  }
  if (files) return 0;
  g_seed = seed;
  for (int s : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL}) std::signal(s, OnCrash);
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(SayHowToReplay);
  for (const Input& in : seeds) Try(in);
  for (uint64_t run = first; run < first + runs; ++run) RunOne(seeds, seed, run);
  std::printf("%zu seeds, %llu mutations\n", seeds.size(), static_cast<unsigned long long>(runs));
  return 0;
}
