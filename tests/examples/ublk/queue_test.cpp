// SPDX-License-Identifier: BSL-1.0
//
// The queue of the ublk server on a kernel that is scripted, and on one that a seed drives.

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "examples/few_descriptors.hpp"
#include "fake_kernel.hpp"
#include "ublk/recovery.hpp"

namespace ublk {
namespace {

using blkown::LookupReason;

constexpr std::uint32_t depth = 4;
constexpr Geometry geometry{
    .size_bytes = 1024 * 1024, .block_bytes = 512, .max_io_bytes = 4096, .read_only = false};

class UblkQueue : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store.attach(rig.context()).has_value());
    queue.begin(rig.tags, store, kernel);
  }
  void TearDown() override {
    // What the store has left.
    for (const std::uint64_t id : store.ids) store.complete(id);
  }
  void send(std::uint32_t tag, std::uint32_t op_flags = UBLK_IO_OP_READ, std::uint64_t sector = 0,
            std::uint32_t sectors = 8) {
    kernel.describe(tag, op_flags, sector, sectors);
    queue.on_completion(tag, UBLK_IO_RES_OK);
  }
  [[nodiscard]] std::uint64_t take_id() {
    const std::uint64_t id = store.ids.front();
    store.ids.pop_front();
    return id;
  }

  Rig rig{1, depth, geometry, 100};
  Queue& queue{*rig.queues.front()};
  FakeKernel kernel{depth};
  HeldStore store;
};

TEST(UblkQueueOpen, AQueueWithoutADescriptorSaysSo) {
  {
    const front_ends::FewDescriptors none{0};
    EXPECT_FALSE((Queue{blkown::QueueIndex{0}, depth, geometry, 0}.is_open()));
  }
  EXPECT_TRUE((Queue{blkown::QueueIndex{0}, depth, geometry, 0}.is_open()));
}

TEST_F(UblkQueue, AnIoIsExecutedAndCommittedWithItsBytes) {
  send(2, UBLK_IO_OP_WRITE | UBLK_IO_F_FUA, 24, 8);
  ASSERT_EQ(store.ios.size(), 1U);
  EXPECT_EQ(store.ios[0].operation, storage::Operation::write);
  EXPECT_TRUE(store.ios[0].is_durable);
  EXPECT_EQ(store.ios[0].offset, 24U * 512);
  EXPECT_EQ(store.ios[0].length, 4096U);
  EXPECT_EQ(store.ios[0].memory.data, kernel.buffer(2));
  EXPECT_TRUE(kernel.commits.empty());
  EXPECT_EQ(store.complete(take_id()), LookupReason::none);
  ASSERT_EQ(kernel.commits.size(), 1U);
  EXPECT_EQ(kernel.commits[0].tag, 2U);
  EXPECT_EQ(kernel.commits[0].result, 4096);
}

TEST_F(UblkQueue, AnErrorIsCommittedAsAnErrno) {
  send(1);
  EXPECT_EQ(store.complete(take_id(), blkown::Status::medium_error), LookupReason::none);
  EXPECT_EQ(kernel.commits.at(0).result, -ENODATA);
  EXPECT_EQ(queue.counters().failed.get(), 1U);
}

TEST_F(UblkQueue, AFlushHasNoDataAndNoRange) {
  send(0, UBLK_IO_OP_FLUSH, UINT64_MAX, 7);
  EXPECT_EQ(store.ios.at(0).operation, storage::Operation::flush);
  EXPECT_TRUE(store.ios.at(0).memory.empty());
  EXPECT_EQ(store.complete(take_id()), LookupReason::none);
  EXPECT_EQ(kernel.commits.at(0).result, 0);
}

// The kernel may send a tag within the very call that commits it.
TEST_F(UblkQueue, TheTagIsReleasedBeforeItsCommit) {
  int left = 10;
  kernel.on_commit = [&](std::uint32_t tag, std::int32_t) {
    if (left-- > 0) send(tag);
  };
  send(3);
  while (!store.ids.empty()) EXPECT_EQ(store.complete(take_id()), LookupReason::none);
  EXPECT_EQ(kernel.commits.size(), 11U);
  EXPECT_EQ(queue.counters().bad_tags.get(), 0U);
}

