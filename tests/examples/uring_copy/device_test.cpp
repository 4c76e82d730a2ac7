// SPDX-License-Identifier: BSL-1.0
//
// Tests of uring_copy's devices, with the kernel's own results for a command that waits too long.
// Method: the source is a pipe, so a read waits until the test writes to the pipe. On a machine
// without io_uring the tests check the device's error instead.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "uring_copy/copier.hpp"
#include "uring_copy/source.hpp"
#include "uring_copy/thread_device.hpp"
#include "uring_copy/uring_device.hpp"

namespace uring_copy {
namespace {

constexpr std::uint32_t block_bytes = 1'000;

/// The memory as a segment of a mapping.
[[nodiscard]] blkown::dma::IovaSegment mapped(const blkown::Segment& memory) {
  return {reinterpret_cast<std::uintptr_t>(memory.data), memory.length_bytes};
}

/// An io_uring between a pipe and a temporary file. After 20 seconds the pipe gets bytes: a command
/// that should have been cancelled then ends, and its test fails, before its time is over.
class PipeRing {
 public:
  explicit PipeRing(std::uint32_t depth) : PipeRing{make_pipe(), depth} {}
  PipeRing(const PipeRing&) = delete;
  PipeRing& operator=(const PipeRing&) = delete;
  ~PipeRing() { over_.set_value(); }

  /// The device. Without io_uring, checks the error and returns null.
  UringDevice* device() const {
    if (device_) return device_->get();
    EXPECT_EQ(device_.error().exit_status, exit_unavailable);
    EXPECT_NE(device_.error().text.find("io_uring is not available"), std::string::npos);
    return nullptr;
  }
  const Buffers& buffers() const { return buffers_; }

