// SPDX-License-Identifier: BSL-1.0
//
// One thread of the traffic with its handles. The thread chooses at random among all operations
// that a driver may perform, and keeps an account of them.

#ifndef BLKOWN_TESTS_STRESS_TRAFFIC_DRIVER_HPP
#define BLKOWN_TESTS_STRESS_TRAFFIC_DRIVER_HPP

#include <array>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <thread>
#include <utility>

#include "effort.hpp"
#include "meeting.hpp"
#include "traffic_world.hpp"

namespace stress {

using Idle = blkown::Idle<Rq>;
using Owned = blkown::Owned<Rq>;
using Claim = blkown::Claim<Rq>;
using ARef = blkown::ARef<Rq>;

class Driver {
 public:
  Driver(World& its_world, std::uint64_t stream) : world{its_world}, random{stream} {}
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// Drops a kept pin, for which other threads may be waiting.
  void drop_one() { drop(kept_[random.below(kept_count)]); }

  /// Drops everything that this thread has kept.
  void retire() {
    for (bool any = true; any;) {
      // Dropping a pin can make this thread keep another one.
      any = false;
      for (auto& kept : kept_) {
        any = any || kept.has_value();
        drop(kept);
      }
    }
  }

  /// The number of dropped handles that must have raised a report.
  [[nodiscard]] std::uint64_t reported_drops() const noexcept { return drops; }

 private:
  static constexpr std::uint32_t kept_count = 4;

  /// A pin that is kept for a while, and the I/O for which it was created.
  struct Kept {
    ARef pin;
    std::uint64_t serial;
  };

 protected:
  // --- the account -------------------------------------------------------------------------------

  /// Notes a new holder of the right. The right must have no other holder, and the data must belong
  /// to the holder's I/O.
  template <class Handle>
  [[nodiscard]] Io& take_up(const Handle& handle) {
    Io& io = handle.data();
    if (io.holders.fetch_add(1, std::memory_order_relaxed) != 0) {
      world.complain("two have the right at once", io.queue, io.tag);
    }
    if (io.queue != handle.queue() || io.tag != handle.tag()) {
      world.complain("the data of another request", handle.queue(), handle.tag());
    }
    if (io.generation != handle.cookie().generation.value) {
      world.complain("the data of another generation", io.queue, io.tag);
    }
    if (io.ended_serial + 1 != io.serial.load(std::memory_order_relaxed)) {
      world.complain("the right to an I/O that has ended", io.queue, io.tag);
    }
    // Some holders keep the right long enough for other threads to meet it.
    if (random.one_in(8)) dawdle(random);
    if (random.one_in(512)) std::this_thread::yield();
    return io;
  }
  /// Notes that the holder has finished, before it gives the handle away.
  void lay_down(Io& io) {
    if (io.holders.fetch_sub(1, std::memory_order_relaxed) != 1) {
      world.complain("another holder had the right too", io.queue, io.tag);
    }
  }
  /// The same before a publication.
  template <class Handle>
  void stamp(const Handle& handle, Io& io) {
    io.generation = handle.next_cookie().generation.value;
    lay_down(io);
  }

  // --- pins ------------------------------------------------------------------------------------

  /// Keeps a pin for a while, in place of one that was kept before. The tag is not used again while
  /// the pin exists.
  void keep(ARef pin) {
    const std::uint64_t serial = pin.data().serial.load(std::memory_order_relaxed);
    auto& place = kept_[random.below(kept_count)];
    drop(place);
    place.emplace(std::move(pin), serial);
  }

  void drop(std::optional<Kept>& kept) {
    if (!kept) return;
    Kept taken = std::move(*kept);
    kept.reset();
    if (taken.pin.data().serial.load(std::memory_order_relaxed) != taken.serial) {
      world.complain("another I/O under a pin", taken.pin.queue(), taken.pin.tag());
    }
    let_go(std::move(taken.pin));
  }

