// SPDX-License-Identifier: Apache-2.0
// holdfast stream put|cat|ls|rm
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "holdfast/stream.h"
#include "jobclient/cli/commands.h"

namespace holdfast::cli {
namespace {

struct PutArguments {
  std::string name;
  std::string memory = "1GiB";
  std::string disk = "0";
  std::string expire = "1h";
  std::string record = "64KiB";
  uint32_t writers = 1;
  bool second_copy = false;
  bool join = false;
  bool lines = false;
};

// --- put -----------------------------------------------------------------------------------------

// Standard input in records: blocks of `block` bytes, or lines with their ends.
class Input {
 public:
  Input(uint64_t block, bool lines) : buffer_(block), lines_(lines) {}
  ~Input() { std::free(line_); }
  Input(const Input&) = delete;

  // Empty at the end.
  Result<ByteView> Next() {
    errno = 0;
    ssize_t read = 0;
    if (lines_) {
      read = ::getline(&line_, &room_, stdin);
    } else {
      do {
        read = static_cast<ssize_t>(std::fread(buffer_.data(), 1, buffer_.size(), stdin));
      } while (read == 0 && errno == EINTR && std::feof(stdin) == 0);
    }
    if (std::ferror(stdin) != 0) {
      return Status::Denied("cannot read standard input: " + std::string(std::strerror(errno)));
    }
    const std::byte* bytes = lines_ ? reinterpret_cast<std::byte*>(line_) : buffer_.data();
    return ByteView(bytes, read > 0 ? static_cast<size_t>(read) : 0);
  }

 private:
  std::vector<std::byte> buffer_;
  bool lines_;
  char* line_ = nullptr;
  size_t room_ = 0;
};

Result<StreamOptions> OptionsOf(const PutArguments& arguments) {
  StreamOptions options;
  Result<uint64_t> memory = ParseBytes(arguments.memory), disk = ParseBytes(arguments.disk);
  Result<Duration> expiration = ParseDuration(arguments.expire);
  if (!memory.ok()) return memory.status().Annotate("--memory");
  if (!disk.ok()) return disk.status().Annotate("--disk");
  if (!expiration.ok()) return expiration.status().Annotate("--expire");
  if (*memory == 0 && *disk == 0)
    return Status::Invalid("a stream needs room: give it --memory, --disk, or both");
  options.memory_bytes = *memory;
  options.disk_bytes = *disk;
  options.expiration = *expiration;
  options.writers = arguments.writers;
  options.second_copy = arguments.second_copy;
  return options;
}

Status Copy(Stream& stream, Input* input, const Globals& globals, uint64_t* bytes) {
  Progress progress(globals, "written");
  while (true) {
    Result<ByteView> record = input->Next();
    if (!record.ok()) return record.status();
    if (record->empty()) return stream.Close();
    HF_RETURN_IF_ERROR(stream.Append(*record));
    *bytes += record->size();
    progress.Show(*bytes, 0);
  }
}

int Put(const Globals& globals, const PutArguments& arguments) {
  Result<StreamOptions> options = OptionsOf(arguments);
  if (!options.ok()) return Fail(options.status());
  Result<uint64_t> block = ParseBytes(arguments.record);
  if (!block.ok() || *block == 0 || *block > kGiB) {
    return Fail(Status::Invalid("--record: 1 byte to 1GiB, as in 64KiB"));
  }
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  Result<std::unique_ptr<Stream>> stream = arguments.join
                                               ? Stream::Join(**client, arguments.name)
                                               : Stream::Open(**client, arguments.name, *options);
  if (!stream.ok()) return Fail(stream.status());
  Input input(*block, arguments.lines);
  uint64_t bytes = 0;
  const Status copied = Copy(**stream, &input, globals, &bytes);
  const uint64_t safe = (*stream)->acknowledged();
  if (globals.json) {
    PrintJson({{"stream", arguments.name},
               {"records", (*stream)->appended()},
               {"bytes", bytes},
               {"acknowledged", safe}});
  }
  if (!copied.ok()) {
    return Fail(copied.Annotate("the first " + FormatCount(safe) + " records are safe, no others"));
  }
  if (!globals.json && !globals.quiet) {
    std::fprintf(stderr, "%s records, %s\n", FormatCount(safe).c_str(), FormatBytes(bytes).c_str());
  }
  return kOk;
}

// --- cat -----------------------------------------------------------------------------------------

// What a node takes with it is lost chunk by chunk: neighbours that are lost for one reason are told
// as one.
class Losses {
 public:
  Losses(std::string stream, const StreamReader* reader)
      : stream_(std::move(stream)), reader_(reader) {}