  void feed(const std::string& bytes) const {
    EXPECT_EQ(write(writer_.fd(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  std::string copied() const {
    std::string text(1 << 20, '\0');
    const ssize_t got = pread(fileno(destination_.get()), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }

  /// A command that reads the pipe into the first buffer.
  Command read(std::uint32_t timeout_ms) const {
    return {Operation::read, 0, mapped(buffers_.block(0)), 0, timeout_ms};
  }

  /// Waits for `count` completions. Returns the results by id.
  std::map<std::uint64_t, int> results(std::size_t count) const {
    std::map<std::uint64_t, int> found;
    EXPECT_EQ(device()->outstanding(), count);
    for (int rounds = 0; device()->outstanding() != 0 && rounds != 300; ++rounds) {
      EXPECT_TRUE(device()->submit().has_value());
      const auto reaped = device()->reap();
      if (!reaped.has_value()) break;
      for (const Completion& completion : *reaped) found[completion.value] = completion.result;
    }
    EXPECT_EQ(found.size(), count);
    return found;
  }

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  PipeRing(std::array<int, 2> ends, std::uint32_t depth)
      : reader_{ends[0]},
        writer_{ends[1]},
        destination_{std::tmpfile()},
        buffers_{*Buffers::create(depth, block_bytes)},
        device_{UringDevice::create(reader_.fd(), fileno(destination_.get()), buffers_)} {}

  static std::array<int, 2> make_pipe() {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) std::abort();
    return ends;
  }

  File reader_;
  File writer_;
  std::unique_ptr<std::FILE, CloseFile> destination_;
  Buffers buffers_;
  std::expected<std::unique_ptr<UringDevice>, Problem> device_;
  std::promise<void> over_;
  // More than a test copies, and less than a pipe holds.
  std::future<void> late_bytes_ = std::async(std::launch::async, [this, over = over_.get_future()] {
    if (over.wait_for(std::chrono::seconds{20}) == std::future_status::ready) return;
    feed(std::string(50'000, '-'));
  });
};

TEST(UringCopyDevice, ATimeLimitCancelsAReadThatWaits) {
  const PipeRing ring{1};
  if (ring.device() == nullptr) return;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(ring.device()->issue(ring.read(20), 5).has_value());
  const auto results = ring.results(2);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds{20});
  EXPECT_EQ(results.at(id_of(Entry::io, 5)), -ECANCELED);
  EXPECT_EQ(results.at(id_of(Entry::link_timeout, 5)), -ETIME);
}

TEST(UringCopyDevice, ATimeLimitThatDoesNotPassEndsWithItsRead) {
  const PipeRing ring{1};
  if (ring.device() == nullptr) return;
  ring.feed("abc");
  EXPECT_TRUE(ring.device()->issue(ring.read(3'600'000), 5).has_value());
  const auto results = ring.results(2);
  EXPECT_EQ(results.at(id_of(Entry::io, 5)), 3);
  EXPECT_EQ(results.at(id_of(Entry::link_timeout, 5)), -ECANCELED);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(ring.buffers().block(0).data), 3), "abc");
}

TEST(UringCopyDevice, ACancelEndsOnlyTheReadWithItsId) {
  const PipeRing ring{2};
  if (ring.device() == nullptr) return;
  EXPECT_TRUE(ring.device()->issue(ring.read(0), 5).has_value());
  EXPECT_TRUE(ring.device()->submit().has_value());
  EXPECT_TRUE(ring.device()->cancel(6).has_value());
  EXPECT_TRUE(ring.device()->submit().has_value());
  EXPECT_TRUE(ring.device()->cancel(5).has_value());
  const auto results = ring.results(3);
  EXPECT_EQ(results.at(id_of(Entry::cancel, 6)), -ENOENT);
  EXPECT_EQ(results.at(id_of(Entry::cancel, 5)), 0);
  EXPECT_EQ(results.at(id_of(Entry::io, 5)), -ECANCELED);
}

TEST(UringCopyDevice, AFullRingIsSubmittedBeforeTheNextCommand) {
  const PipeRing ring{2};  // four entries, for three chains of two
  if (ring.device() == nullptr) return;
  for (std::uint64_t cookie = 1; cookie != 4; ++cookie) {
    EXPECT_TRUE(ring.device()->issue(ring.read(20), cookie).has_value());
  }
  const auto results = ring.results(6);
  for (std::uint64_t cookie = 1; cookie != 4; ++cookie) {
    EXPECT_EQ(results.at(id_of(Entry::io, cookie)), -ECANCELED);
    EXPECT_EQ(results.at(id_of(Entry::link_timeout, cookie)), -ETIME);
  }
}

TEST(UringCopyDevice, ASourceSlowerThanItsTimeLimitIsCopiedByRetries) {
  const PipeRing ring{1};
  if (ring.device() == nullptr) return;
  std::string text;
  for (int i = 0; i != 1'150; ++i) text += static_cast<char>('a' + i % 26);

  Ledger ledger;
  auto requests = make_requests(ring.buffers(), ledger);
  Copier copier{*ring.device(), ring.buffers().device(), *requests, ledger, text.size(), 20};
  // Each piece comes after a time limit. A block has more of them than a read has tries.
  constexpr std::size_t piece_bytes = 90;
  std::size_t fed_bytes = 0;
  const auto failure = copier.run([&] {
    const std::size_t pieces = copier.counters().cancelled;
    for (; fed_bytes < std::min(pieces * piece_bytes, text.size()); fed_bytes += piece_bytes) {
      ring.feed(text.substr(fed_bytes, piece_bytes));
    }
    return true;
  });
  EXPECT_FALSE(failure.has_value());
  EXPECT_EQ(ring.copied(), text);
  EXPECT_GT(copier.counters().cancelled, std::uint64_t{Copier::max_attempts});
  EXPECT_GE(copier.counters().short_transfers, 1U);
}

TEST(UringCopyDevice, ASourceThatNeverAnswersEndsTheCopy) {
  const PipeRing ring{4};
  if (ring.device() == nullptr) return;
  Ledger ledger;
  auto requests = make_requests(ring.buffers(), ledger);
  Copier copier{*ring.device(), ring.buffers().device(), *requests, ledger, 40'000, 1};
  const auto failure = copier.run([] { return true; });
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::cancelled);
  EXPECT_EQ(requests->in_flight(), 0U);
  EXPECT_EQ(ring.device()->outstanding(), 0U);
}

TEST(UringCopyDevice, AnInterruptedCopyCancelsWaitingCommands) {
  const PipeRing ring{4};
  if (ring.device() == nullptr) return;
  Ledger ledger;
  auto requests = make_requests(ring.buffers(), ledger);
  Copier copier{*ring.device(), ring.buffers().device(), *requests, ledger, 40'000, 0};
  const auto failure = copier.run([] { return false; });
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::interrupted);
  EXPECT_EQ(requests->in_flight(), 0U);
  EXPECT_EQ(ring.device()->outstanding(), 0U);
}

TEST(UringCopyDevice, ThreadDeviceCancelsACommandThatNoWorkerHasStarted) {
  ThreadDevice device{-1, -1};  // without workers no command is started
  std::array<std::byte, 16> bytes{};
  const Command command{Operation::read, 0, mapped({bytes.data(), bytes.size()}), 0, 0};
  EXPECT_TRUE(device.issue(command, 1).has_value());
  EXPECT_TRUE(device.cancel(1).has_value());
  EXPECT_TRUE(device.cancel(1).has_value());
  EXPECT_EQ(device.outstanding(), 3U);
  const auto reaped = device.reap();
  ASSERT_TRUE(reaped.has_value());
  ASSERT_EQ(reaped->size(), 3U);
  EXPECT_EQ((*reaped)[0].value, id_of(Entry::io, 1));
  EXPECT_EQ((*reaped)[0].result, -ECANCELED);
  EXPECT_EQ((*reaped)[1].value, id_of(Entry::cancel, 1));
  EXPECT_EQ((*reaped)[1].result, 0);
  EXPECT_EQ((*reaped)[2].result, -EALREADY);
  EXPECT_EQ(device.outstanding(), 0U);
}

TEST(UringCopyDevice, ThreadDeviceReportsTheErrorOfTheSystemCall) {
  ThreadDevice device{-1, -1};
  EXPECT_TRUE(device.start(1).has_value());
  std::array<std::byte, 16> bytes{};
  EXPECT_TRUE(device.issue({Operation::write, 0, mapped({bytes.data(), bytes.size()}), 0, 0}, 1)
                  .has_value());
  std::expected<std::span<const Completion>, int> reaped;
  do {
    reaped = device.reap();
  } while (reaped->empty());
  ASSERT_EQ(reaped->size(), 1U);
  EXPECT_EQ(reaped->front().result, -EBADF);
}

}  // namespace
}  // namespace uring_copy