  /// Drops a pin in one of the possible ways.
  void let_go(ARef pin) {
    const blkown::Cookie cookie{0, pin.generation(), pin.tag(), pin.queue()};
    switch (random.below(5)) {
      case 0: {
        auto alone = Owned::try_from_shared(std::move(pin));
        if (alone.has_value()) settle(std::move(*alone));
        break;
      }
      case 1: {
        auto last = drop_or_own(std::move(pin));
        if (last.has_value()) settle(std::move(*last));
        break;
      }
      case 2: {
        auto right = try_claim(std::move(pin), cookie);
        if (right.has_value()) settle_named(std::move(*right), cookie);
        break;
      }
      case 3: {
        auto right = blkown::claim(pin, cookie);
        if (right.has_value()) settle_named(std::move(*right), cookie);
        break;
      }
      default: break;
    }
  }

  // --- what a driver does with a right ---------------------------------------------------------

  void settle(Owned owned) {
    Io& io = take_up(owned);
    act(std::move(owned), io);
  }

  void settle(Claim claim) {
    Io& io = take_up(claim);
    switch (random.below(8)) {
      case 0: {  // more completions of this command will follow
        const blkown::Cookie cookie = claim.cookie();
        lay_down(io);
        std::move(claim).release();
        world.issue(cookie, random);
        return;
      }
      case 1: {
        lay_down(io);
        auto owned = std::move(claim).into_owned();
        if (owned.has_value()) {
          settle(std::move(*owned));
        } else {
          settle(std::move(owned).error());
        }
        return;
      }
      case 2:
        lay_down(io);
        ++drops;
        return;
      case 3: act_pinned(std::move(claim), io); return;
      default: act_either(std::move(claim), io); return;
    }
  }

  /// The same for a right to the publication that the cookie names.
  void settle_named(Claim claim, const blkown::Cookie& cookie) {
    if (claim.cookie().generation != cookie.generation) {
      world.complain("the right to another publication", claim.queue(), claim.tag());
    }
    settle(std::move(claim));
  }

  void act(Owned owned, Io& io) {
    switch (random.below(8)) {
      case 0:  // parked: only a scan or a forger finds it
        stamp(owned, io);
        if (random.one_in(2)) std::move(owned).park();
        return;
      case 1: {
        const blkown::Cookie cookie = owned.next_cookie();
        stamp(owned, io);
        ARef first = std::move(owned).into_shared();
        ARef second = first;
        world.issue(cookie, random);
        keep(std::move(first));
        keep(std::move(second));
        return;
      }
      case 2: act_pinned(std::move(owned).into_claim(), io); return;
      default: act_either(std::move(owned), io); return;
    }
  }

  /// Acts with a pin that outlives the right, as a mapping's does.
  void act_pinned(Claim claim, Io& io) {
    if (io.hoarded) {
      act_either(std::move(claim), io);
      return;
    }
    ARef pin = claim.pin();
    act_either(std::move(claim), io);
    keep(std::move(pin));
  }

  /// The operations that Owned and Claim have in common.
  template <class Handle>
  void act_either(Handle handle, Io& io) {
    const std::uint32_t what = random.below(16);
    if (what < 2) {
      lay_down(io);
      std::move(handle).requeue();
    } else if (what < 6) {
      lay_down(io);
      std::move(handle).end(blkown::Status::medium_error);
    } else if (what < 8) {
      const blkown::Cookie cookie = handle.next_cookie();
      stamp(handle, io);
      auto result = std::move(handle).publish([this](blkown::Cookie made) {
        world.learn(made);
        dawdle(random);
        return std::expected<void, int>{std::unexpected(1)};
      });
      if (result.error().claim) refused(std::move(*result.error().claim), cookie);
    } else {
      stamp(handle, io);
      std::move(handle).publish([this](blkown::Cookie cookie) { world.issue(cookie, random); });
    }
  }

  /// The device refused the command, and no forged completion took it first.
  void refused(Claim claim, const blkown::Cookie& cookie) {
    if (random.one_in(8)) {
      ++drops;
    } else {
      settle_named(std::move(claim), cookie);
    }
  }

  World& world;
  Random random;
  std::uint64_t drops = 0;

 private:
  std::array<std::optional<Kept>, kept_count> kept_;
};

}  // namespace stress

#endif