TEST_F(UblkQueue, ATagThatIsInUseIsRefusedAndItsIoEndsOnce) {
  send(1);
  send(1);
  EXPECT_EQ(store.ids.size(), 1U);
  EXPECT_EQ(queue.counters().bad_tags.get(), 1U);
  EXPECT_TRUE(kernel.commits.empty());
  EXPECT_EQ(store.complete(take_id()), LookupReason::none);
  EXPECT_EQ(kernel.commits.size(), 1U);
}

TEST_F(UblkQueue, ATagOutOfRangeIsRefused) {
  for (const std::uint64_t value :
       {std::uint64_t{depth}, std::uint64_t{UINT32_MAX}, std::uint64_t{1} << 32, UINT64_MAX}) {
    queue.on_completion(value, UBLK_IO_RES_OK);
    queue.on_completion(value, UBLK_IO_RES_ABORT);
  }
  EXPECT_TRUE(store.ids.empty());
  EXPECT_TRUE(kernel.commits.empty());
  EXPECT_EQ(queue.counters().bad_tags.get(), 8U);
  EXPECT_EQ(queue.counters().aborted.get(), 0U);
}

TEST_F(UblkQueue, CommitsComeInTheOrderOfTheStore) {
  for (std::uint32_t tag = 0; tag != depth; ++tag) send(tag);
  for (const std::size_t at : {2U, 0U, 3U, 1U}) {
    EXPECT_EQ(store.complete(store.ids[at]), LookupReason::none);
    EXPECT_EQ(kernel.commits.back().tag, at);
  }
  store.ids.clear();
}

TEST_F(UblkQueue, IsDoneWhenAllTagsAreTakenBackAndAllIosHaveEnded) {
  send(0);
  for (int i = 0; i != 2; ++i) {
    for (std::uint32_t tag = 1; tag != depth; ++tag) queue.on_completion(tag, UBLK_IO_RES_ABORT);
  }
  // The kernel has taken some tags back twice, and tag 0 not yet.
  EXPECT_EQ(queue.counters().aborted.get(), depth - 1);
  EXPECT_FALSE(queue.is_done());
  queue.on_completion(0, UBLK_IO_RES_ABORT);
  EXPECT_FALSE(queue.is_done());
  EXPECT_EQ(store.complete(take_id()), LookupReason::none);
  EXPECT_TRUE(queue.is_done());
  EXPECT_EQ(queue.counters().broken.get(), 0U);
  // A tag that is gone does not come again.
  send(2);
  EXPECT_TRUE(store.ids.empty());
}

TEST_F(UblkQueue, ACommandThatTheKernelRefusesTakesItsTagBack) {
  for (std::uint32_t tag = 0; tag != depth; ++tag) queue.on_completion(tag, -EINVAL);
  EXPECT_TRUE(queue.is_done());
  EXPECT_EQ(queue.counters().broken.get(), depth);
}

TEST_F(UblkQueue, AWrongDescriptorEndsItsIoWithAnError) {
  struct Case {
    std::uint32_t op_flags;
    std::uint64_t sector;
    std::uint32_t sectors;
    int result;
  };
  constexpr std::uint32_t size = 2048;  // sectors
  const std::array cases{Case{UBLK_IO_OP_WRITE_SAME, 0, 8, -EOPNOTSUPP},
                         Case{0xFF, 0, 8, -EOPNOTSUPP},
                         Case{UBLK_IO_OP_READ, 0, 0, -EINVAL},
                         Case{UBLK_IO_OP_READ, 0, 9, -EINVAL},  // longer than the buffer
                         Case{UBLK_IO_OP_WRITE, size - 7, 8, -EINVAL},
                         Case{UBLK_IO_OP_WRITE, UINT64_MAX, 8, -EINVAL},
                         Case{UBLK_IO_OP_WRITE, UINT64_MAX - 6, 8, -EINVAL},
                         Case{UBLK_IO_OP_DISCARD, 1, size, -EINVAL},
                         Case{UBLK_IO_OP_WRITE_ZEROES, std::uint64_t{1} << 55, 8, -EINVAL}};
  for (const Case& each : cases) {
    send(0, each.op_flags, each.sector, each.sectors);
    EXPECT_EQ(kernel.commits.back().result, each.result) << each.op_flags << " " << each.sector;
  }
  EXPECT_TRUE(store.ids.empty());
  EXPECT_EQ(kernel.commits.size(), cases.size());
  EXPECT_EQ(queue.counters().refused.get(), cases.size());
  // The tag is as good as before, and a range without data may be longer than the buffer.
  send(0, UBLK_IO_OP_DISCARD, 0, size);
  EXPECT_EQ(store.ids.size(), 1U);
}

