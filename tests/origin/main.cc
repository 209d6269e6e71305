// SPDX-License-Identifier: Apache-2.0
// origin: the test origin as a program; runs until SIGINT or SIGTERM.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "tests/origin/origin.h"

namespace {

int Run(const holdfast::origin::OriginOptions& options) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before the threads, which inherit it
  auto origin = holdfast::origin::Origin::Start(options);
  if (!origin.ok()) {
    std::fprintf(stderr, "origin: %s\n", origin.status().ToString().c_str());
    return 1;
  }
  std::printf("origin: %s/o/<size>/<id>\n", (*origin)->url().c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  const auto counters = (*origin)->Counters();
  std::printf("origin: %llu requests on %llu connections, %llu bytes\n",
              static_cast<unsigned long long>(counters.requests),
              static_cast<unsigned long long>(counters.connections),
              static_cast<unsigned long long>(counters.body_bytes));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  holdfast::origin::OriginOptions options;
  std::string delay = "0s";
  std::string rate = "0";
  std::vector<std::string> faults;
  CLI::App app(
      "An HTTP origin for tests and benchmarks: GET and HEAD of /o/<size>/<id>, with delays and "
      "faults.");
  app.add_option("--port", options.port, "TCP port on 127.0.0.1; 0 takes a free one")
      ->capture_default_str();
  app.add_option("--delay", delay, "before the first byte of each answer, such as 30ms")
      ->capture_default_str();
  app.add_option("--rate", rate, "bytes per second of each thread, such as 100MB; 0: no limit")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads")->capture_default_str();
  app.add_option("--seed", options.seed, "of the faults' chances")->capture_default_str();
  app.add_option("--fault", faults, "KIND[,p=0.1][,path=TEXT][,times=N]..., may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--checksums", options.responses.checksums, "send x-amz-checksum-crc32c");
  CLI11_PARSE(app, argc, argv);

  const auto fail = [](const holdfast::Status& status) {
    std::fprintf(stderr, "origin: %s\n", status.ToString().c_str());
    return 2;
  };
  auto parsed_delay = holdfast::ParseDuration(delay);
  if (!parsed_delay.ok()) return fail(parsed_delay.status());
  options.delay = *parsed_delay;
  auto parsed_rate = holdfast::ParseBytes(rate);
  if (!parsed_rate.ok()) return fail(parsed_rate.status());
  options.rate_bytes_per_s = *parsed_rate;
  for (const std::string& text : faults) {
    auto fault = holdfast::origin::ParseFault(text);
    if (!fault.ok()) return fail(fault.status());
    options.faults.push_back(*fault);
  }
  return Run(options);
}
