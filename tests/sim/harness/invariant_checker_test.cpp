// SPDX-License-Identifier: BSL-1.0
//
// Each finding of InvariantChecker, from the smallest state that breaks the invariant.

#include <gtest/gtest.h>

#include <array>
#include <blkown/dma/dma.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "support/driver.hpp"
#include "support/word_text.hpp"

namespace {

namespace dma = blkown::dma;
using blkown::Cookie;
using blkown::Generation;
using blkown::Tag;
using blkown::sim::History;
using blkown::sim::InvariantChecker;
using blkown::sim::Iommu;
using support::Claim;
using support::Driver;

class InvariantCheckerTest : public testing::Test {
 protected:
  /// The finding, or an empty text. The next event, in which nothing changes, must have the same.
  /// A generation that went back is a finding of one event.
  [[nodiscard]] std::string found() {
    const bool is_well = check_.after_event();
    const std::string what = is_well ? "" : check_.finding().what;
    EXPECT_EQ(check_.after_event(), is_well || what.ends_with("went back"));
    return what;
  }
  /// The finding, which must concern the request with this tag on queue 1.
  [[nodiscard]] std::string found_of(std::uint32_t tag) {
    const std::string what = found();
    EXPECT_TRUE(check_.finding().has_request);
    EXPECT_EQ(check_.finding().queue, blkown::QueueIndex{1});
    EXPECT_EQ(check_.finding().tag, Tag{tag});
    return what;
  }
  /// Lets the events pass for which tag 3 may keep memory that could not be unmapped.
  void expect_kept_memory_is_found() {
    for (std::uint64_t i = 0; i <= InvariantChecker<support::Request>::max_events_kept; ++i) {
      ASSERT_EQ(found(), "") << i;
      history_.begin_event("controller", 2'000);
    }
    EXPECT_EQ(
        found_of(3),
        "memory that could not be unmapped stays mapped: the driver does not stop the device");
  }
  [[nodiscard]] dma::ActiveMapping map(Claim& claim) {
    const blkown::Segment segments[] = {{memory_.data(), memory_.size()}};
    return dma::map(claim, device_, segments, dma::Direction::bidirectional, list_)
        .value()
        .activate();
  }
  [[nodiscard]] Iommu::Access access(bool is_forbidden) const {
    return {.device = 1, .cookie = 18, .is_for_command = true, .is_forbidden = is_forbidden};
  }

  /// Ends an I/O whose memory the IOMMU does not unmap, then or in a drain.
  void end_kept(std::uint32_t tag) {
    iommu_.set_unmap_hook({[](void*, const dma::IovaSegment&) { return false; }, nullptr});
    Claim claim = driver_.owned(tag, 1).into_claim();
    auto mapping = map(claim);
    Claim completed = driver_.claim(Driver<>::publish(std::move(claim)));
    EXPECT_EQ(std::move(mapping).unmap(*dma::EndProof::of(completed)).value(),
              dma::UnmapResult::quarantined);
    std::move(completed).end_ok();
  }
  /// Drains the device, which unmaps again.
  void drain() {
    iommu_.set_unmap_hook({});
    EXPECT_EQ(device_.drain(device_.declare_stopped()), 1U);
  }

  /// Sets a word to a state that no handle can produce, and restores the word at the end.
  class Forged {
   public:
    Forged(const blkown::RequestHeader& header, const std::string& state)
        : header_{header}, before_{support::state_at(header)} {
      support::preset_word(header, state);
    }
    Forged(const Forged&) = delete;
    Forged& operator=(const Forged&) = delete;
    ~Forged() { support::preset_word(header_, before_); }

   private:
    const blkown::RequestHeader& header_;
    std::string before_;
  };

  std::array<std::byte, 64> memory_{};
  Iommu iommu_{{.is_single_threaded = true}};
  dma::Device<Iommu> device_{iommu_};
  dma::IovaList<1> list_;
  Driver<> driver_;
  History history_;
  InvariantChecker<support::Request> check_{driver_.set, device_, iommu_, history_};
};

TEST_F(InvariantCheckerTest, FindsNothingInACorrectIo) {
  EXPECT_EQ(found(), "");
  auto idle = driver_.idle(3, 1);
  EXPECT_EQ(found(), "");
  auto owned = std::move(idle).start();
  EXPECT_EQ(found(), "");
  Claim claim = std::move(owned).into_claim();
  auto mapping = map(claim);
  EXPECT_EQ(found(), "");
  const Cookie cookie = Driver<>::publish(std::move(claim));
  EXPECT_EQ(found(), "");
  Claim completed = driver_.claim(cookie);
  EXPECT_EQ(found(), "");
  ASSERT_TRUE(std::move(mapping).unmap(*dma::EndProof::of(completed)).has_value());
  EXPECT_EQ(found(), "");
  std::move(completed).end_ok();
  EXPECT_EQ(found(), "");
}

TEST_F(InvariantCheckerTest, FindsAGenerationThatWentBack) {
  auto idle = driver_.idle(3, 1);
  EXPECT_EQ(found(), "");
  auto& word =
      blkown::detail::HeaderAccess::word(const_cast<blkown::RequestHeader&>(driver_.header(3, 1)));
  word.set_first_generation({support::generation_after(0, 3, 1).value - 1});
  EXPECT_EQ(found_of(3), "the generation of a request went back");
  std::move(idle).fail(blkown::Status::ok);
}

TEST_F(InvariantCheckerTest, AGenerationMayWrap) {
  blkown::TagSetConfig config = support::two_queues_of_eight;
  config.first_generation =
      blkown::detail::begin_for({~std::uint32_t{0}}, blkown::QueueIndex{1}, blkown::Tag{3});
  Driver<> driver{config};
  InvariantChecker<support::Request> check{driver.set, device_, iommu_, history_};
  auto owned = driver.owned(3, 1);
  EXPECT_TRUE(check.after_event());
  const Cookie cookie = Driver<>::publish(std::move(owned));
  EXPECT_EQ(cookie.generation.value, 0U);
  EXPECT_TRUE(check.after_event()) << check.finding().what;
  driver.complete(cookie);
}

TEST_F(InvariantCheckerTest, FindsAMappingOfAnIdleRequest) {
  Claim claim = driver_.owned(3, 1).into_claim();
  auto mapping = map(claim);
  {
    const Forged word{driver_.header(3, 1), "0"};
    EXPECT_EQ(found_of(3), "a free or idle request has a mapping");
  }
  ASSERT_TRUE(std::move(mapping).cancel(claim).has_value());
  std::move(claim).end_ok();
}

TEST_F(InvariantCheckerTest, FindsFlagsOfAnIdleRequest) {
  for (const char* state : {"0 claimed", "0 finished"}) {
    InvariantChecker<support::Request> check{driver_.set, device_, iommu_, history_};
    auto idle = driver_.idle(3, 1);
    {
      const Forged word{driver_.header(3, 1), state};
      EXPECT_FALSE(check.after_event());
      EXPECT_EQ(check.finding().what, "an idle request is claimed or finished");
    }
    std::move(idle).fail(blkown::Status::ok);
  }
}

TEST_F(InvariantCheckerTest, FindsAnOwnedRequestWithReferencesOrFlags) {
  for (const char* state : {"1 owned", "0 owned claimed", "0 owned finished"}) {
    InvariantChecker<support::Request> check{driver_.set, device_, iommu_, history_};
    auto owned = driver_.owned(3, 1);
    {
      const Forged word{driver_.header(3, 1), state};
      EXPECT_FALSE(check.after_event());
      EXPECT_EQ(check.finding().what, "an owned request has references or further flags") << state;
    }
    std::move(owned).end_ok();
  }
}

TEST_F(InvariantCheckerTest, FindsAMappingOfAnOwnedRequest) {
  Claim claim = driver_.owned(3, 1).into_claim();
  auto mapping = map(claim);
  {
    const Forged word{driver_.header(3, 1), "0 owned"};
    EXPECT_EQ(found_of(3), "an owned request has a mapping");
  }
  ASSERT_TRUE(std::move(mapping).cancel(claim).has_value());
  std::move(claim).end_ok();
}

TEST_F(InvariantCheckerTest, FindsARequestThatIsClaimedAndFinished) {
  Claim claim = driver_.claimed(3, 1);
  {
    const Forged word{driver_.header(3, 1), "2 claimed finished"};
    EXPECT_EQ(found_of(3), "a request is both claimed and finished");
  }
  std::move(claim).end_ok();
}

TEST_F(InvariantCheckerTest, FindsAnIoThatHasEndedWhileItIsMapped) {
  Claim claim = driver_.owned(3, 1).into_claim();
  auto mapping = map(claim);
  const Cookie cookie = Driver<>::publish(std::move(claim));
  Claim completed = driver_.claim(cookie);
  const auto proof = dma::EndProof::of(completed);
  std::move(completed).end_ok();
  EXPECT_EQ(found_of(3), "an I/O has ended while its memory is mapped");
  EXPECT_TRUE(std::move(mapping).unmap(*proof).has_value());
}

TEST_F(InvariantCheckerTest, MemoryThatCouldNotBeUnmappedOutlivesTheEndUntilAStop) {
  end_kept(3);
  EXPECT_TRUE(check_.after_event(6)) << check_.finding().what;
  drain();
  EXPECT_TRUE(check_.after_event(7)) << check_.finding().what;
}

TEST_F(InvariantCheckerTest, FindsMemoryThatIsGivenBackWithoutAStop) {
  EXPECT_TRUE(check_.after_event(7));
  end_kept(3);
  EXPECT_TRUE(check_.after_event(7));
  drain();
  EXPECT_FALSE(check_.after_event(7));
  EXPECT_EQ(check_.finding().what,
            "memory that could not be unmapped was given back, and the device was not stopped");
  EXPECT_EQ(check_.finding().tag, Tag{3});
}

// Goal: the stop after which the memory could not be unmapped does not count when the device runs
// again.
TEST_F(InvariantCheckerTest, FindsMemoryThatIsGivenBackWhenTheDeviceRunsAgain) {
  end_kept(3);
  EXPECT_TRUE(check_.after_event(6));
  EXPECT_TRUE(check_.after_event(7, true)) << "stopped, and still mapped";
  EXPECT_TRUE(check_.after_event(7));
  drain();
  EXPECT_FALSE(check_.after_event(7));
  EXPECT_EQ(check_.finding().what,
            "memory that could not be unmapped was given back, and the device was not stopped");
}

// Goal: a stopped device may be drained again, in a later event.
TEST_F(InvariantCheckerTest, MemoryIsGivenBackWhileTheDeviceIsStopped) {
  end_kept(3);
  EXPECT_TRUE(check_.after_event(7, true));
  EXPECT_TRUE(check_.after_event(7, true));
  drain();
  EXPECT_TRUE(check_.after_event(7, true)) << check_.finding().what;
}

TEST_F(InvariantCheckerTest, FindsADeviceThatIsNotStoppedForMemoryThatStaysMapped) {
  history_.begin_event("interrupt", 1'000);
  end_kept(3);
  for (std::uint64_t i = 0; i != InvariantChecker<support::Request>::max_events_kept; ++i) {
    ASSERT_EQ(found(), "") << i;
    history_.begin_event("controller", 2'000);
  }
  ASSERT_EQ(found(), "");
  history_.begin_event("controller", 3'000);
  EXPECT_EQ(found_of(3),
            "memory that could not be unmapped stays mapped: the driver does not stop the device");
  drain();
}

// Goal: a call of the IOMMU is noticed, although no word changes with it.
TEST_F(InvariantCheckerTest, FindsMemoryThatStaysMappedUnderAHeldClaim) {
  iommu_.set_unmap_hook({[](void*, const dma::IovaSegment&) { return false; }, nullptr});
  Claim claim = driver_.owned(3, 1).into_claim();
  auto mapping = map(claim);
  Claim completed = driver_.claim(Driver<>::publish(std::move(claim)));
  history_.begin_event("interrupt", 1'000);
  ASSERT_EQ(found(), "");
  EXPECT_EQ(std::move(mapping).unmap(*dma::EndProof::of(completed)).value(),
            dma::UnmapResult::quarantined);
  expect_kept_memory_is_found();
  drain();
  std::move(completed).end_ok();
}

TEST_F(InvariantCheckerTest, AnIommuOfSeveralThreadsIsLookedAtAfterEachEvent) {
  Iommu shared{{}};
  EXPECT_EQ(shared.mapping_calls(), std::nullopt);
  dma::Device<Iommu> device{shared};
  InvariantChecker<support::Request> check{driver_.set, device, shared, history_};
  shared.set_unmap_hook({[](void*, const dma::IovaSegment&) { return false; }, nullptr});
  Claim claim = driver_.owned(3, 1).into_claim();
  const blkown::Segment segments[] = {{memory_.data(), memory_.size()}};
  auto mapping =
      dma::map(claim, device, segments, dma::Direction::bidirectional, list_).value().activate();
  Claim completed = driver_.claim(Driver<>::publish(std::move(claim)));
  ASSERT_TRUE(check.after_event(7));
  EXPECT_EQ(std::move(mapping).unmap(*dma::EndProof::of(completed)).value(),
            dma::UnmapResult::quarantined);
  ASSERT_TRUE(check.after_event(7));
  shared.set_unmap_hook({});
  EXPECT_EQ(device.drain(device.declare_stopped()), 1U);
  EXPECT_FALSE(check.after_event(7)) << "the stop was not counted";
  EXPECT_EQ(check.finding().what,
            "memory that could not be unmapped was given back, and the device was not stopped");
  std::move(completed).end_ok();
}

// Goal: a map that fails half-way may leave memory mapped for a publication that is never made.
TEST_F(InvariantCheckerTest, AMapThatFailedHalfWayMayKeepItsMemory) {
  std::array<std::byte, 64> beyond{};
  Claim claim = driver_.owned(3, 1).into_claim();
  iommu_.set_unmap_hook({[](void*, const dma::IovaSegment&) { return false; }, nullptr});
  const blkown::Segment segments[] = {{memory_.data(), memory_.size()},
                                      {beyond.data(), beyond.size()}};
  const auto mapped = dma::map(claim, device_, segments, dma::Direction::to_device, list_);
  ASSERT_FALSE(mapped.has_value());
  EXPECT_EQ(mapped.error().reason, dma::MapFailure::unmap_failed);
  EXPECT_EQ(found(), "");
  std::move(claim).end(blkown::Status::invalid);
  EXPECT_EQ(found(), "");
  drain();
  EXPECT_TRUE(check_.after_event(1)) << check_.finding().what;
}

TEST_F(InvariantCheckerTest, FindsAReferenceWithoutAHandle) {
  const Cookie cookie = driver_.in_flight(3, 1);
  {
    const auto pin = driver_.pin(cookie);
    EXPECT_EQ(found_of(3),
              "the count is 2 and should be 1, one more than the handles and mappings that exist");
  }
  driver_.complete(cookie);
}

TEST_F(InvariantCheckerTest, FindsAReferenceThatIsMissing) {
  Claim claim = driver_.owned(3, 1).into_claim();
  auto mapping = map(claim);
  {
    const Forged word{driver_.header(3, 1), "2 claimed"};
    EXPECT_EQ(found_of(3),
              "the count is 2 and should be 3, one more than the handles and mappings that exist");
  }
  ASSERT_TRUE(std::move(mapping).cancel(claim).has_value());
  std::move(claim).end_ok();
}

TEST_F(InvariantCheckerTest, FindsAMappingOfAnEarlierPublication) {
  Claim claim = driver_.owned(3, 1).into_claim();
  auto mapping = map(claim);
  Claim completed = driver_.claim(Driver<>::publish(std::move(claim)));
  const auto proof = dma::EndProof::of(completed);
  EXPECT_EQ(found(), "");
  const Cookie again = Driver<>::publish(std::move(completed));
  EXPECT_EQ(found_of(3),
            "a request was published again with the mapping of an earlier publication");
  ASSERT_TRUE(std::move(mapping).unmap(*proof).has_value());
  driver_.complete(again);
}

// Goal: a renewal changes neither the word of the request nor that of the mapping, and the IOMMU is
// not called.
TEST_F(InvariantCheckerTest, ARenewedMappingIsOfTheNextPublication) {
  Claim claim = driver_.owned(3, 1).into_claim();
  auto mapping = map(claim);
  Claim completed = driver_.claim(Driver<>::publish(std::move(claim)));
  EXPECT_EQ(found(), "");
  ASSERT_TRUE(mapping.renew(*dma::EndProof::of(completed), completed));
  EXPECT_EQ(found(), "");
  const Cookie cookie = Driver<>::publish(std::move(completed));
  EXPECT_EQ(found(), "");
  Claim again = driver_.claim(cookie);
  ASSERT_TRUE(std::move(mapping).unmap(*dma::EndProof::of(again)).has_value());
  std::move(again).end_ok();
}

// Goal: a drain that fails changes why a mapping is kept, and not the mapping's word.
TEST_F(InvariantCheckerTest, FindsMemoryThatAFailedDrainKeeps) {
  Claim claim = driver_.owned(3, 1).into_claim();
  std::optional mapping{map(claim)};
  const Cookie cookie = Driver<>::publish(std::move(claim));
  mapping.reset();
  history_.begin_event("interrupt", 1'000);
  ASSERT_EQ(found(), "") << "dropped, and not kept by the IOMMU";
  iommu_.set_unmap_hook({[](void*, const dma::IovaSegment&) { return false; }, nullptr});
  EXPECT_EQ(device_.drain(device_.declare_stopped()), 0U);
  expect_kept_memory_is_found();
  drain();
  driver_.complete(cookie);
}

// Goal: a list that was destroyed is forgotten, with its mapping that the checker has seen.
TEST_F(InvariantCheckerTest, AListThatWasDestroyedHasNoMapping) {
  std::optional<dma::IovaList<1>> list{std::in_place};
  const blkown::Segment segments[] = {{memory_.data(), memory_.size()}};
  Claim claim = driver_.owned(3, 1).into_claim();
  auto mapping =
      dma::map(claim, device_, segments, dma::Direction::bidirectional, *list).value().activate();
  EXPECT_EQ(found(), "");
  ASSERT_TRUE(std::move(mapping).cancel(claim).has_value());
  list.reset();
  EXPECT_EQ(found(), "");
  std::move(claim).end_ok();
  EXPECT_EQ(found(), "");
}

// Goal: the pin of a mapping for another device is none of the device that is checked, although an
// earlier list at the same address was attached to this device.
TEST_F(InvariantCheckerTest, AListThatMapsForAnotherDeviceIsNoneOfThisOne) {
  dma::Device<Iommu> other{iommu_};
  std::optional<dma::IovaList<1>> list{std::in_place};
  const blkown::Segment segments[] = {{memory_.data(), memory_.size()}};
  const auto map_for = [&](dma::Device<Iommu>& device, Claim& claim) {
    return dma::map(claim, device, segments, dma::Direction::bidirectional, *list)
        .value()
        .activate();
  };
  Claim claim = driver_.owned(3, 1).into_claim();
  auto first = map_for(device_, claim);
  EXPECT_EQ(found(), "");
  ASSERT_TRUE(std::move(first).cancel(claim).has_value());
  EXPECT_EQ(found(), "");
  list.emplace();
  auto second = map_for(other, claim);
  EXPECT_EQ(found_of(3),
            "the count is 3 and should be 2, one more than the handles and mappings that exist");
  ASSERT_TRUE(std::move(second).cancel(claim).has_value());
  std::move(claim).end_ok();
}

// --- the device ----------------------------------------------------------------------------------

TEST_F(InvariantCheckerTest, FindsARefusedAccess) {
  std::byte byte{};
  EXPECT_FALSE(iommu_.read(0x3000, {&byte, 1}, access(true)));
  EXPECT_EQ(found(), "") << "the access was forbidden";
  EXPECT_FALSE(iommu_.write(0x3000, {&byte, 1}, access(false)));
  EXPECT_EQ(found(), "the IOMMU refused an access of a correct device: unmapped, from_device");
  EXPECT_EQ(check_.finding().cookie, 18U);
  EXPECT_FALSE(check_.finding().has_request);
}

TEST_F(InvariantCheckerTest, FindsARefusedAccessThatTheLogHasForgotten) {
  std::byte byte{};
  EXPECT_FALSE(iommu_.read(0x3000, {&byte, 1}, access(false)));
  for (int i = 0; i != 1000; ++i) EXPECT_FALSE(iommu_.read(0x3000, {&byte, 1}, access(true)));
  EXPECT_EQ(found(), "the IOMMU refused an access of a correct device");
}

TEST_F(InvariantCheckerTest, FindsAStopThatIsDeclaredOfARunningDevice) {
  bool is_stopped = true;
  iommu_.set_stop_hook({[](void* its) { return *static_cast<bool*>(its); }, &is_stopped});
  static_cast<void>(device_.declare_stopped());
  EXPECT_EQ(found(), "");
  is_stopped = false;
  static_cast<void>(device_.declare_stopped());
  EXPECT_EQ(found(), "the driver declared the device stopped while it was running");
}

TEST_F(InvariantCheckerTest, FindsAnUnmapOfUnmappedMemory) {
  iommu_.unmap({.iova = 0x20000, .length_bytes = 1});
  EXPECT_EQ(found(), "the driver unmapped memory that was not mapped");
}

TEST_F(InvariantCheckerTest, KeepsTheFirstFinding) {
  const Cookie first = driver_.in_flight(3, 1);
  const Cookie second = driver_.in_flight(5, 1);
  {
    const auto pin = driver_.pin(first);
    const auto other_pin = driver_.pin(second);
    EXPECT_EQ(found_of(3),
              "the count is 2 and should be 1, one more than the handles and mappings that exist");
  }
  iommu_.unmap({.iova = 0x20000, .length_bytes = 1});
  EXPECT_EQ(found(),
            "the count is 2 and should be 1, one more than the handles and mappings that exist");
  driver_.complete(first);
  driver_.complete(second);
}

// --- history -------------------------------------------------------------------------------------

// Goal: an allocation changes the bit of the tag alone.
TEST_F(InvariantCheckerTest, AnAllocationIsATransitionAlthoughTheWordStays) {
  driver_.complete(driver_.in_flight(3, 1));
  EXPECT_EQ(found(), "");
  const std::uint64_t before = history_.allocated_in(blkown::QueueIndex{1}, Tag{3});
  history_.begin_event("submit", 5'000);
  auto idle = driver_.idle(3, 1);
  EXPECT_EQ(found(), "");
  EXPECT_EQ(history_.state_of(blkown::QueueIndex{1}, Tag{3})->count, 0U);
  EXPECT_EQ(history_.allocated_in(blkown::QueueIndex{1}, Tag{3}), before + 1);
  history_.begin_event("end", 6'000);
  std::move(idle).fail(blkown::Status::ok);
  EXPECT_EQ(found(), "");
  EXPECT_EQ(history_.state_of(blkown::QueueIndex{1}, Tag{3}), std::nullopt);
}

TEST_F(InvariantCheckerTest, WritesTheTransitionsOfEachRequestIntoTheHistory) {
  history_.begin_event("submit", 5'000);
  Cookie cookie = driver_.in_flight(3, 1);
  EXPECT_EQ(found(), "");
  history_.begin_event("nothing", 6'000);
  EXPECT_EQ(found(), "");
  history_.begin_event("interrupt", 7'000);
  driver_.complete(cookie);
  EXPECT_EQ(found(), "");
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const file = open_memstream(&text, &size);
  history_.print(file, blkown::QueueIndex{1}, Tag{3}, 12);
  std::fclose(file);
  const std::string generation = std::to_string(cookie.generation.value);
  EXPECT_EQ(text, "  event 1 at 5 us, submit: free -> 1, generation " + generation +
                      "\n  event 3 at 7 us, interrupt: 1, generation " + generation + " -> free\n");
  std::free(text);
}

}  // namespace