TEST(UblkProtocol, AReadOnlyDeviceAndLargeBlocksRefuseWhatDoesNotFit) {
  Geometry strict = geometry;
  strict.read_only = true;
  strict.block_bytes = 4096;
  std::array<std::byte, 4096> buffer{};
  const auto status = [&](std::uint32_t op, std::uint64_t sector, std::uint32_t sectors) {
    const auto io =
        parse_descriptor({.op_flags = op, .nr_sectors = sectors, .start_sector = sector, .addr = 0},
                         strict, buffer.data());
    return io ? blkown::Status::ok : io.error();
  };
  EXPECT_EQ(status(UBLK_IO_OP_READ, 8, 8), blkown::Status::ok);
  EXPECT_EQ(status(UBLK_IO_OP_FLUSH, 0, 0), blkown::Status::ok);
  EXPECT_EQ(status(UBLK_IO_OP_READ, 1, 8), blkown::Status::invalid);
  EXPECT_EQ(status(UBLK_IO_OP_READ, 8, 1), blkown::Status::invalid);
  for (const unsigned op :
       {1U * UBLK_IO_OP_WRITE, 1U * UBLK_IO_OP_DISCARD, 1U * UBLK_IO_OP_WRITE_ZEROES}) {
    EXPECT_EQ(status(op, 8, 8), blkown::Status::invalid);
  }
}

TEST(UblkProtocol, TheParametersAreThoseOfTheGeometry) {
  Geometry large = geometry;
  large.block_bytes = 4096;
  const ublk_params params = params_of(large);
  EXPECT_EQ(params.len, sizeof(params));
  EXPECT_EQ(params.basic.logical_bs_shift, 12);
  EXPECT_EQ(params.basic.dev_sectors, 2048U);
  EXPECT_EQ(params.basic.max_sectors, 8U);
  EXPECT_EQ(params.basic.attrs, UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA);
  large.read_only = true;
  EXPECT_NE(params_of(large).basic.attrs & UBLK_ATTR_READ_ONLY, 0U);
  EXPECT_EQ(params_of(geometry).basic.logical_bs_shift, 9);
}

class UblkRecovery : public testing::Test {
 protected:
  UblkRecovery() {
    info.nr_hw_queues = 2;
    info.max_io_buf_bytes = 65536;
    info.flags = wanted_flags;
  }
  /// Why the device is refused, or "".
  [[nodiscard]] std::string refusal() const {
    const auto taken = recoverable_geometry(info, params, file);
    return taken ? "" : taken.error();
  }

  Geometry file = geometry;
  ublksrv_ctrl_dev_info info{};
  ublk_params params = params_of(geometry);
};

TEST_F(UblkRecovery, TheGeometryIsThatOfTheDevice) {
  Geometry device = geometry;
  device.block_bytes = 4096;
  device.read_only = true;
  params = params_of(device);
  // What the kernel does by itself, and what does not change how data moves.
  info.flags |= UBLK_F_URING_CMD_COMP_IN_TASK | std::uint64_t{1} << 13;
  const auto taken = recoverable_geometry(info, params, file);
  ASSERT_TRUE(taken.has_value()) << taken.error();
  EXPECT_EQ(taken->size_bytes, file.size_bytes);
  EXPECT_EQ(taken->block_bytes, 4096U);
  EXPECT_EQ(taken->max_io_bytes, 65536U);
  EXPECT_TRUE(taken->read_only);
}

