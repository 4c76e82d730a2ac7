// SPDX-License-Identifier: BSL-1.0
//
// The admin queue of examples/nvme against a controller of a few lines that a test scripts.

#include <gtest/gtest.h>
#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "examples/nvme/scripted_controller.hpp"
#include "nvme/admin_queue.hpp"
#include "support/identity_backend.hpp"

namespace {

using nvme_driver::AdminResult;
using nvme_driver::StatusCode;
using nvme_driver::SubmissionEntry;
using nvme_test::ScriptedController;
using Admin = nvme_driver::AdminQueue<ScriptedController, std::recursive_mutex>;

/// A clock that moves a millisecond in each pause. A pause also does what the test wants.
struct AdminPlatform {
  [[nodiscard]] std::uint64_t now_ns() const noexcept { return ms * 1'000'000; }
  void pause() {
    ++ms;
    if (on_pause) on_pause();
  }
  [[nodiscard]] static bool cut_off() noexcept { return false; }

  std::uint64_t ms = 0;
  std::function<void()> on_pause;
};
static_assert(nvme_driver::Platform<AdminPlatform>);

class NvmeAdminQueue : public testing::Test {
 public:
  ~NvmeAdminQueue() override { admin.abandon(stopped()); }

  [[nodiscard]] blkown::dma::EndProof stopped() { return device.declare_stopped(); }

  /// Starts a command whose end is noted in `ends`.
  bool start() {
    return admin.start(SubmissionEntry::flush(0),
                       {[](void* self, const AdminResult& result) {
                          static_cast<NvmeAdminQueue*>(self)->ends.push_back(result);
                        },
                        this});
  }
  /// The controller completes its next command.
  void serve(std::uint16_t status = 0) {
    const auto entry = controller.fetch();
    ASSERT_TRUE(entry.has_value());
    last_id = entry->command_id;
    controller.post(last_id, status);
  }

  support::IdentityBackend backend;
  blkown::dma::Device<support::IdentityBackend> device{backend};
  ScriptedController controller{0, Admin::entries};
  AdminPlatform platform;
  Admin admin{controller, controller.config(), *Admin::create_tags()};
  std::vector<AdminResult> ends;
  std::uint16_t last_id = 0;
};

TEST_F(NvmeAdminQueue, ExecuteTakesItsCompletionItself) {
  platform.on_pause = [&] {
    if (platform.ms == 3) serve(static_cast<std::uint16_t>(StatusCode::invalid_field));
  };
  const auto result = admin.execute(platform, SubmissionEntry::flush(0), 100);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->status.code(), StatusCode::invalid_field);
  EXPECT_EQ(platform.ms, 3U);
}

TEST_F(NvmeAdminQueue, ACommandWithoutACompletionStaysInFlightWithItsTag) {
  EXPECT_FALSE(admin.execute(platform, SubmissionEntry::flush(0), 10).has_value());
  EXPECT_EQ(platform.ms, 11U);
  // All other tags are free, and that one is not.
  for (std::uint32_t i = 1; i != Admin::depth; ++i) EXPECT_TRUE(start());
  EXPECT_FALSE(start());
  // The late completion finds no waiter, and frees the tag.
  EXPECT_FALSE(admin.has_completion());
  serve();
  EXPECT_TRUE(admin.has_completion());
  admin.poll();
  EXPECT_FALSE(admin.has_completion());
  EXPECT_TRUE(ends.empty());
  EXPECT_EQ(admin.refused_count(), 0U);
  EXPECT_TRUE(start());
}

TEST_F(NvmeAdminQueue, AbandonEndsEveryCommandOnceAndEmptiesTheRingsUntilTheyAreOpenAgain) {
  ASSERT_TRUE(start() && start());
  serve();
  admin.abandon(stopped());
  ASSERT_EQ(ends.size(), 2U);
  for (const AdminResult& end : ends) {
    EXPECT_EQ(end.status.code(), StatusCode::aborted_by_host);
  }
  controller.restart();
  admin.poll();
  EXPECT_FALSE(start());
  EXPECT_TRUE(controller.submission_doorbells.empty());
  admin.open();
  ASSERT_TRUE(start());
  EXPECT_EQ(controller.submission_doorbells, (std::vector<std::uint32_t>{1}));
  serve();
  admin.poll();
  EXPECT_EQ(ends.size(), 3U);
  EXPECT_TRUE(ends.back().status.is_success());
}

TEST_F(NvmeAdminQueue, ACallbackCanUseTheTagOfItsCommand) {
  for (std::uint32_t i = 1; i != Admin::depth; ++i) ASSERT_TRUE(start());
  struct Again {
    NvmeAdminQueue& test;
    bool is_started = false;
  } again{*this};
  ASSERT_TRUE(admin.start(SubmissionEntry::flush(0), {[](void* self, const AdminResult&) {
                                                        Again& own = *static_cast<Again*>(self);
                                                        own.is_started = own.test.start();
                                                      },
                                                      &again}));
  for (std::uint32_t i = 0; i != Admin::depth; ++i) serve();
  // The last command's completion first: the other tags are still taken.
  EXPECT_FALSE(start());
  admin.poll();
  EXPECT_TRUE(again.is_started);
  EXPECT_EQ(ends.size(), Admin::depth - 1);
}

TEST_F(NvmeAdminQueue, AnInterruptWithinTheDoorbellEndsTheCommandAndMayStartTheNext) {
  controller.on_doorbell = [&] {
    if (controller.submission_doorbells.size() > 3) return;
    serve();
    admin.poll();
  };
  struct Chain {
    NvmeAdminQueue& test;
    int links = 0;
    static void next(void* self, const AdminResult&) {
      Chain& own = *static_cast<Chain*>(self);
      if (++own.links < 3) own.test.admin.start(SubmissionEntry::flush(0), {&next, self});
    }
  } chain{*this};
  ASSERT_TRUE(admin.start(SubmissionEntry::flush(0), {&Chain::next, &chain}));
  EXPECT_EQ(chain.links, 3);
}

TEST_F(NvmeAdminQueue, ARepeatedCompletionIsRefusedAndCounted) {
  ASSERT_TRUE(start());
  serve();
  controller.post(last_id);
  admin.poll();
  EXPECT_EQ(ends.size(), 1U);
  EXPECT_EQ(admin.refused_count(), 1U);
}

}  // namespace
