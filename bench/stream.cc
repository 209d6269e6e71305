// SPDX-License-Identifier: Apache-2.0
// bench stream: one writer fills 95 % of what four nodes give to a stream and reads all of it back,
// beside the same records through redis. Memory only, as redis; and once more with disks.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/random.h"
#include "bench/servers.h"
#include "bench/stream_redis.h"
#include "holdfast/client.h"
#include "holdfast/stream.h"

namespace holdfast::bench {
namespace {

constexpr size_t kNodes = 4;

struct Arguments {
  bool quick = false;
  uint32_t rounds = 0;
  std::string disk;
  uint64_t record = 0;
};

[[noreturn]] void Die(const std::string& text) {
  std::fprintf(stderr, "bench_stream: %s\n", text.c_str());
  std::exit(3);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// Records are parts of one block of random bytes, each at another place.
class Source {
 public:
  explicit Source(uint64_t record_bytes) : bytes_(32 * kMiB), record_bytes_(record_bytes) {
    Random random(1);
    for (size_t at = 0; at < bytes_.size(); at += 8) {
      const uint64_t word = random.Next();
      std::memcpy(bytes_.data() + at, &word, 8);
    }
  }
  std::string_view Record(uint64_t n) const {
    const uint64_t places = (bytes_.size() - record_bytes_) / 64;
    return {bytes_.data() + n * 40'503 % places * 64, record_bytes_};
  }
  uint64_t record_bytes() const { return record_bytes_; }

 private:
  std::vector<char> bytes_;
  uint64_t record_bytes_;
};

// MB/s of each round.
struct Rates {
  std::vector<double> append, read;
};

class Bench {
 public:
  explicit Bench(const Arguments& arguments) : arguments_(arguments) {}
  ~Bench() {
    client_.reset();
    nodes_.clear();
    std::filesystem::remove_all(directory_);
    if (!disk_.empty()) std::filesystem::remove_all(disk_);
  }
  void Run();

 private:
  void StartNodes();
  void Connect();
  void Holdfast(const Source& source, const StreamOptions& options, uint64_t count, Rates* rates);
  void ThroughRedis(Redis* redis, RedisWay way, const Source& source, uint64_t count, Rates* rates);
  void Compare(uint64_t record_bytes);
  void WithDisks();
  uint64_t CountFor(const StreamOptions& options, const Source& source) const;

  Arguments arguments_;
  std::string directory_;
  std::string disk_;
  std::vector<ServerProcess> nodes_;
  std::vector<std::string> controls_;
  std::unique_ptr<Redis> redis_;
  std::unique_ptr<Client> client_;
  uint64_t memory_ = 0;  // of the stream at each node
  nlohmann::ordered_json figures_, ratios_;
};

void Bench::StartNodes() {
  directory_ = "/dev/shm/holdfast-bench-stream-" + std::to_string(::getpid());
  disk_ = arguments_.disk + "/holdfast-bench-stream-" + std::to_string(::getpid());
  std::filesystem::create_directories(directory_);
  std::filesystem::create_directories(disk_);
  const uint64_t limit = arguments_.quick ? 512 * kMiB : 1 * kGiB;
  memory_ = limit / 8 * 3;
  // Forked before this process has threads.
  redis_ = std::make_unique<Redis>(directory_);
  controls_ = FreeAddresses(kNodes);
  for (size_t id = 0; id < kNodes; ++id) {
    const std::string name = "/node-" + std::to_string(id);
    nodes_.push_back(StartDaemon(
        {.state_directory = directory_ + name,
         .id = static_cast<NodeId>(id),
         .members = controls_,
         .memory_bytes = limit,
         .far_connections = 8,
         .settings = {"disk.directory=" + disk_ + name, "disk.limit=1GiB", "disk.segment=8MiB"}}));
  }
}

void Bench::Connect() {
  ClientOptions options;
  for (size_t id = 0; id < kNodes; ++id) {
    options.nodes.push_back({static_cast<NodeId>(id), controls_[id]});
  }
  options.attach = directory_ + "/node-0/attach.sock";
  options.far.aws_settings = false;
  Result<std::unique_ptr<Client>> client = Client::Connect(std::move(options));
  if (!client.ok()) Die(client.status().ToString());
  client_ = *std::move(client);
}

uint64_t Bench::CountFor(const StreamOptions& options, const Source& source) const {
  const uint64_t all = kNodes * (options.memory_bytes + options.disk_bytes);
  return all / 100 * 95 / source.record_bytes();
}

void Bench::Holdfast(const Source& source, const StreamOptions& options, uint64_t count,
                     Rates* rates) {
  const double mb = static_cast<double>(count * source.record_bytes()) / 1e6;
  const double begin = Now();
  Result<std::unique_ptr<Stream>> stream = Stream::Open(*client_, "bench", options);
  if (!stream.ok()) Die(stream.status().ToString());
  for (uint64_t i = 0; i < count; ++i) {
    if (Status status = (*stream)->Append(source.Record(i)); !status.ok()) Die(status.ToString());
  }
  if (Status status = (*stream)->Close(); !status.ok()) Die(status.ToString());
  rates->append.push_back(mb / (Now() - begin));
  const double read = Now();
  Result<std::unique_ptr<StreamReader>> reader = StreamReader::Open(*client_, "bench");
  if (!reader.ok()) Die(reader.status().ToString());
  uint64_t got = 0;
  while (true) {
    Result<std::optional<StreamRecord>> record = (*reader)->Next();
    if (!record.ok()) Die(record.status().ToString());
    if (!record->has_value()) break;
    if ((**record).text() != source.Record(got++)) Die("a record has other bytes");
  }
  if (got != count) Die(std::to_string(got) + " records instead of " + std::to_string(count));
  rates->read.push_back(mb / (Now() - read));
  reader->reset();
  stream->reset();
  if (Status status = Stream::Remove(*client_, "bench"); !status.ok()) Die(status.ToString());
}

void Bench::ThroughRedis(Redis* redis, RedisWay way, const Source& source, uint64_t count,
                         Rates* rates) {
  const double mb = static_cast<double>(count * source.record_bytes()) / 1e6;
  redis->Clear();
  const double begin = Now();
  redis->Append(way, count, source.record_bytes(), [&](uint64_t i) { return source.Record(i); });
  rates->append.push_back(mb / (Now() - begin));
  const double read = Now();
  uint64_t at = 0;
  const uint64_t got = redis->Read(way, count, source.record_bytes(), [&](std::string_view bytes) {
    for (; !bytes.empty(); bytes.remove_prefix(source.record_bytes())) {
      if (bytes.substr(0, source.record_bytes()) != source.Record(at++)) {
        Die("a record of redis has other bytes");
      }
    }
  });
  if (got != count * source.record_bytes()) Die("redis gave fewer bytes than it got");
  rates->read.push_back(mb / (Now() - read));
  redis->Clear();
}

void Bench::Compare(uint64_t record_bytes) {
  const Source source(record_bytes);
  const StreamOptions options{.memory_bytes = memory_};
  const uint64_t count = CountFor(options, source);
  // A user of redis has one way for both: the one that takes the least time in all.
  std::pair<double, RedisWay> best{1e9, RedisWay::kRpush};
  for (RedisWay way : {RedisWay::kRpush, RedisWay::kXadd, RedisWay::kAppend}) {
    Rates rates;
    ThroughRedis(redis_.get(), way, source, count / 4, &rates);
    best = std::min(best, {1 / rates.append[0] + 1 / rates.read[0], way});
    std::printf("         redis %-6s  append %5.0f MB/s, read %5.0f MB/s\n", NameOf(way),
                rates.append[0], rates.read[0]);
  }
  Rates ours, theirs;
  for (uint32_t round = 0; round < arguments_.rounds; ++round) {
    Holdfast(source, options, count, &ours);
    ThroughRedis(redis_.get(), best.second, source, count, &theirs);
  }
  const std::string size = std::to_string(record_bytes / kKiB) + "k";
  const double append = Median(ours.append), read = Median(ours.read);
  const double redis_append = Median(theirs.append), redis_read = Median(theirs.read);
  std::printf("%-8s %8.0f MB  %9.0f %9.0f   %9.0f %9.0f  %-6s  %5.2f %5.2f\n", size.c_str(),
              static_cast<double>(count * record_bytes) / 1e6, append, read, redis_append,
              redis_read, NameOf(best.second), append / redis_append, read / redis_read);
  std::fflush(stdout);
  figures_["append_mb_s_" + size] = append;
  figures_["read_mb_s_" + size] = read;
  figures_["redis_append_mb_s_" + size] = redis_append;
  figures_["redis_read_mb_s_" + size] = redis_read;
  const std::string suffix = size == "4k" ? "" : "_" + size;
  ratios_["append_vs_redis" + suffix] = append / redis_append;
  ratios_["read_vs_redis" + suffix] = read / redis_read;
}

void Bench::WithDisks() {
  const Source source(64 * kKiB);
  const StreamOptions options{.memory_bytes = memory_ / 4, .disk_bytes = memory_ / 2};
  const uint64_t count = CountFor(options, source);
  Rates rates;
  for (uint32_t round = 0; round < arguments_.rounds; ++round) {
    Holdfast(source, options, count, &rates);
  }
  std::printf("64k, two thirds on disks: %.0f MB at %.0f MB/s, read at %.0f MB/s\n",
              static_cast<double>(count * source.record_bytes()) / 1e6, Median(rates.append),
              Median(rates.read));
  figures_["disk_append_mb_s"] = Median(rates.append);
  figures_["disk_read_mb_s"] = Median(rates.read);
}

void Bench::Run() {
  StartNodes();
  Connect();
  std::printf("95 %% of the limits of 4 nodes  holdfast MB/s          redis MB/s, its best way\n");
  std::printf(
      "record      bytes      append      read      append      read  way         ratios\n");
  for (uint64_t bytes : {4 * kKiB, 1 * kKiB, 64 * kKiB}) {
    if (arguments_.record == 0 || arguments_.record == bytes) Compare(bytes);
  }
  if (arguments_.record == 0) WithDisks();
  figures_["filled_share"] = 0.95;
  const nlohmann::ordered_json line{
      {"bench", "stream"}, {"figures", figures_}, {"ratios", ratios_}};
  std::printf("%s\n", line.dump().c_str());
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  CLI::App app("Streams over four daemons, beside redis; prints a table and a line of JSON.",
               "bench_stream");
  holdfast::bench::Arguments arguments;
  arguments.disk = "/var/tmp";
  app.add_flag("--quick", arguments.quick, "less memory and fewer rounds: within 50 seconds");
  app.add_option("--rounds", arguments.rounds, "0: 7, or 3 when quick");
  app.add_option("--record", arguments.record, "one size of records: 1024, 4096 or 65536");
  app.add_option("--disk", arguments.disk, "where the nodes' disks are")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (arguments.rounds == 0) arguments.rounds = arguments.quick ? 3 : 7;
  holdfast::bench::Bench(arguments).Run();
  return 0;
}