TEST_F(UblkRecovery, ADeviceWhoseDataMovesInAnotherWayIsRefused) {
  constexpr std::array<std::pair<std::uint64_t, const char*>, 5> foreign{
      {{UBLK_F_SUPPORT_ZERO_COPY, "UBLK_F_SUPPORT_ZERO_COPY"},
       {UBLK_F_NEED_GET_DATA, "UBLK_F_NEED_GET_DATA"},
       {std::uint64_t{1} << 7, "UBLK_F_USER_COPY"},
       {std::uint64_t{1} << 8, "UBLK_F_ZONED"},
       {std::uint64_t{1} << 11, "UBLK_F_AUTO_BUF_REG"}}};
  for (const auto& [flag, name] : foreign) {
    info.flags = wanted_flags | flag;
    EXPECT_EQ(refusal(), "the device was made with " + std::string{name} +
                             ", which this server does not serve; recover it with the program that"
                             " made it, or delete it");
  }
}

TEST_F(UblkRecovery, ADeviceWithoutRecoveryOrWithTooManyQueuesIsRefused) {
  info.flags &= ~std::uint64_t{UBLK_F_USER_RECOVERY};
  EXPECT_EQ(refusal(), "the device was made without UBLK_F_USER_RECOVERY; delete it");
  info.flags = wanted_flags;
  info.nr_hw_queues = 256;
  EXPECT_EQ(refusal(),
            "the device has 256 queues, this server serves 255 at most; recover it with the program"
            " that made it, or delete it");
}

TEST_F(UblkRecovery, AFileThatDoesNotFitTheDeviceIsRefused) {
  file.block_bytes = 4096;
  EXPECT_EQ(refusal(),
            "the device has blocks of 512 bytes, the file takes no less than 4096; recover without"
            " --direct");
  file = geometry;
  file.read_only = true;
  EXPECT_EQ(refusal(),
            "the device takes writes, the file is opened without; recover without --read-only");
  params.basic.attrs |= UBLK_ATTR_READ_ONLY;
  EXPECT_EQ(refusal(), "");
  file.size_bytes += 4096;
  EXPECT_EQ(refusal(),
            "the device has 1048576 bytes, the file 1052672; give the file that the device was"
            " added with");
}

TEST_F(UblkQueue, ALateIdIsRefusedWhateverItsTagDoesNow) {
  queue.set_now(1000);
  send(1);
  queue.set_now(1099);
  queue.poll();
  EXPECT_TRUE(kernel.commits.empty());
  queue.set_now(1130);
  queue.poll();
  EXPECT_EQ(store.expired, 1);
  EXPECT_EQ(kernel.commits.at(0).result, -ETIMEDOUT);
  EXPECT_EQ(queue.counters().timed_out.get(), 1U);
  const std::uint64_t late = take_id();
  EXPECT_EQ(store.complete(late), LookupReason::idle);
  // The tag is in flight again: the late id is of an earlier generation.
  send(1);
  EXPECT_EQ(store.complete(late), LookupReason::stale_generation);
  EXPECT_EQ(store.complete(take_id()), LookupReason::none);
  EXPECT_EQ(kernel.commits.size(), 2U);
}

TEST_F(UblkQueue, TheTimeLimitBeginsWhenTheIoArrives) {
  // The thread has slept for long when the I/O arrives.
  queue.set_now(1'000'000);
  send(0);
  queue.poll();
  EXPECT_EQ(store.expired, 0);
  EXPECT_EQ(queue.max_sleep_ms(), 26);
  EXPECT_EQ(store.complete(take_id()), LookupReason::none);
  EXPECT_EQ(queue.max_sleep_ms(), -1);
}

// --- the adversary ------------------------------------------------------------------------------

