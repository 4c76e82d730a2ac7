// SPDX-License-Identifier: BSL-1.0
//
// The driver of examples/nvme on threads: two contexts submit, a third one runs the controller, and
// the test's own thread resets it.

#include <gtest/gtest.h>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "examples/nvme_machine.hpp"
#include "examples/nvme_verifier.hpp"

namespace {

using nvme_test::Verifier;
using Threads = nvme_test::MachineOn<blkown::mq::ThreadRuntime>;

/// Two verifiers on each disk, with 16 ranges of 4 KiB to 64 KiB each.
[[nodiscard]] std::vector<std::unique_ptr<Verifier>> begin(Threads& machine) {
  std::vector<std::unique_ptr<Verifier>> verifiers;
  for (std::uint32_t lane = 0; lane != 8; ++lane) {
    std::vector<Verifier::Range> ranges;
    for (std::size_t i = 0; i != 16; ++i) {
      ranges.push_back({lane * 512, std::size_t{4096} << (i % 5), 4 * i});
    }
    verifiers.push_back(std::make_unique<Verifier>(
        machine.disk(lane % 2), machine.runtime.context(lane / 2 % Threads::submitters), ranges));
  }
  return verifiers;
}

TEST(NvmeDriverOnThreads, IoIsVerifiedOnSeveralQueues) {
  Threads machine;
  ASSERT_TRUE(machine.start());
  const auto verifiers = begin(machine);
  for (const auto& verifier : verifiers) {
    ASSERT_TRUE(machine.runtime.wait_for(verifier->done()));
    EXPECT_TRUE(verifier->failures().empty());
  }
  EXPECT_NE(machine.registers.submission_doorbells(1), 0U);
  EXPECT_NE(machine.registers.submission_doorbells(2), 0U);
  EXPECT_TRUE(machine.shut_down());
}

TEST(NvmeDriverOnThreads, ResetsUnderIoLoseNothing) {
  nvme_test::MachineConfig config;
  config.driver.max_tries = 1'000;
  Threads machine{config};
  ASSERT_TRUE(machine.start());
  const auto verifiers = begin(machine);
  for (const auto& verifier : verifiers) {
    while (!verifier->done().is_set()) {
      machine.driver->reset();
      while (machine.driver->is_resetting()) std::this_thread::yield();
    }
    EXPECT_TRUE(verifier->failures().empty());
  }
  EXPECT_NE(machine.driver->resets(), 0U);
  EXPECT_FALSE(machine.driver->is_offline());
  EXPECT_TRUE(machine.shut_down());
}

}  // namespace
