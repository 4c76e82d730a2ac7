// SPDX-License-Identifier: BSL-1.0
//
// Tests of the copier of uring_copy on a scripted device: completions in any order, short
// transfers, timeouts, refusals, and completions that no correct device sends.

#include "uring_copy/copier.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "scripted_device.hpp"

namespace uring_copy {
namespace {

using blkown::LookupReason;

/// A copier with its buffers and requests.
struct Bench {
  Bench(ScriptedDevice& device, std::uint32_t depth, std::uint32_t block_bytes,
        std::uint32_t timeout_ms = 0)
      : buffers{*Buffers::create(depth, block_bytes)},
        requests{*make_requests(buffers, ledger)},
        copier{device, buffers.device(), requests, ledger, device.source.size(), timeout_ms} {}

  /// Runs the copier, and stops after a million rounds so that a copier that never ends is a
  /// failure.
  std::optional<Failure> run() {
    std::uint64_t rounds = 0;
    auto failure = copier.run([&] { return ++rounds != 1'000'000; });
    EXPECT_LT(rounds, 1'000'000U);
    EXPECT_EQ(requests.in_flight(), 0U);
    return failure;
  }
  std::uint64_t rejected(LookupReason reason) const {
    return copier.counters().rejected[static_cast<std::size_t>(reason)];
  }
  std::uint64_t rejected() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : copier.counters().rejected) sum += count;
    return sum;
  }

  Buffers buffers;
  Ledger ledger;
  Requests requests;
  Copier copier;
};

TEST(UringCopyCopier, CopiesEveryByteInAnyOrderOfCompletions) {
  for (const std::size_t size_bytes : {0U, 1U, 511U, 512U, 513U, 5'120U, 70'001U}) {
    for (const std::uint32_t depth : {1U, 2U, 7U, 64U}) {
      ScriptedDevice device{size_bytes, size_bytes * 100 + depth};
      Bench bench{device, depth, 512};
      EXPECT_FALSE(bench.run().has_value());
      EXPECT_EQ(device.source, device.destination) << size_bytes << " bytes, depth " << depth;
      EXPECT_EQ(bench.ledger.copied_bytes, size_bytes);
      EXPECT_EQ(bench.ledger.requests, (size_bytes + 511) / 512);
      EXPECT_EQ(bench.rejected(), 0U);
    }
  }
}