  // After each call of Next: false when it has lost nothing.
  bool Take() {
    const std::vector<StreamLoss>& all = reader_->losses();
    const bool any = taken_ < all.size();
    for (; taken_ < all.size(); ++taken_) {
      const StreamLoss& loss = all[taken_];
      const bool goes_on = untold_.records > 0 && loss.writer == untold_.writer &&
                           loss.first_record == untold_.first_record + untold_.records &&
                           loss.why.ToString() == untold_.why.ToString();
      if (goes_on) {
        untold_.records += loss.records;
      } else {
        Tell();
        untold_ = loss;
      }
    }
    return any;
  }
  void Tell() {
    if (untold_.records > 0) Fail(untold_.ToStatus().Annotate(stream_));
    untold_ = {};
  }

 private:
  std::string stream_;
  const StreamReader* reader_;
  size_t taken_ = 0;
  StreamLoss untold_{};
};

int Cat(const Globals& globals, const std::string& name) {
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  Result<std::unique_ptr<StreamReader>> reader = StreamReader::Open(**client, name);
  if (!reader.ok()) return Fail(reader.status());
  // A bar would be drawn into what is printed.
  Globals quiet = globals;
  quiet.quiet = globals.quiet || ::isatty(STDOUT_FILENO) == 1;
  Progress progress(quiet, "read");
  Losses losses(name, reader->get());
  int code = kOk;
  uint64_t bytes = 0;
  while (true) {
    Result<std::optional<StreamRecord>> record = (*reader)->Next();
    if (losses.Take()) {
      code = kWrong;
      if (!record.ok()) continue;
    }
    losses.Tell();
    if (!record.ok()) {
      code = Fail(record.status().Annotate(name));
      if ((*reader)->over()) return code;
      code = kWrong;
      continue;
    }
    if (!record->has_value()) return code;
    const ByteView view = (**record).bytes;
    if (!view.empty() && std::fwrite(view.data(), 1, view.size(), stdout) != view.size()) {
      return Fail(CannotWrite("to standard output", errno));
    }
    bytes += view.size();
    progress.Show(bytes, 0);
  }
}

// --- ls, rm --------------------------------------------------------------------------------------

struct Listed {
  Json catalogue;
  uint64_t memory = 0, disk = 0, nodes = 0;
};

// One line a stream, of what all nodes say: both catalogues have it, and each room a part.
std::map<std::string, Listed> Merge(const std::vector<std::string>& nodes) {
  std::map<std::string, Listed> streams;
  for (const std::string& text : nodes) {
    const Json node = Json::parse(text, nullptr, false);
    if (node.is_discarded()) continue;
    for (const Json& catalogue : node.value("catalogues", Json::array())) {
      Listed& listed = streams[catalogue.value("stream", "")];
      const bool longer =
          listed.catalogue.is_null() ||
          catalogue.value("records", uint64_t{0}) >= listed.catalogue.value("records", uint64_t{0});
      if (longer) listed.catalogue = catalogue;
    }
    for (const Json& room : node.value("rooms", Json::array())) {
      Listed& listed = streams[room.value("stream", "")];
      listed.memory += room.value("memory_bytes", uint64_t{0});
      listed.disk += room.value("disk_bytes", uint64_t{0});
      ++listed.nodes;
    }
  }
  return streams;
}

int List(const Globals& globals) {
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  Result<std::vector<std::string>> nodes = Stream::List(**client);
  if (!nodes.ok()) return Fail(nodes.status());
  if (!globals.json) {
    std::printf("%-32s %14s %12s %12s %12s %6s  %-9s %s\n", "NAME", "RECORDS", "BYTES", "MEMORY",
                "DISK", "NODES", "WRITERS", "EXPIRES IN");
  }
  for (auto& [number, listed] : Merge(*nodes)) {
    // The rest of one whose catalogues are gone: its expiry frees it.
    Json line =
        listed.catalogue.is_null() ? Json{{"name", "-"}, {"stream", number}} : listed.catalogue;
    line["memory_bytes"] = listed.memory;
    line["disk_bytes"] = listed.disk;
    line["nodes"] = listed.nodes;
    if (globals.json) {
      PrintJson(line);
      continue;
    }
    const std::string writers = std::to_string(line.value("ended", 0)) + "/" +
                                std::to_string(line.value("writers", 0)) +
                                (line.value("gone", 0) > 0 ? " gone" : "");
    std::printf(
        "%-32s %14s %12s %12s %12s %6llu  %-9s %s\n", line.value("name", "-").c_str(),
        FormatCount(line.value("records", uint64_t{0})).c_str(),
        FormatBytes(line.value("bytes", uint64_t{0})).c_str(), FormatBytes(listed.memory).c_str(),
        FormatBytes(listed.disk).c_str(), static_cast<unsigned long long>(listed.nodes),
        writers.c_str(),
        FormatDuration(Duration(line.value("expires_in_s", int64_t{0}) * 1'000'000)).c_str());
  }
  return kOk;
}

int Remove(const Globals& globals, const std::vector<std::string>& names) {
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  int code = kOk;
  for (const std::string& name : names) {
    const Status removed = Stream::Remove(**client, name);
    if (!removed.ok()) code = Fail(removed.Annotate(name));
  }
  return code;
}

}  // namespace

void AddStreamCommands(CLI::App& app, const Globals& globals, Chosen* chosen) {
  CLI::App* stream = app.add_subcommand(
      "stream", "scratch data in the memory and on the disks of the nodes: put, cat, ls, rm");
  stream->require_subcommand(1);

  auto put = std::make_shared<PutArguments>();
  CLI::App* command = stream->add_subcommand("put", "standard input into a new stream");
  command->add_option("NAME", put->name, "as job-17/shuffle")->required();
  command->add_option("--memory", put->memory, "of each node, at most")->capture_default_str();
  command->add_option("--disk", put->disk, "of each node, at most")->capture_default_str();
  command->add_option("--expire", put->expire, "then all of it is freed")->capture_default_str();
  command->add_option("--record", put->record, "bytes of a record")->capture_default_str();
  command->add_flag("--lines", put->lines, "each line is a record");
  command->add_option("--writers", put->writers, "how many will write; the others with --join")
      ->capture_default_str();
  command->add_flag("--second-copy", put->second_copy, "of every record, at another node");
  command->add_flag("--join", put->join, "one more writer of a stream that is there");
  command->callback([=, &globals] { *chosen = [=, &globals] { return Put(globals, *put); }; });

  auto name = std::make_shared<std::string>();
  command = stream->add_subcommand("cat", "a stream to standard output, while it is written, too");
  command->add_option("NAME", *name)->required();
  command->callback([=, &globals] { *chosen = [=, &globals] { return Cat(globals, *name); }; });

  command = stream->add_subcommand("ls", "the streams that there are");
  command->callback([=, &globals] { *chosen = [&globals] { return List(globals); }; });

  auto names = std::make_shared<std::vector<std::string>>();
  command = stream->add_subcommand("rm", "frees all of a stream on every node");
  command->add_option("NAME", *names)->required();
  command->callback([=, &globals] { *chosen = [=, &globals] { return Remove(globals, *names); }; });
}

}  // namespace holdfast::cli
