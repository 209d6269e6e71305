// SPDX-License-Identifier: Apache-2.0
// The rule of local reading (wire/shm_layout.h) in a small machine: every interleaving of the
// reader's and the daemon's instructions is walked, under sequential consistency and with the store
// buffers of x86-TSO (Owens, Sarkar and Sewell, 2009). The rule holds in all of them, and each of
// its ingredients is needed: with any one taken away there is an interleaving in which a reader
// uses bytes of another record.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <set>
#include <vector>

namespace holdfast {
namespace {

// Words of the shared memory. An entry is 0 (empty) or 1 + its segment; there are two segments of
// one record each. A record is a header and two words of payload that must equal the header; 10 and
// 11 are versions of the object that the readers look for, 20 is another object.
enum Word : uint8_t { kEntry = 0, kPin = 1, kHead = 3, kLow = 5, kHigh = 7, kWords = 9 };

enum class Op : uint8_t {
  kLoad,         // registers[reg] = memory[word + index]
  kStore,        // memory[word + index] = value, through the store buffer
  kAdd,          // memory[word + index] += value, locked: drains the buffer, and is a fence
  kStoreAdd,     // memory[word + index] = registers[reg] + value, an ordinary store
  kFence,        // waits until the buffer is empty
  kJumpIfZero,   // to `value` when registers[reg] == 0
  kJumpIfNot,    // to `value` when registers[reg] != 0
  kJumpIfOther,  // to `value` when registers[reg] != registers[2nd]
  kJumpIfAlien,  // to `value` when registers[reg] is no version of the object
  kUse,  // violation when registers[reg] != registers[2nd], or that is no version of the object
  kEnd,
};

struct Instruction {
  Op op = Op::kEnd;
  uint8_t reg = 0;
  uint8_t word = 0;
  int8_t value = 0;
  int8_t index = -1;  // register that holds the entry: its segment is added to `word`
  uint8_t second = 0;
};
using Program = std::vector<Instruction>;

constexpr size_t kMaxThreads = 3;
constexpr size_t kBuffer = 4;

struct Thread {
  uint8_t pc = 0;
  std::array<int8_t, 4> registers{};
  std::array<int8_t, kBuffer> words{};  // the store buffer, oldest first
  std::array<int8_t, kBuffer> values{};
  uint8_t buffered = 0;
  friend auto operator<=>(const Thread&, const Thread&) = default;
};

struct State {
  std::array<int8_t, kWords> memory{};
  std::array<Thread, kMaxThreads> threads{};
  friend auto operator<=>(const State&, const State&) = default;
};

enum class Memory { kSequential, kTso };

class Machine {
 public:
  Machine(Memory memory, std::vector<Program> programs)
      : memory_(memory), programs_(std::move(programs)) {}

  // True when some interleaving ends in a violation.
  bool FindsViolation() {
    State start;
    start.memory[kEntry] = 1;  // a version of the object lies in segment 0, findable
    start.memory[kHead] = start.memory[kLow] = start.memory[kHigh] = 10;
    std::vector<State> open = {start};
    seen_ = {start};
    while (!open.empty() && !violated_) {
      State state = open.back();
      open.pop_back();
      for (size_t t = 0; t < programs_.size(); ++t) {
        for (bool drain : {false, true}) {
          State next = state;
          if ((drain ? Drain(&next, t) : Step(&next, t)) && seen_.insert(next).second) {
            open.push_back(next);
          }
        }
      }
    }
    return violated_;
  }
  size_t states() const { return seen_.size(); }
  // Some reader came to use a whole record: the walk is not empty.
  bool used() const { return used_; }

 private:
  static bool Alien(int8_t header) { return header != 10 && header != 11; }

  static bool Drain(State* s, size_t t) {
    Thread& thread = s->threads[t];
    if (thread.buffered == 0) return false;
    s->memory[static_cast<size_t>(thread.words[0])] = thread.values[0];
    --thread.buffered;
    for (size_t i = 0; i < thread.buffered; ++i) {
      thread.words[i] = thread.words[i + 1];
      thread.values[i] = thread.values[i + 1];
    }
    thread.words[thread.buffered] = thread.values[thread.buffered] = 0;
    return true;
  }
  static int8_t Load(const State& s, size_t t, size_t word) {
    const Thread& thread = s.threads[t];
    for (size_t i = thread.buffered; i > 0; --i) {
      if (static_cast<size_t>(thread.words[i - 1]) == word) return thread.values[i - 1];
    }
    return s.memory[word];
  }
  bool Store(State* s, size_t t, size_t word, int8_t value) const {
    Thread& thread = s->threads[t];
    if (memory_ == Memory::kSequential) {
      s->memory[word] = value;
      return true;
    }
    if (thread.buffered == kBuffer) return false;  // a Drain comes first
    thread.words[thread.buffered] = static_cast<int8_t>(word);
    thread.values[thread.buffered++] = value;
    return true;
  }