TEST(UringCopyCopier, EveryPublicationHasItsOwnCookie) {
  ScriptedDevice device{100'000};
  Bench bench{device, 8, 512};
  EXPECT_FALSE(bench.run().has_value());
  std::set<std::uint64_t> cookies;
  for (const Issued& issued : device.issued) cookies.insert(issued.cookie);
  EXPECT_EQ(cookies.size(), device.issued.size());
  EXPECT_EQ(cookies.size(), 2 * bench.ledger.requests);
}

TEST(UringCopyCopier, ShortReadsAndWritesArePublishedAgainForTheRest) {
  ScriptedDevice device{50'000};
  device.on_reap = [&] {
    if (!device.in_flight.empty()) device.complete(device.take_any(), 1 + device.random() % 300);
  };
  Bench bench{device, 16, 1'000};
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
  EXPECT_GT(bench.copier.counters().short_transfers, 100U);
  EXPECT_EQ(device.issued.size(), 100 + bench.copier.counters().short_transfers);
}

TEST(UringCopyCopier, ATimeLimitOrACancelThatComesFirstDoesNotEndTheIo) {
  // The time limit reports a cancellation, the copier's cancel reports success, and the device
  // moves the bytes and completes the I/O afterwards.
  ScriptedDevice device{40'000};
  std::deque<Issued> late;
  device.on_cancel = [&](std::uint64_t cookie) { device.say(Entry::cancel, cookie, 0); };
  device.on_reap = [&] {
    const bool hold = late.size() < 12 && device.random() % 4 != 0;
    for (const Issued& issued : device.in_flight) {
      if (std::ranges::count(late, issued.cookie, &Issued::cookie) != 0 || !hold) continue;
      device.say(Entry::link_timeout, issued.cookie, -EALREADY);
      device.say(Entry::link_timeout, issued.cookie, -ETIME);  // sent twice, and causes one cancel
      late.push_back(issued);
    }
    if (!late.empty()) {
      const Issued oldest = late.front();
      late.pop_front();
      std::erase_if(device.in_flight,
                    [&](const Issued& issued) { return issued.cookie == oldest.cookie; });
      device.complete(oldest);
    }
  };
  Bench bench{device, 16, 500, 7};
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
  EXPECT_EQ(device.issued.size(), 160U);
  EXPECT_EQ(device.cancels.size(), 160U);
  EXPECT_GT(bench.copier.counters().came_first, 320U);
  EXPECT_EQ(bench.copier.counters().came_first + bench.rejected(), 480U);
}

TEST(UringCopyCopier, AnEntryOfAnUnknownKindEndsNothing) {
  ScriptedDevice device{20'000};
  device.on_reap = [&] {
    const Issued issued = device.take_any();
    device.say(static_cast<Entry>(7), issued.cookie, 512);
    device.complete(issued);
  };
  Bench bench{device, 4, 512};
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
  EXPECT_EQ(bench.copier.counters().came_first, 80U);
  EXPECT_EQ(bench.rejected(), 0U);
}

TEST(UringCopyCopier, ATimeLimitThatComesAfterItsIoFindsNothing) {
  ScriptedDevice device{40'000};
  device.on_reap = [&] {
    const Issued issued = device.take_any();
    device.complete(issued);
    device.say(Entry::link_timeout, issued.cookie, -ECANCELED);
  };
  Bench bench{device, 16, 500, 7};
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
  // After a read the same request is in flight as a write. After a write it is idle.
  EXPECT_EQ(bench.rejected(LookupReason::stale_generation), 80U);
  EXPECT_EQ(bench.rejected(LookupReason::idle), 80U);
  EXPECT_EQ(bench.rejected(), 160U);
  EXPECT_TRUE(device.cancels.empty());
}

TEST(UringCopyCopier, ACancelledCommandIsPublishedAgainWithTwiceTheTime) {
  ScriptedDevice device{512};
  std::uint32_t cancelled = 0;
  device.on_reap = [&] {
    const Issued issued = device.take_any();
    if (++cancelled % Copier::max_attempts == 0) {
      device.complete(issued);
    } else {
      device.say(Entry::io, issued.cookie, cancelled % 2 == 0 ? -EINTR : -ECANCELED);
    }
  };
  Bench bench{device, 1, 512, 3};
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
  ASSERT_EQ(device.issued.size(), 2 * Copier::max_attempts);
  for (std::uint32_t i = 0; i != Copier::max_attempts; ++i) {
    EXPECT_EQ(device.issued[i].command.timeout_ms, 3U << i);
    EXPECT_EQ(device.issued[i + Copier::max_attempts].command.timeout_ms, 3U << i);
  }
}

TEST(UringCopyCopier, ACommandThatIsCancelledEveryTimeEndsTheCopy) {
  ScriptedDevice device{10'000};
  device.on_reap = [&] {
    const Issued issued = device.take_any();
    const bool stuck =
        issued.command.operation == Operation::write && issued.command.offset_bytes == 5'120;
    if (stuck) {
      device.say(Entry::io, issued.cookie, -ECANCELED);
    } else {
      device.complete(issued);
    }
  };
  Bench bench{device, 4, 512, 3};
  const auto failure = bench.run();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::cancelled);
  EXPECT_EQ(failure->operation, Operation::write);
  EXPECT_EQ(failure->offset_bytes, 5'120U);
  EXPECT_EQ(std::ranges::count_if(device.issued,
                                  [](const Issued& issued) {
                                    return issued.command.operation == Operation::write &&
                                           issued.command.offset_bytes == 5'120;
                                  }),
            Copier::max_attempts);
}

TEST(UringCopyCopier, DuplicateStaleAndForgedCompletionsTouchNoRequest) {
  ScriptedDevice device{60'000};
  std::vector<std::uint64_t> over;
  std::uint64_t bad = 0;
  const auto forge = [&](std::uint64_t value) {
    device.say(Entry::io, value, static_cast<int>(device.random() % 512));
    ++bad;
  };
  device.on_reap = [&] {
    const Issued issued = device.take_any();
    device.complete(issued);
    over.push_back(issued.cookie);
    forge(issued.cookie);                                  // a duplicate
    forge(over[device.random() % over.size()]);            // a stale id
    forge(issued.cookie ^ cookie_layout.tag.put(0x8000));  // no such tag
    forge(issued.cookie ^ cookie_layout.queue.put(1));     // no such queue
    const blkown::CookieField generation = cookie_layout.generation;
    forge((issued.cookie & ~generation.mask()) |  // a generation not published yet
          generation.put(generation.get(issued.cookie) + 2));
    forge(~std::uint64_t{0});
  };
  Bench bench{device, 16, 512};
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
  EXPECT_EQ(bench.rejected(), bad);
  EXPECT_EQ(bench.rejected(LookupReason::no_such_tag), bad / 6);
  EXPECT_EQ(bench.rejected(LookupReason::no_such_queue), bad / 6 * 2);
  EXPECT_GT(bench.rejected(LookupReason::stale_generation), bad / 6);
  EXPECT_GT(bench.rejected(LookupReason::early), 0U);
}

TEST(UringCopyCopier, ACompletionThatBeatsTheDoorbellIsFound) {
  // The device completes each command while the copier issues it, as an interrupt would.
  ScriptedDevice device{30'000};
  Copier* copier = nullptr;
  device.on_issue = [&](const Issued& issued) -> std::expected<void, int> {
    copier->complete({issued.cookie, device.move(issued.command, 200)});
    return {};
  };
  device.on_reap = [&] { device.in_flight.clear(); };
  Bench bench{device, 4, 512};
  copier = &bench.copier;
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
  EXPECT_EQ(bench.rejected(), 0U);
}

TEST(UringCopyCopier, ACommandThatABusyDeviceRefusesIsPublishedAgain) {
  ScriptedDevice device{60'000};
  std::uint32_t refused = 0;
  device.on_issue = [&](const Issued&) -> std::expected<void, int> {
    if (device.in_flight.size() < 3) return {};
    ++refused;
    return std::unexpected(EBUSY);
  };
  std::uint32_t rounds = 0;
  device.on_reap = [&] {
    // Most rounds complete nothing, so the same commands are refused repeatedly.
    if (++rounds % 50 == 0) device.complete(device.take_any());
  };
  Bench bench{device, 16, 512, 5};
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
  EXPECT_GT(refused, 1'000U);
  // A refusal does not count as an attempt, so it does not raise the time limit.
  for (const Issued& issued : device.issued) EXPECT_EQ(issued.command.timeout_ms, 5U);
}

TEST(UringCopyCopier, APermanentRefusalEndsTheCopy) {
  for (const int error : {EBUSY, EPERM}) {
    ScriptedDevice device{60'000};
    std::uint32_t taken = 0;
    device.on_issue = [&](const Issued&) -> std::expected<void, int> {
      if (taken++ < 20) return {};
      return std::unexpected(error);
    };
    Bench bench{device, 4, 512};
    const auto failure = bench.run();
    ASSERT_TRUE(failure.has_value());
    EXPECT_EQ(failure->cause, Cause::device);
    EXPECT_EQ(failure->error, error);
    EXPECT_EQ(device.issued.size(), 20U);
  }
}

TEST(UringCopyCopier, ACommandThatWasRefusedAndCompletedIsComplete) {
  // The device refuses the command and also completes it.
  ScriptedDevice device{30'000};
  Copier* copier = nullptr;
  std::uint32_t commands = 0;
  device.on_issue = [&](const Issued& issued) -> std::expected<void, int> {
    if (++commands % 5 != 0) return {};
    copier->complete({issued.cookie, device.move(issued.command)});
    return std::unexpected(EBUSY);
  };
  Bench bench{device, 4, 512};
  copier = &bench.copier;
  EXPECT_FALSE(bench.run().has_value());
  EXPECT_EQ(device.source, device.destination);
}

TEST(UringCopyCopier, TheErrorOfASourceThatEndsEarlyNamesThePosition) {
  ScriptedDevice device{60'000};
  device.on_reap = [&] {
    const Issued issued = device.take_oldest();
    if (issued.command.operation == Operation::read && issued.command.offset_bytes == 10'240) {
      device.source.resize(10'300);
    }
    device.complete(issued);
  };
  Bench bench{device, 1, 512};
  const auto failure = bench.run();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::source_ended);
  EXPECT_EQ(failure->operation, Operation::read);
  EXPECT_EQ(failure->offset_bytes, 10'300U);
  EXPECT_EQ(
      problem_of(*failure, "disk", "copy", 60'000).text,
      "disk: ends at byte 10300 but had 60000 bytes when the copy began; stop what shortens it"
      " and copy again");
}

TEST(UringCopyCopier, TheErrorOfAFullDestinationNamesThePosition) {
  ScriptedDevice device{60'000};
  device.on_reap = [&] {
    const Issued issued = device.take_oldest();
    const std::uint64_t room_bytes = 10'300;
    if (issued.command.operation == Operation::read) {
      device.complete(issued);
    } else if (issued.command.offset_bytes >= room_bytes) {
      device.say(Entry::io, issued.cookie, -ENOSPC);
    } else {
      device.complete(issued, room_bytes - issued.command.offset_bytes);
    }
  };
  Bench bench{device, 1, 512};
  const auto failure = bench.run();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::io);
  EXPECT_EQ(failure->error, ENOSPC);
  EXPECT_EQ(failure->operation, Operation::write);
  EXPECT_EQ(failure->offset_bytes, 10'300U);
  EXPECT_EQ(problem_of(*failure, "disk", "copy", 60'000).text,
            "copy: write at byte 10300: No space left on device; free space there, or name another"
            " destination");
}

TEST(UringCopyCopier, AFailureStopsIssuingAndCancelsAllInFlight) {
  ScriptedDevice device{60'000};
  std::size_t issued_at_failure = 0;
  device.on_reap = [&] {
    const Issued issued = device.take_any();
    if (issued_at_failure == 0 && device.issued.size() > 60) {
      issued_at_failure = device.issued.size();
      device.say(Entry::io, issued.cookie, -EIO);
    } else {
      device.complete(issued);
    }
  };
  Bench bench{device, 16, 512};
  const auto failure = bench.run();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->error, EIO);
  EXPECT_EQ(device.issued.size(), issued_at_failure);
  EXPECT_EQ(device.cancels.size(), 15U);
  EXPECT_LT(bench.ledger.copied_bytes, 60'000U);
}

TEST(UringCopyCopier, AnInterruptedCopyWaitsForItsIoInFlight) {
  ScriptedDevice device{60'000};
  Bench bench{device, 16, 512};
  std::uint32_t rounds = 0;
  std::size_t in_flight = 0;
  const auto failure = bench.copier.run([&] {
    in_flight = device.in_flight.size();
    return ++rounds != 50;
  });
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::interrupted);
  EXPECT_EQ(rounds, 50U);
  EXPECT_EQ(device.outstanding(), 0U);
  EXPECT_GE(in_flight, 15U);
  EXPECT_EQ(device.cancels.size(), in_flight);
  EXPECT_EQ(bench.requests.in_flight(), 0U);
}

TEST(UringCopyCopier, ALostCommandEndsTheCopy) {
  ScriptedDevice device{60'000};
  std::uint32_t commands = 0;
  device.on_reap = [&] {
    const Issued issued = device.take_any();
    if (++commands != 30) device.complete(issued);
  };
  Bench bench{device, 4, 512};
  const auto failure = bench.run();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::lost);
}

TEST(UringCopyCopier, ADoorbellThatFailsEndsTheCopy) {
  ScriptedDevice device{60'000};
  std::uint32_t rings = 0;
  device.on_submit = [&]() -> std::expected<void, int> {
    if (++rings < 30) return {};
    return std::unexpected(EPERM);
  };
  Bench bench{device, 4, 512};
  const auto failure = bench.run();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::device);
  EXPECT_EQ(failure->error, EPERM);
  EXPECT_EQ(rings, 30U);
}

TEST(UringCopyCopier, ABusyDoorbellIsRungAgainWithALimit) {
  ScriptedDevice device{60'000};
  std::uint32_t rings = 0;
  bool stuck = false;
  device.on_submit = [&]() -> std::expected<void, int> {
    if (stuck || ++rings % 3 == 0) return std::unexpected(EBUSY);
    return {};
  };
  device.on_reap = [&] {
    if (!stuck && !device.in_flight.empty()) device.complete(device.take_any());
  };
  {
    Bench bench{device, 4, 512};
    EXPECT_FALSE(bench.run().has_value());
    EXPECT_EQ(device.source, device.destination);
  }
  stuck = true;
  Bench bench{device, 4, 512};
  const auto failure = bench.run();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::device);
  EXPECT_EQ(failure->error, EBUSY);
}

TEST(UringCopyCopier, AnImpossibleNumberOfBytesEndsTheCopy) {
  for (const Operation operation : {Operation::read, Operation::write}) {
    ScriptedDevice device{2'000};
    device.on_reap = [&] {
      const Issued issued = device.take_any();
      const int moved = device.move(issued.command);
      const bool is_false = issued.command.operation == operation;
      device.say(Entry::io, issued.cookie, is_false ? moved + 1 : moved);
    };
    Bench bench{device, 1, 512};
    const auto failure = bench.run();
    ASSERT_TRUE(failure.has_value());
    EXPECT_EQ(failure->cause, Cause::no_progress);
    EXPECT_EQ(failure->operation, operation);
  }
}

TEST(UringCopyCopier, AWriteThatMovesNothingEndsTheCopy) {
  ScriptedDevice device{2'000};
  device.on_reap = [&] {
    const Issued issued = device.take_any();
    device.complete(issued, issued.command.operation == Operation::write ? 0 : 512);
  };
  Bench bench{device, 1, 512};
  const auto failure = bench.run();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::no_progress);
}

}  // namespace
}  // namespace uring_copy