/// A disk in memory whose device thread sends the ids back in any order, some of them twice, and
/// some that it never got. It keeps the last few until let_go().
class RandomStore final : public Store {
 public:
  RandomStore(std::uint64_t seed, std::vector<std::byte>& medium) : dice_{seed}, medium_{medium} {}
  ~RandomStore() override { detach(); }

  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    context_.emplace(context);
    device_ = std::thread{[this] { run(); }};
    return {};
  }
  void start(blkown::Owned<Rq> request, blkown::QueueIndex) override {
    std::move(request).publish([this](blkown::Cookie id) {
      {
        const std::lock_guard lock{mutex_};
        ids_.push_back(id.value);
      }
      changed_.notify_one();
    });
  }
  void expire(const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) override {
    auto claim = blkown::claim(pin, cookie);
    if (claim) std::move(*claim).end(blkown::Status::timed_out);
  }
  void let_go() {
    {
      const std::lock_guard lock{mutex_};
      kept_ = 0;
    }
    changed_.notify_one();
  }
  void detach() override {
    {
      const std::lock_guard lock{mutex_};
      is_stopping_ = true;
      kept_ = 0;
    }
    changed_.notify_one();
    if (device_.joinable()) device_.join();
  }

 private:
  void run() {
    std::unique_lock lock{mutex_};
    while (true) {
      changed_.wait(lock, [this] { return is_stopping_ || ids_.size() > kept_; });
      if (ids_.empty()) return;
      const std::size_t at = dice_() % ids_.size();
      const std::uint64_t id = ids_[at];
      // One that stays comes again.
      if (dice_() % 8 != 0) ids_.erase(ids_.begin() + static_cast<std::ptrdiff_t>(at));
      const std::uint64_t forged = id ^ (std::uint64_t{1} << (dice_() % 64));
      const bool forges = dice_() % 8 == 0;
      lock.unlock();
      complete(id);
      // Bits of the user field are not looked at: such an id is the same one once more.
      if (forges) complete(forged);
      lock.lock();
    }
  }
  void complete(std::uint64_t id) {
    auto claim = context_->tags.claim(storage::cookie_layout.queue_of(id), id);
    if (!claim) return context_->refused.count(claim.error().reason);
    const storage::Io& io = claim->data().io;
    std::byte* const at = medium_.data() + io.offset;
    switch (io.operation) {
      case storage::Operation::read: std::memcpy(io.memory.data, at, io.length); break;
      case storage::Operation::write: std::memcpy(at, io.memory.data, io.length); break;
      case storage::Operation::write_zeroes: std::memset(at, 0, io.length); break;
      default: break;
    }
    std::move(*claim).end_ok();
  }

  std::mt19937_64 dice_;
  std::vector<std::byte>& medium_;
  std::optional<StoreContext> context_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint64_t> ids_;
  std::size_t kept_ = 4;
  bool is_stopping_ = false;
  std::thread device_;
};

/// One queue of a kernel that a seed drives. It survives the server. Each tag has a zone of the
/// disk of its own, so that the model of a zone is known.
class SeededKernel {
 public:
  static constexpr std::uint32_t zone_sectors = 8;
  static constexpr std::uint32_t tags = 8;
  static constexpr Geometry geometry{.size_bytes = std::uint64_t{2} * tags * zone_sectors * 512,
                                     .block_bytes = 512,
                                     .max_io_bytes = 4096,
                                     .read_only = false};

  SeededKernel(std::uint64_t seed, std::uint32_t queue) : dice_{seed * 2 + queue}, queue_{queue} {}