  // One instruction of thread t; false when it cannot go on now.
  bool Step(State* s, size_t t) {
    Thread& thread = s->threads[t];
    const Instruction& i = programs_[t][thread.pc];
    const size_t word =
        i.word +
        (i.index < 0 ? 0 : static_cast<size_t>(thread.registers[static_cast<size_t>(i.index)] - 1));
    int8_t& reg = thread.registers[i.reg];
    const int8_t other = thread.registers[i.second];
    bool jump = false;
    switch (i.op) {
      case Op::kEnd:
        return false;
      case Op::kLoad:
        reg = Load(*s, t, word);
        break;
      case Op::kStore:
        if (!Store(s, t, word, i.value)) return false;
        break;
      case Op::kStoreAdd:
        if (!Store(s, t, word, static_cast<int8_t>(reg + i.value))) return false;
        break;
      case Op::kAdd:
        if (thread.buffered != 0) return false;
        s->memory[word] = static_cast<int8_t>(s->memory[word] + i.value);
        break;
      case Op::kFence:
        if (thread.buffered != 0) return false;
        break;
      case Op::kJumpIfZero:
        jump = reg == 0;
        break;
      case Op::kJumpIfNot:
        jump = reg != 0;
        break;
      case Op::kJumpIfOther:
        jump = reg != other;
        break;
      case Op::kJumpIfAlien:
        jump = Alien(reg);
        break;
      case Op::kUse:
        used_ = true;
        violated_ = violated_ || reg != other || Alien(other);
        break;
    }
    thread.pc = jump ? static_cast<uint8_t>(i.value) : static_cast<uint8_t>(thread.pc + 1);
    return true;
  }

