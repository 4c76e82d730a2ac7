// SPDX-License-Identifier: BSL-1.0
//
// Verifier: writes and reads back, and compares.

#ifndef BLKOWN_TESTS_EXAMPLES_NVME_VERIFIER_HPP
#define BLKOWN_TESTS_EXAMPLES_NVME_VERIFIER_HPP

#include <gtest/gtest.h>
#include <algorithm>
#include <blkown/mq/mq.hpp>
#include <blkown/sim/device/random.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "examples/nvme/machine.hpp"

namespace nvme_test {

[[nodiscard]] inline std::vector<std::byte> pattern(std::size_t length_bytes, std::uint64_t seed) {
  std::vector<std::byte> bytes(length_bytes);
  sim::Random random{seed};
  std::uint64_t word = 0;
  for (std::size_t i = 0; i != bytes.size(); ++i, word >>= 8) {
    if (i % 8 == 0) word = random.next();
    bytes[i] = static_cast<std::byte>(word);
  }
  return bytes;
}

/// Writes and reads back ranges of a disk on one context, one after the other.
class Verifier : public mq::Work {
 public:
  using Disk = Machine::Disk;

  struct Range {
    std::uint64_t sector = 0;
    std::size_t length_bytes = 0;
    std::size_t memory_offset = 0;  // within the first page; a multiple of 4
  };

  Verifier(Disk& disk, mq::Context& context, std::vector<Range> ranges)
      : Work{[](void* self, mq::Work&) { static_cast<Verifier*>(self)->next(); }, this},
        disk_{disk},
        context_{context},
        ranges_{std::move(ranges)} {
    context.post(*this);
  }

  [[nodiscard]] bool is_done() const noexcept { return at_ == ranges_.size(); }
  /// Set after the last range, or after the first failure.
  [[nodiscard]] mq::Event& done() noexcept { return done_; }
  [[nodiscard]] const std::vector<Status>& failures() const noexcept { return failures_; }

 private:
  void next() {
    if (is_done()) return done_.set();
    const Range& range = ranges_[at_];
    expected_ = pattern(range.length_bytes, range.sector);
    memory_.assign(range.length_bytes + range.memory_offset + 4096, std::byte{0});
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    const std::size_t to_page = (4096 - address % 4096) % 4096;
    place_ = {memory_.data() + (to_page + range.memory_offset) % 4096, range.length_bytes};
    std::ranges::copy(expected_, place_.begin());
    bio_.set_write(range.sector, segment(), {&on_write, this});
    disk_.submit(context_, bio_);
  }
  [[nodiscard]] blkown::Segment segment() const { return {place_.data(), place_.size()}; }
  static void on_write(void* self, mq::Bio& bio) {
    Verifier& own = *static_cast<Verifier*>(self);
    if (bio.status() != Status::ok) return own.fail(bio.status());
    std::ranges::fill(own.place_, std::byte{0xEE});
    bio.set_read(own.ranges_[own.at_].sector, own.segment(), {&on_read, self});
    own.disk_.submit(own.context_, bio);
  }
  static void on_read(void* self, mq::Bio& bio) {
    Verifier& own = *static_cast<Verifier*>(self);
    if (bio.status() != Status::ok) return own.fail(bio.status());
    EXPECT_TRUE(std::ranges::equal(own.place_, own.expected_)) << "range " << own.at_;
    ++own.at_;
    own.next();
  }
  void fail(Status status) {
    failures_.push_back(status);
    at_ = ranges_.size();
    done_.set();
  }

  Disk& disk_;
  mq::Context& context_;
  std::vector<Range> ranges_;
  std::size_t at_ = 0;
  std::vector<std::byte> memory_;
  std::vector<std::byte> expected_;
  std::span<std::byte> place_;
  mq::Bio bio_;
  std::vector<Status> failures_;
  mq::Event done_;
};

}  // namespace nvme_test

#endif