  /// Serves up to `count` I/Os through this queue of the server. Then the kernel takes all tags
  /// back, or the server is killed with what is in flight.
  void serve(Queue& queue, Tags& all, RandomStore& store, std::uint32_t count, bool is_killed) {
    FakeKernel kernel{tags};
    kernel.on_commit = [&](std::uint32_t tag, std::int32_t result) {
      committed(kernel, tag, result);
    };
    is_dead_ = false;
    queue.begin(all, store, kernel);
    // The last server's: a new server gets them first.
    for (std::uint32_t tag = 0; tag != tags; ++tag) {
      if (ios_[tag].is_in_flight) issue(kernel, queue, tag);
    }
    std::uint64_t now = 0;
    for (std::uint32_t sent = 0; sent < count;) {
      queue.set_now(++now);
      const bool is_full = std::ranges::all_of(ios_, &Io::is_in_flight);
      if (is_full) {
        wait_and_poll(queue);
      } else {
        sent += step(kernel, queue);
        queue.poll();
      }
    }
    is_dead_ = is_killed;
    store.let_go();
    while (!is_dead_ && std::ranges::any_of(ios_, &Io::is_in_flight)) wait_and_poll(queue);
    for (std::uint32_t tag = 0; tag != tags; ++tag) queue.on_completion(tag, UBLK_IO_RES_ABORT);
    while (!queue.is_done()) wait_and_poll(queue);
  }
  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
  [[nodiscard]] std::uint64_t ended() const { return ended_; }
  [[nodiscard]] std::uint64_t reissued() const { return reissued_; }
  [[nodiscard]] std::uint64_t timed_out() const { return timed_out_; }

 private:
  struct Io {
    bool is_in_flight = false;
    std::uint32_t op = 0;
    std::uint32_t first = 0;  // within the zone
    std::uint32_t count = 0;
    std::uint8_t fill = 0;
    std::uint8_t issues = 0;
  };

  static void wait_and_poll(Queue& queue) {
    pollfd wake{.fd = queue.wake_fd(), .events = POLLIN, .revents = 0};
    std::uint64_t ended = 0;
    if (::poll(&wake, 1, 10) == 1) static_cast<void>(!::read(wake.fd, &ended, sizeof(ended)));
    queue.poll();
  }
  /// One event. Returns 1 for an I/O.
  std::uint32_t step(FakeKernel& kernel, Queue& queue) {
    const auto tag = static_cast<std::uint32_t>(dice_() % tags);
    switch (dice_() % 10) {
      case 0: queue.on_completion(tags + dice_() % 1000, UBLK_IO_RES_OK); return 0;
      case 1: {
        // A tag that is in use, with a descriptor that is in use.
        if (ios_[tag].is_in_flight) queue.on_completion(tag, UBLK_IO_RES_OK);
        return 0;
      }
      default: break;
    }
    Io& io = ios_[tag];
    if (io.is_in_flight) return 0;
    const std::array ops{UBLK_IO_OP_READ, UBLK_IO_OP_WRITE, UBLK_IO_OP_WRITE_ZEROES,
                         UBLK_IO_OP_FLUSH};
    io = {.is_in_flight = true,
          .op = static_cast<std::uint32_t>(ops[dice_() % ops.size()]),
          .first = static_cast<std::uint32_t>(dice_() % zone_sectors),
          .fill = static_cast<std::uint8_t>(dice_())};
    io.count = static_cast<std::uint32_t>(dice_() % (zone_sectors - io.first)) + 1;
    issue(kernel, queue, tag);
    return 1;
  }
  void issue(FakeKernel& kernel, Queue& queue, std::uint32_t tag) {
    Io& io = ios_[tag];
    if (io.issues++ != 0) ++reissued_;
    if (io.op == UBLK_IO_OP_WRITE) std::memset(kernel.buffer(tag), io.fill, io.count * 512U);
    const std::uint64_t zone = std::uint64_t{queue_} * tags + tag;
    kernel.describe(tag, io.op, zone * zone_sectors + io.first, io.count);
    queue.on_completion(tag, UBLK_IO_RES_OK);
  }
  void committed(const FakeKernel& kernel, std::uint32_t tag, std::int32_t result) {
    // Nobody hears what a dead server commits.
    if (is_dead_) return;
    Io& io = ios_[tag];
    if (!io.is_in_flight) {
      ++wrong_;
      return;
    }
    io.is_in_flight = false;
    ++ended_;
    const bool has_data = io.op == UBLK_IO_OP_READ || io.op == UBLK_IO_OP_WRITE;
    if (result == -ETIMEDOUT) {
      ++timed_out_;
      // The store did not execute the I/O, except for an earlier server.
      if (io.issues > 1 && io.op != UBLK_IO_OP_READ) execute(io, tag, kernel);
      return;
    }
    if (result != (has_data ? static_cast<std::int32_t>(io.count * 512) : 0)) ++wrong_;
    execute(io, tag, kernel);
  }
  void execute(const Io& io, std::uint32_t tag, const FakeKernel& kernel) {
    for (std::uint32_t i = io.first; i != io.first + io.count; ++i) {
      std::uint8_t& expected = model_[tag][i];
      if (io.op == UBLK_IO_OP_WRITE) expected = io.fill;
      if (io.op == UBLK_IO_OP_WRITE_ZEROES) expected = 0;
      if (io.op != UBLK_IO_OP_READ) continue;
      const std::byte* const sector = kernel.buffer(tag) + (i - io.first) * 512U;
      const auto is_expected = [&](std::byte byte) { return byte == std::byte{expected}; };
      if (!std::all_of(sector, sector + 512, is_expected)) ++wrong_;
    }
  }

