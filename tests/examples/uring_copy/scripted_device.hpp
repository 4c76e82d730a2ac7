// SPDX-License-Identifier: BSL-1.0
//
// A device in memory that follows a test's script. The bytes of a command move when the device
// makes the command's completion, so a copier that uses a buffer again too early produces a wrong
// copy.

#ifndef BLKOWN_TESTS_EXAMPLES_URING_COPY_SCRIPTED_DEVICE_HPP
#define BLKOWN_TESTS_EXAMPLES_URING_COPY_SCRIPTED_DEVICE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <expected>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "uring_copy/device.hpp"

namespace uring_copy {

struct Issued {
  Command command;
  std::uint64_t cookie = 0;
};

class ScriptedDevice : public Device {
 public:
  explicit ScriptedDevice(std::size_t size_bytes, std::uint64_t seed = 1) : random_{seed} {
    source.resize(size_bytes);
    for (std::byte& byte : source) byte = static_cast<std::byte>(random_());
  }

  std::vector<std::byte> source;
  std::vector<std::byte> destination;

  // The script. By default every command is accepted, and each reap completes one command in
  // flight, at random and in full.
  std::function<std::expected<void, int>(const Issued&)> on_issue;
  std::function<std::expected<void, int>()> on_submit;
  std::function<void(std::uint64_t)> on_cancel;
  std::function<void()> on_reap;

  // The commands and cancels so far.
  std::vector<Issued> issued;
  std::vector<std::uint64_t> cancels;

  /// Accepted commands without a completion.
  std::deque<Issued> in_flight;

  std::expected<void, int> issue(const Command& command, std::uint64_t cookie) override {
    const Issued now{command, cookie};
    if (on_issue) {
      if (const auto taken = on_issue(now); !taken) return taken;
    }
    issued.push_back(now);
    in_flight.push_back(now);
    return {};
  }
  std::expected<void, int> cancel(std::uint64_t cookie) override {
    cancels.push_back(cookie);
    if (on_cancel) on_cancel(cookie);
    return {};
  }
  std::expected<void, int> submit() override {
    return on_submit ? on_submit() : std::expected<void, int>{};
  }
  std::expected<std::span<const Completion>, int> reap() override {
    if (on_reap) {
      on_reap();
    } else if (!in_flight.empty()) {
      complete(take_any());
    }
    reaped_.swap(completions_);
    completions_.clear();
    return reaped_;
  }
  std::size_t outstanding() const noexcept override {
    return in_flight.size() + completions_.size();
  }

  /// Removes a random command from those in flight.
  Issued take_any() {
    const std::size_t index = random_() % in_flight.size();
    const Issued taken = in_flight[index];
    in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(index));
    return taken;
  }
  Issued take_oldest() {
    const Issued taken = in_flight.front();
    in_flight.pop_front();
    return taken;
  }

  /// Moves at most max_bytes bytes of the command, and makes its completion.
  void complete(const Issued& issued_before, std::size_t max_bytes = SIZE_MAX) {
    say(Entry::io, issued_before.cookie, move(issued_before.command, max_bytes));
  }

  /// Puts any entry into the completion queue.
  void say(Entry entry, std::uint64_t cookie, int result) {
    completions_.push_back({id_of(entry, cookie), result});
  }

  /// Moves bytes between memory and the source or the destination. Returns the number of moved
  /// bytes.
  int move(const Command& command, std::size_t max_bytes = SIZE_MAX) {
    const blkown::Segment memory = memory_at(command.memory);
    std::size_t bytes = std::min(memory.length_bytes, max_bytes);
    if (bytes == 0) return 0;
    if (command.operation == Operation::read) {
      if (command.offset_bytes >= source.size()) return 0;
      bytes = std::min(bytes, source.size() - command.offset_bytes);
      std::memcpy(memory.data, source.data() + command.offset_bytes, bytes);
    } else {
      destination.resize(std::max(destination.size(), command.offset_bytes + bytes));
      std::memcpy(destination.data() + command.offset_bytes, memory.data, bytes);
    }
    return static_cast<int>(bytes);
  }

  std::uint64_t random() { return random_(); }

 private:
  std::mt19937_64 random_;
  std::vector<Completion> completions_;
  std::vector<Completion> reaped_;
};

}  // namespace uring_copy

#endif
