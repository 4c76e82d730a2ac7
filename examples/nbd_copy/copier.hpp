// SPDX-License-Identifier: BSL-1.0
//
// Copier: copies one side to the other, or compares both, in coroutines. Each coroutine takes the
// next chunk, reads it, and writes or compares it, until none is left or one has failed.

#ifndef EXAMPLES_NBD_COPY_COPIER_HPP
#define EXAMPLES_NBD_COPY_COPIER_HPP

#include <algorithm>
#include <blkown/mq/coroutine.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../nbd_client/poll_loop.hpp"
#include "side.hpp"

namespace nbd_copy {

/// What the user chooses.
struct CopyConfig {
  std::size_t chunk_bytes = 256 * 1024;
  std::uint32_t requests = 16;  ///< Chunks at a time on each connection.
  bool keeps_zeroes_short = true;
  bool shows_progress = false;
};

class Copier {
 public:
  Copier(Side& from, Side& to, nbd_client::PollLoop& loop, const CopyConfig& config)
      : from_{from}, to_{to}, loop_{loop}, config_{config} {}

  /// Copies all bytes of the source. The result is a message, or none.
  Problem copy() { return run("copy", &Copier::copy_chunks); }
  /// Compares all bytes of the source.
  Problem compare() { return run("check", &Copier::compare_chunks); }
  [[nodiscard]] std::uint64_t zero_bytes() const noexcept { return zero_bytes_; }

 private:
  using Task = mq::Task<Status>;
  using Buffer = std::unique_ptr<std::byte[]>;
  struct Chunk {
    std::uint64_t offset = 0;
    std::size_t length_bytes = 0;

    [[nodiscard]] std::uint64_t sector() const noexcept { return offset / mq::sector_bytes; }
  };

  /// The tasks that have not ended.
  struct Join {
    std::size_t left;
    mq::Event done;

    static void on_end(void* join, Task&) {
      auto& self = *static_cast<Join*>(join);
      if (--self.left == 0) self.done.set();
    }
  };

  Problem run(const char* what, Task (Copier::*work)()) {
    what_ = what;
    next_ = done_ = 0;
    problem_.reset();
    std::vector<Task> tasks;
    const std::size_t count = std::size_t{loop_.context_count()} * config_.requests;
    for (std::size_t i = 0; i != count; ++i) tasks.push_back((this->*work)());
    Join join{.left = count, .done = {}};
    for (std::size_t i = 0; i != count; ++i) {
      mq::Context& context = loop_.context(static_cast<std::uint32_t>(i % loop_.context_count()));
      tasks[i].post(context, {&Join::on_end, &join});
    }
    static_cast<void>(loop_.wait_for(join.done));
    show_progress(true);
    return problem_;
  }

  /// The next chunk. None is left if its length is 0.
  [[nodiscard]] Chunk take() noexcept {
    if (problem_) return {};
    const std::uint64_t left_bytes = from_.size_bytes() - next_;
    const Chunk chunk{
        next_, static_cast<std::size_t>(std::min<std::uint64_t>(left_bytes, config_.chunk_bytes))};
    next_ += chunk.length_bytes;
    return chunk;
  }
  void note(const Side& side, const char* action, const Chunk& chunk, Status status) {
    done_ += chunk.length_bytes;
    if (status != Status::ok && !problem_) {
      problem_ = side.name() + ": " + action + " at " + std::to_string(chunk.offset) + ": " +
                 to_string(status);
    }
    show_progress(false);
  }

  Task copy_chunks() {
    const auto buffer = std::make_unique<std::byte[]>(config_.chunk_bytes);
    for (Chunk chunk = take(); chunk.length_bytes != 0; chunk = take()) {
      const std::span memory{buffer.get(), chunk.length_bytes};
      Status status = from_.is_file() ? from_.read_file(chunk.offset, memory)
                                      : co_await from_.disk().read(chunk.sector(), memory);
      if (status != Status::ok) {
        note(from_, "read", chunk, status);
        co_return status;
      }
      if (config_.keeps_zeroes_short && to_.can_zero() && is_zero(memory)) {
        zero_bytes_ += memory.size();
        // A new file reads as zeroes where it was not written.
        if (!to_.is_file()) {
          status = co_await to_.disk().write_zeroes(chunk.sector(), chunk.length_bytes);
        }
      } else if (to_.is_file()) {
        status = to_.write_file(chunk.offset, memory);
      } else {
        status = co_await to_.disk().write(chunk.sector(), memory);
      }
      note(to_, "write", chunk, status);
    }
    co_return Status::ok;
  }

  Task compare_chunks() {
    const auto buffer = std::make_unique<std::byte[]>(2 * config_.chunk_bytes);
    for (Chunk chunk = take(); chunk.length_bytes != 0; chunk = take()) {
      const std::span expected{buffer.get(), chunk.length_bytes};
      const std::span found{buffer.get() + config_.chunk_bytes, chunk.length_bytes};
      Status status = from_.is_file() ? from_.read_file(chunk.offset, expected)
                                      : co_await from_.disk().read(chunk.sector(), expected);
      if (status == Status::ok) {
        status = to_.is_file() ? to_.read_file(chunk.offset, found)
                               : co_await to_.disk().read(chunk.sector(), found);
      }
      if (status == Status::ok && !std::ranges::equal(expected, found)) {
        status = Status::protection_error;
      }
      note(to_, "compare", chunk, status);
    }
    co_return Status::ok;
  }

  [[nodiscard]] static bool is_zero(std::span<const std::byte> memory) noexcept {
    return memory[0] == std::byte{0} &&
           std::memcmp(memory.data(), memory.data() + 1, memory.size() - 1) == 0;
  }

  void show_progress(bool is_end) {
    if (!config_.shows_progress) return;
    const std::uint64_t now_ns = loop_.now_ns();
    constexpr std::uint64_t pause_ns = 200'000'000;
    if (!is_end && now_ns - shown_ns_ < pause_ns) return;
    shown_ns_ = now_ns;
    const double part = from_.size_bytes() == 0
                            ? 1.0
                            : static_cast<double>(done_) / static_cast<double>(from_.size_bytes());
    std::fprintf(stderr, "\r%s: %5.1f %%%s", what_, part * 100, is_end ? "\n" : "");
  }

  Side& from_;
  Side& to_;
  nbd_client::PollLoop& loop_;
  CopyConfig config_;
  const char* what_ = "";
  std::uint64_t next_ = 0;  // the offset of the next chunk
  std::uint64_t done_ = 0;
  std::uint64_t zero_bytes_ = 0;
  std::uint64_t shown_ns_ = 0;
  Problem problem_;
};

}  // namespace nbd_copy

#endif