  std::mt19937_64 dice_;
  std::uint32_t queue_;
  std::array<Io, tags> ios_{};
  std::array<std::array<std::uint8_t, zone_sectors>, tags> model_{};
  bool is_dead_ = false;
  std::uint64_t wrong_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t reissued_ = 0;
  std::uint64_t timed_out_ = 0;
};

// Goal: whatever tags the kernel sends, whatever ids the store's device sends, and whenever the
// server is killed, each I/O of the kernel ends once, with its data.
//
// Method: two queues, each on a thread, on a store whose device is a third one. The kernel sends
// tags that are in use and tags that do not exist, among good ones. Two servers are killed with
// I/Os in flight, each of which the next server gets again; the third one is stopped. Some seeds
// have a time limit that I/Os miss. The seeds choose what kernel and device do; the order of the
// threads is the machine's. BLKOWN_TEST_SCALE multiplies the number of seeds.
TEST(UblkAdversary, EachIoEndsOnceWithItsData) {
  const char* const scale = std::getenv("BLKOWN_TEST_SCALE");
  const std::uint64_t seeds = 60 * (scale == nullptr ? 1 : std::strtoull(scale, nullptr, 10));
  std::uint64_t reissued = 0;
  std::uint64_t timed_out = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    std::vector<std::byte> medium(SeededKernel::geometry.size_bytes);
    std::array kernels{SeededKernel{seed, 0}, SeededKernel{seed, 1}};
    for (std::uint32_t life = 0; life != 3; ++life) {
      // A timed-out I/O of a killed server may have been executed or not: no limit there.
      const std::uint32_t timeout_ms = seed % 4 == 0 && life == 2 ? 40 : 0;
      Rig rig{2, SeededKernel::tags, SeededKernel::geometry, timeout_ms};
      RandomStore store{seed * 3 + life, medium};
      ASSERT_TRUE(store.attach(rig.context()).has_value());
      std::vector<std::thread> threads;
      for (std::size_t i = 0; i != kernels.size(); ++i) {
        threads.emplace_back(
            [&, i] { kernels[i].serve(*rig.queues[i], rig.tags, store, 100, life != 2); });
      }
      for (std::thread& thread : threads) thread.join();
      store.detach();
      EXPECT_EQ(rig.tags.in_flight(), 0U);
      EXPECT_GT(rig.queues[0]->counters().bad_tags.get(), 0U);
    }
    for (const SeededKernel& kernel : kernels) {
      ASSERT_EQ(kernel.wrong(), 0U) << "seed " << seed;
      reissued += kernel.reissued();
      timed_out += kernel.timed_out();
    }
    ASSERT_GE(kernels[0].ended(), 250U);
  }
  EXPECT_GT(reissued, 100U);
  EXPECT_GT(timed_out, 0U);
}

}  // namespace
}  // namespace ublk
