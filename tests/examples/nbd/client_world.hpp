// SPDX-License-Identifier: BSL-1.0
//
// A disk of the NBD client on a ScriptedServer, in one thread with a clock of its own: the clock
// moves only when neither side has anything to do. A run therefore takes no time and is the same
// each time.

#ifndef BLKOWN_TESTS_EXAMPLES_NBD_CLIENT_WORLD_HPP
#define BLKOWN_TESTS_EXAMPLES_NBD_CLIENT_WORLD_HPP

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "nbd_client/disk.hpp"
#include "nbd_client/poll_loop.hpp"
#include "scripted_server.hpp"

namespace nbd_client {

inline constexpr std::uint64_t ns_per_ms = 1'000'000;

class NbdWorld {
 public:
  explicit NbdWorld(const ServerConfig& server_config = {}, DriverConfig config = {.depth = 8})
      : NbdWorld{server_config, config, ScriptedServer{server_config}.info()} {}
  /// With what the client was told when it opened the export.
  NbdWorld(const ServerConfig& server_config, DriverConfig config, const ExportInfo& info)
      : server{server_config},
        driver{server, "", info, config},
        runtime{driver.connection_count(), {.argument = this, .now_ns = &clock}} {
    auto made = mq::Disk<NbdDisk>::create(driver.disk_config(), driver, runtime);
    if (!made) {
      ADD_FAILURE() << made.error().field << ": " << to_string(made.error().reason);
      std::abort();
    }
    disk = *std::move(made);
    driver.start(*this);
  }
  ~NbdWorld() {
    static_cast<void>(remove());
    driver.stop(*this);
    disk.reset();
  }
  NbdWorld(const NbdWorld&) = delete;
  NbdWorld& operator=(const NbdWorld&) = delete;

  ScriptedServer server;
  NbdDisk driver;
  mq::LoopRuntime runtime;
  std::unique_ptr<mq::Disk<NbdDisk>> disk;
  std::uint64_t now_ns = 0;

  // What the driver's start() and stop() ask of a loop.
  [[nodiscard]] mq::Context& context(std::uint32_t index) { return runtime.context(index); }
  static void add(Pollable&, mq::Context&) {}
  static void remove(const Pollable&) {}

  /// Does what can be done without the clock, or else moves the clock. Returns false if nothing is
  /// left to be done.
  bool step() {
    server.now_ns = now_ns;
    bool has_moved = runtime.run() != 0;
    has_moved = server.pump() || has_moved;
    for (std::uint32_t i = 0; i != driver.connection_count(); ++i) {
      pollfd polled = driver.connection(i).interest();
      if (polled.fd < 0 || ::poll(&polled, 1, 0) <= 0) continue;
      const mq::Context::Scope scope{runtime.context(i)};
      driver.connection(i).ready(polled.revents);
      has_moved = true;
    }
    if (has_moved) return true;
    const std::uint64_t next_ns =
        std::min(runtime.next_timer_ns().value_or(never_ns), server.next_due_ns());
    if (next_ns == never_ns) return false;
    now_ns = std::max(now_ns, next_ns);
    return true;
  }
  /// Steps until the condition holds. Returns false if it never does.
  template <class Condition>
  bool run_until(Condition condition, unsigned max_steps = 100'000) {
    for (unsigned i = 0; i != max_steps; ++i) {
      if (condition()) return true;
      if (!step()) return condition();
    }
    return false;
  }

  void submit(mq::Bio& bio, std::uint32_t context_index = 0) {
    disk->submit(runtime.context(context_index), bio);
  }
  /// The bio's status at its end.
  Status run(mq::Bio& bio, std::uint32_t context_index = 0) {
    submit(bio, context_index);
    EXPECT_TRUE(run_until([&] { return !bio.is_in_flight(); })) << "the bio does not end";
    return bio.status();
  }
  Status read(std::uint64_t sector, Bytes& memory) {
    mq::Bio bio = mq::Bio::read(sector, blkown::Segment{memory.data(), memory.size()}, {});
    return run(bio);
  }
  Status write(std::uint64_t sector, Bytes& memory, mq::IoFlags flags = {}) {
    mq::Bio bio = mq::Bio::write(sector, blkown::Segment{memory.data(), memory.size()}, {}, flags);
    return run(bio);
  }
  Status remove() {
    mq::Event done;
    mq::Control control{
        {[](void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }, &done}};
    disk->remove(control);
    if (!run_until([&] { return done.is_set(); })) {
      ADD_FAILURE() << "the disk cannot be removed";
      disk->print_in_flight(stderr);
      std::abort();
    }
    return control.status();
  }

  /// The server closes its connections, and the first one of the client is down.
  void lose_connections() {
    for (const auto& peer : server.peers) peer->hangs_up = true;
    EXPECT_TRUE(run_until([&] { return !driver.connection(0).is_up(); }));
  }

  [[nodiscard]] ConnectionCounters counters() const {
    ConnectionCounters sum;
    for (std::uint32_t i = 0; i != driver.connection_count(); ++i) {
      const ConnectionCounters& one = driver.connection(i).counters();
      sum.connects += one.connects;
      sum.failed_attempts += one.failed_attempts;
      sum.lost += one.lost;
      sum.violations += one.violations;
      sum.timeouts += one.timeouts;
    }
    return sum;
  }
  [[nodiscard]] blkown::Word refused(blkown::LookupReason reason) const {
    return disk->counters().rejected(reason);
  }

 private:
  static std::uint64_t clock(void* self) { return static_cast<NbdWorld*>(self)->now_ns; }
};

/// Bytes that differ from those of another seed.
inline Bytes pattern(std::size_t length_bytes, unsigned seed) {
  Bytes bytes(length_bytes);
  for (std::size_t i = 0; i != length_bytes; ++i) {
    bytes[i] = static_cast<std::byte>((i * 7 + i / 512 * 13 + seed * 31) & 0x7F);
  }
  return bytes;
}

}  // namespace nbd_client

#endif