  Memory memory_;
  std::vector<Program> programs_;
  std::set<State> seen_;
  bool violated_ = false;
  bool used_ = false;
};

// What can be forgotten, one line each.
enum class Bug {
  kNone,
  kNoSecondLoad,
  kPinIsAnOrdinaryStore,
  kPinAfterSecondLoad,
  kUnpinBeforeLastRead,
  kNoHeaderCheck,
  kNoFence,
  kNoWaitForPins,
  kPinsReadBeforeClear,
  kNoClear,
  kLinkBeforeWrite,
};

// Registers: 0 the entry, 1 the entry again (or the old pin), 2 the header, 3 payload.
Program Reader(Bug bug) {
  Program p;
  auto pin = [&] {
    if (bug == Bug::kPinIsAnOrdinaryStore) {
      p.push_back({.op = Op::kLoad, .reg = 1, .word = kPin, .index = 0});
      p.push_back({.op = Op::kStoreAdd, .reg = 1, .word = kPin, .value = 1, .index = 0});
    } else {
      p.push_back({.op = Op::kAdd, .word = kPin, .value = 1, .index = 0});
    }
  };
  std::vector<size_t> to_unpin;
  std::vector<size_t> to_end;
  p.push_back({.op = Op::kLoad, .reg = 0, .word = kEntry});
  to_end.push_back(p.size());
  p.push_back({.op = Op::kJumpIfZero, .reg = 0});
  if (bug != Bug::kPinAfterSecondLoad) pin();
  if (bug != Bug::kNoSecondLoad) {
    p.push_back({.op = Op::kLoad, .reg = 1, .word = kEntry});
    to_unpin.push_back(p.size());
    p.push_back({.op = Op::kJumpIfOther, .reg = 0, .second = 1});
  }
  if (bug == Bug::kPinAfterSecondLoad) pin();
  p.push_back({.op = Op::kLoad, .reg = 2, .word = kHead, .index = 0});
  if (bug != Bug::kNoHeaderCheck) {
    to_unpin.push_back(p.size());
    p.push_back({.op = Op::kJumpIfAlien, .reg = 2});
  }
  if (bug == Bug::kUnpinBeforeLastRead)
    p.push_back({.op = Op::kAdd, .word = kPin, .value = -1, .index = 0});
  for (uint8_t half : {kLow, kHigh}) {
    p.push_back({.op = Op::kLoad, .reg = 3, .word = half, .index = 0});
    p.push_back({.op = Op::kUse, .reg = 3, .second = 2});
  }
  const size_t unpin = p.size();
  if (bug != Bug::kUnpinBeforeLastRead)
    p.push_back({.op = Op::kAdd, .word = kPin, .value = -1, .index = 0});
  const size_t end = p.size();
  p.push_back({.op = Op::kEnd});
  for (size_t i : to_unpin) p[i].value = static_cast<int8_t>(unpin);
  for (size_t i : to_end) p[i].value = static_cast<int8_t>(end);
  return p;
}

// Takes segment 0 back (or moves its record to segment 1 first), puts `content` there and links it;
// `rounds` times, alternating with version 10. An unbuffered pin word stands for all lanes and
// sessions: they are scanned alike.
Program Daemon(Bug bug, int8_t content, bool move_first, int rounds) {
  Program p;
  auto wait = [&] {
    const size_t load = p.size();
    p.push_back({.op = Op::kLoad, .reg = 0, .word = kPin});
    if (bug != Bug::kNoWaitForPins) {
      p.push_back({.op = Op::kJumpIfNot, .reg = 0, .value = static_cast<int8_t>(load)});
    }
  };
  for (int round = 0; round < rounds; ++round) {
    const int8_t value = round % 2 == 0 ? content : int8_t{10};
    if (bug == Bug::kPinsReadBeforeClear) wait();
    if (move_first && round == 0) {
      for (uint8_t word : {kHead, kLow, kHigh}) {
        p.push_back({.op = Op::kStore, .word = static_cast<uint8_t>(word + 1), .value = 10});
      }
      p.push_back({.op = Op::kStore, .word = kEntry, .value = 2});
    } else if (bug != Bug::kNoClear) {
      p.push_back({.op = Op::kStore, .word = kEntry, .value = 0});
    }
    if (bug != Bug::kNoFence) p.push_back({.op = Op::kFence});
    if (bug != Bug::kPinsReadBeforeClear) wait();
    if (bug == Bug::kLinkBeforeWrite) p.push_back({.op = Op::kStore, .word = kEntry, .value = 1});
    for (uint8_t word : {kHead, kLow, kHigh})
      p.push_back({.op = Op::kStore, .word = word, .value = value});
    if (bug != Bug::kLinkBeforeWrite) p.push_back({.op = Op::kStore, .word = kEntry, .value = 1});
  }
  p.push_back({.op = Op::kEnd});
  return p;
}

bool Violates(Memory memory, Bug bug) {
  bool violated = false;
  for (int8_t content : {int8_t{11}, int8_t{20}}) {
    for (bool move_first : {false, true}) {
      for (int rounds : {1, 2}) {
        Machine machine(memory, {Daemon(bug, content, move_first, rounds), Reader(bug)});
        violated = machine.FindsViolation() || violated;
        EXPECT_TRUE(machine.used());
        EXPECT_GT(machine.states(), 40u);
      }
    }
  }
  return violated;
}

TEST(LocalReadingModel, HoldsUnderSequentialConsistency) {
  EXPECT_FALSE(Violates(Memory::kSequential, Bug::kNone));
}

TEST(LocalReadingModel, HoldsUnderTso) { EXPECT_FALSE(Violates(Memory::kTso, Bug::kNone)); }

TEST(LocalReadingModel, HoldsForTwoReadersThatShareALane) {
  for (Memory memory : {Memory::kSequential, Memory::kTso}) {
    for (int8_t content : {int8_t{11}, int8_t{20}}) {
      Machine machine(
          memory, {Daemon(Bug::kNone, content, true, 2), Reader(Bug::kNone), Reader(Bug::kNone)});
      EXPECT_FALSE(machine.FindsViolation());
      EXPECT_TRUE(machine.used());
    }
  }
}

TEST(LocalReadingModel, EveryIngredientIsNeeded) {
  for (Bug bug : {Bug::kNoSecondLoad, Bug::kPinAfterSecondLoad, Bug::kUnpinBeforeLastRead,
                  Bug::kNoHeaderCheck, Bug::kNoWaitForPins, Bug::kPinsReadBeforeClear,
                  Bug::kNoClear, Bug::kLinkBeforeWrite}) {
    EXPECT_TRUE(Violates(Memory::kSequential, bug)) << "bug " << static_cast<int>(bug);
    EXPECT_TRUE(Violates(Memory::kTso, bug)) << "bug " << static_cast<int>(bug);
  }
}

// The two that only a machine with store buffers shows: why both sides pay for a fence on x86.
TEST(LocalReadingModel, FencesAreNeededBecauseOfStoreBuffers) {
  EXPECT_FALSE(Violates(Memory::kSequential, Bug::kNoFence));
  EXPECT_TRUE(Violates(Memory::kTso, Bug::kNoFence));
  EXPECT_FALSE(Violates(Memory::kSequential, Bug::kPinIsAnOrdinaryStore));
  EXPECT_TRUE(Violates(Memory::kTso, Bug::kPinIsAnOrdinaryStore));
}

}  // namespace
}  // namespace holdfast
