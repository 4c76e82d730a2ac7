// SPDX-License-Identifier: BSL-1.0
//
// The stores of the ublk server, below its queue and a scripted kernel: a file through io_uring,
// and one of which a part is slow.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <expected>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fake_kernel.hpp"
#include "ublk/control.hpp"
#include "ublk/file_store.hpp"
#include "ublk/passthrough_ring.hpp"
#include "ublk/queue_thread.hpp"
#include "ublk/slow_store.hpp"

namespace ublk {
namespace {

constexpr Geometry store_geometry{
    .size_bytes = 1024 * 1024, .block_bytes = 512, .max_io_bytes = 8192, .read_only = false};
constexpr std::uint32_t store_depth = 32;
constexpr std::uint64_t slow_from = 512 * 1024;

/// A queue on a file. `delay_ms` makes its second half slow.
class UblkStores : public testing::Test {
 protected:
  void make(std::uint32_t delay_ms, std::uint32_t timeout_ms) {
    std::string path = testing::TempDir() + "ublk-store-XXXXXX";
    const int fd = mkstemp(path.data());
    ASSERT_EQ(ftruncate(fd, store_geometry.size_bytes), 0);
    ::close(fd);
    auto file = FileStore::File::open(path, false, false);
    ::unlink(path.c_str());
    ASSERT_TRUE(file.has_value()) << file.error();
    const int opened = (*file)->fd();
    store = std::make_unique<FileStore>(std::move(*file));
    if (delay_ms != 0) {
      store = std::make_unique<SlowStore>(std::move(store), opened, slow_from,
                                          std::chrono::milliseconds{delay_ms});
    }
    rig = std::make_unique<Rig>(1, store_depth, store_geometry, timeout_ms);
    ASSERT_TRUE(store->attach(rig->context()).has_value());
    queue().begin(rig->tags, *store, kernel);
  }
  void TearDown() override {
    store->detach();
    EXPECT_EQ(rig->tags.in_flight(), 0U);
  }
  [[nodiscard]] Queue& queue() { return *rig->queues.front(); }

  void send(std::uint32_t tag, std::uint32_t op_flags, std::uint64_t sector,
            std::uint32_t sectors) {
    kernel.describe(tag, op_flags, sector, sectors);
    queue().on_completion(tag, UBLK_IO_RES_OK);
  }
  void fill(std::uint32_t tag, int byte) { std::memset(kernel.buffer(tag), byte, 8192); }
  /// Lets the queue work until there are this many commits.
  void work(std::size_t commits) {
    std::array<pollfd, 2> watched{
        pollfd{.fd = queue().wake_fd(), .events = POLLIN, .revents = 0},
        pollfd{.fd = store->wake_fd(blkown::QueueIndex{}), .events = POLLIN, .revents = 0}};
    queue().poll();
    for (int i = 0; i != 3000 && kernel.commits.size() < commits; ++i) {
      ::poll(watched.data(), watched.size(), 10);
      for (const pollfd& each : watched) {
        std::uint64_t count = 0;
        if (each.revents != 0) static_cast<void>(!::read(each.fd, &count, sizeof(count)));
      }
      queue().poll();
    }
    ASSERT_EQ(kernel.commits.size(), commits);
  }
  /// The bytes of the sectors are all equal to this one.
  void expect_sectors(std::uint64_t sector, std::uint32_t sectors, int byte) {
    const std::uint32_t tag = store_depth - 1;
    fill(tag, 0x5A);
    send(tag, UBLK_IO_OP_READ, sector, sectors);
    work(kernel.commits.size() + 1);
    EXPECT_EQ(kernel.commits.back().result, static_cast<int>(sectors * 512));
    for (std::size_t i = 0; i != sectors * 512U; ++i) {
      ASSERT_EQ(kernel.buffer(tag)[i], static_cast<std::byte>(byte)) << "byte " << i;
    }
  }

  FakeKernel kernel{store_depth};
  std::unique_ptr<Store> store;
  std::unique_ptr<Rig> rig;
};

TEST_F(UblkStores, AFileReadsWhatWasWritten) {
  make(0, 0);
  for (std::uint32_t tag = 0; tag != 20; ++tag) {
    fill(tag, static_cast<int>(tag) + 1);
    const std::uint32_t fua = tag % 2 == 0 ? UBLK_IO_F_FUA : 0;
    send(tag, UBLK_IO_OP_WRITE | fua, tag * 16U, 16);
  }
  work(20);
  for (const FakeKernel::Commit& commit : kernel.commits) EXPECT_EQ(commit.result, 8192);
  for (std::uint32_t tag = 0; tag != 20; ++tag) {
    expect_sectors(tag * 16U, 16, static_cast<int>(tag) + 1);
  }
}

TEST_F(UblkStores, AFileFlushesDiscardsAndWritesZeroes) {
  make(0, 0);
  fill(0, 7);
  send(0, UBLK_IO_OP_WRITE, 16, 16);
  work(1);
  send(1, UBLK_IO_OP_FLUSH, 0, 0);
  send(2, UBLK_IO_OP_DISCARD, 512, 1024);
  send(3, UBLK_IO_OP_WRITE_ZEROES | UBLK_IO_F_NOUNMAP, 24, 1000);
  work(4);
  for (std::size_t i = 1; i != 4; ++i) EXPECT_EQ(kernel.commits[i].result, 0);
  expect_sectors(16, 8, 7);
  expect_sectors(24, 8, 0);
}

TEST_F(UblkStores, AFileThatBecameShorterFailsReadsBehindItsEnd) {
  make(0, 0);
  auto& file = static_cast<FileStore&>(*store).file();
  ASSERT_EQ(ftruncate(file.fd(), 512), 0);
  send(0, UBLK_IO_OP_READ, 0, 16);
  work(1);
  EXPECT_EQ(kernel.commits.at(0).result, -EIO);
  expect_sectors(0, 1, 0);
}

// The kernel executes flushes on threads of its own. Some are still in the line for a thread when
// they are cancelled, and end by that. The result of a cancellation carries the id of its I/O, and
// is none.
TEST_F(UblkStores, ACancelledIoEndsByItsOwnCompletion) {
  make(0, 1);
  for (int round = 0; round != 20; ++round) {
    for (std::uint32_t tag = 0; tag != store_depth; ++tag) {
      send(tag, tag % 4 == 0 ? UBLK_IO_OP_READ : UBLK_IO_OP_FLUSH, 0, 16);
    }
    // Each I/O is cancelled with its submission.
    rig->tags.for_each_in_flight(blkown::QueueIndex{}, [&](const auto& pin, const auto& cookie) {
      store->expire(pin, cookie);
    });
    work(static_cast<std::size_t>(round + 1) * store_depth);
  }
  for (const FakeKernel::Commit& commit : kernel.commits) {
    const std::int32_t good = commit.tag % 4 == 0 ? 8192 : 0;
    EXPECT_TRUE(commit.result == good || commit.result == -ETIMEDOUT) << commit.result;
  }
  EXPECT_GT(queue().counters().timed_out.get(), 0U);
  for (std::size_t i = 0; i != blkown::lookup_reason_count; ++i) {
    EXPECT_EQ(rig->refused.get(static_cast<blkown::LookupReason>(i)), 0U);
  }
}

// The kernel interrupts the thread of an operation that runs when it is cancelled. On some file
// systems the operation then ends with EINTR. Issued again, it could last as long again.
TEST_F(UblkStores, AnIoThatACancellationInterruptsTimesOut) {
  make(0, 1);
  auto& file = static_cast<FileStore&>(*store).file();
  std::size_t commits = 0;
  for (const int result : {-EINTR, -EAGAIN}) {
    send(0, UBLK_IO_OP_READ, 0, 16);
    std::uint64_t value = 0;
    rig->tags.for_each_in_flight(blkown::QueueIndex{}, [&](const auto& pin, const auto& cookie) {
      value = cookie.value;
      store->expire(pin, cookie);
    });
    file.complete(0, std::array{value}, std::array{result});
    work(++commits);
    EXPECT_EQ(kernel.commits.back().result, -ETIMEDOUT);
  }
}

TEST_F(UblkStores, AnIoThatNobodyCancelledIsIssuedAgain) {
  make(0, 1);
  auto& file = static_cast<FileStore&>(*store).file();
  // The tag's I/O before was cancelled.
  send(0, UBLK_IO_OP_FLUSH, 0, 0);
  const auto expire = [&](const auto& pin, const auto& cookie) { store->expire(pin, cookie); };
  rig->tags.for_each_in_flight(blkown::QueueIndex{}, expire);
  work(1);
  send(0, UBLK_IO_OP_READ, 0, 16);
  for (const int result : {-EINTR, -EAGAIN}) {
    std::uint64_t value = 0;
    rig->tags.for_each_in_flight(blkown::QueueIndex{},
                                 [&](const auto&, const auto& cookie) { value = cookie.value; });
    file.complete(0, std::array{value}, std::array{result});
    EXPECT_EQ(kernel.commits.size(), 1U);
  }
  work(2);
  EXPECT_EQ(kernel.commits.back().result, 8192);
}

TEST_F(UblkStores, ASlowIoTimesOutAndItsLateIdIsRefusedWhileOthersGoOn) {
  // The slow half answers when it is told to stop.
  make(600'000, 50);
  fill(0, 9);
  queue().set_now(1000);
  send(0, UBLK_IO_OP_WRITE, slow_from / 512, 16);
  fill(1, 8);
  send(1, UBLK_IO_OP_WRITE, 0, 16);
  work(1);
  EXPECT_EQ(kernel.commits[0].tag, 1U);
  EXPECT_EQ(kernel.commits[0].result, 8192);
  queue().set_now(1051);
  work(2);
  EXPECT_EQ(kernel.commits[1].tag, 0U);
  EXPECT_EQ(kernel.commits[1].result, -ETIMEDOUT);
  // The tag and its buffer are in use again when the device is done with the slow I/O.
  queue().set_now(2000);
  fill(0, 1);
  send(0, UBLK_IO_OP_WRITE, 32, 16);
  work(3);
  store->detach();
  EXPECT_EQ(rig->refused.get(blkown::LookupReason::stale_generation), 1U);
  EXPECT_EQ(kernel.buffer(0)[0], std::byte{1});
}

/// A kernel whose ring refuses commands for lack of memory. Its first I/O is a flush, then it takes
/// all tags back.
class FullKernel final : public KernelQueue {
 public:
  [[nodiscard]] ublksrv_io_desc descriptor(blkown::Tag) const override {
    return {.op_flags = UBLK_IO_OP_FLUSH, .nr_sectors = 0, .start_sector = 0, .addr = 0};
  }
  void fetch(blkown::Tag tag, std::byte*) override { in_ring_.push_back({tag.value, 0}); }
  void commit(blkown::Tag tag, std::int32_t, std::byte*) override {
    in_ring_.push_back({tag.value, UBLK_IO_RES_ABORT});
  }
  [[nodiscard]] int fd() const { return wake_.get(); }
  [[nodiscard]] bool submit() {
    if (!in_ring_.empty() && ++tries_ % 3 != 0) return false;
    for (const auto& command : std::exchange(in_ring_, {})) {
      completed_.push_back(command);
      wake();
    }
    return true;
  }
  [[nodiscard]] std::optional<PassthroughRing::Completion> take() {
    if (completed_.empty()) return std::nullopt;
    const auto completion = completed_.front();
    completed_.pop_front();
    return completion;
  }
  void wake() const {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
  }
  [[nodiscard]] int tries() const { return tries_; }

 private:
  storage::Descriptor wake_{eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)};
  std::vector<PassthroughRing::Completion> in_ring_;
  std::deque<PassthroughRing::Completion> completed_;
  int tries_ = 0;
};

class AtOnceStore final : public Store {
 public:
  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext&) override { return {}; }
  void start(blkown::Owned<Rq> request, blkown::QueueIndex) override {
    std::move(request).end(blkown::Status::ok);
  }
  void expire(const blkown::ARef<Rq>&, const blkown::Cookie&) override {}
};

// Nothing else wakes a queue whose only command is still in its ring.
TEST(UblkQueueThread, CommandsThatTheKernelDidNotTakeAreSentLater) {
  Rig rig{1, 1, store_geometry, 0};
  AtOnceStore store;
  FullKernel kernel;
  auto served = std::async(std::launch::async, [&] {
    rig.queues.front()->begin(rig.tags, store, kernel);
    run_queue(*rig.queues.front(), -1, kernel);
  });
  int woken = 0;
  auto patience = std::chrono::milliseconds{30'000};
  while (served.wait_for(patience) != std::future_status::ready && woken != 9) {
    ++woken;
    kernel.wake();
    patience = std::chrono::milliseconds{100};
  }
  EXPECT_EQ(woken, 0) << "the queue sleeps with a command in its ring";
  EXPECT_EQ(kernel.tries(), 6);
  EXPECT_EQ(rig.queues.front()->counters().ended.get(), 1U);
}

TEST(UblkPassthroughRing, ReportsCommandsThatTheKernelDidNotTake) {
  PassthroughRing ring;
  ASSERT_EQ(ring.open(4), 0);
  const storage::Descriptor kept{dup(ring.fd())};
  const storage::Descriptor none{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  for (const std::uint64_t value : {7U, 8U}) {
    ASSERT_TRUE(ring.add(none.get(), Opcode::fetch, ublksrv_io_cmd{}, value));
  }
  // The kernel refuses the submission as a whole: this is no ring.
  ASSERT_EQ(dup2(none.get(), ring.fd()), ring.fd());
  EXPECT_FALSE(ring.submit());
  ASSERT_EQ(dup2(kept.get(), ring.fd()), ring.fd());
  EXPECT_TRUE(ring.submit());
  for (const std::uint64_t value : {7U, 8U}) EXPECT_EQ(ring.wait().value, value);
}

struct FakeControl {
  [[nodiscard]] int get_info(std::uint32_t, ublksrv_ctrl_dev_info& info) const {
    info.state = state;
    info.ublksrv_pid = pid;
    return info_error;
  }
  [[nodiscard]] int remove(std::uint32_t) {
    ++removed;
    return remove_error;
  }

  std::uint16_t state = UBLK_S_DEV_DEAD;
  int pid = -1;
  int info_error = 0;
  int remove_error = 0;
  int removed = 0;
};

TEST(UblkControl, AStoppedDeviceIsRemovedOnce) {
  FakeControl control;
  EXPECT_EQ(remove_stopped(control, 0, 100), 0);
  EXPECT_EQ(control.removed, 1);
  // The kernel could not start it.
  control.pid = 100;
  EXPECT_EQ(remove_stopped(control, 0, 100), 0);
  EXPECT_EQ(control.removed, 2);
  // Another process was faster, before the question or after it.
  control.remove_error = ENODEV;
  EXPECT_EQ(remove_stopped(control, 0, 100), 0);
  control.info_error = ENODEV;
  EXPECT_EQ(remove_stopped(control, 0, 100), 0);
  EXPECT_EQ(control.removed, 3);
  control.info_error = EPERM;
  EXPECT_EQ(remove_stopped(control, 0, 100), EPERM);
}

// Another process has removed the device, and a third has added a disk that got its id.
TEST(UblkControl, ADiskThatGotTheIdOfAStoppedDeviceIsLeftAlone) {
  for (const auto& [state, pid] :
       {std::pair{UBLK_S_DEV_LIVE, 101}, std::pair{UBLK_S_DEV_QUIESCED, 101},
        std::pair{UBLK_S_DEV_QUIESCED, -1}, std::pair{UBLK_S_DEV_DEAD, 101}}) {
    FakeControl control;
    control.state = static_cast<std::uint16_t>(state);
    control.pid = pid;
    EXPECT_EQ(remove_stopped(control, 0, 100), 0);
    EXPECT_EQ(control.removed, 0);
  }
}

TEST_F(UblkStores, BuffersThatCannotBeRegisteredAreReportedOnceAndServed) {
  constexpr std::size_t bytes = 64 * 1024;
  void* const nothing = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(nothing, MAP_FAILED);
  make(0, 0);
  // Of the regions of a second store, two cannot be registered.
  auto file = FileStore::File::open("/proc/self/exe", true, false);
  ASSERT_TRUE(file.has_value()) << file.error();
  FileStore second{std::move(*file)};
  const blkown::Segment bad{static_cast<std::byte*>(nothing), bytes};
  const std::array regions{rig->regions.front(), bad, bad};
  testing::internal::CaptureStderr();
  EXPECT_TRUE(second.attach({rig->tags, rig->refused, regions}).has_value());
  const std::string printed = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(printed.starts_with("ublk_server: /proc/self/exe: buffers not registered"))
      << printed;
  EXPECT_EQ(std::ranges::count(printed, '\n'), 1) << printed;
  second.detach();
  munmap(nothing, bytes);
}

TEST_F(UblkStores, ASlowIoThatIsInTimeEndsOnce) {
  make(5, 60'000);
  fill(0, 3);
  queue().set_now(1);
  for (std::uint32_t tag = 0; tag != 4; ++tag) {
    fill(tag, 3);
    send(tag, UBLK_IO_OP_WRITE | UBLK_IO_F_FUA, slow_from / 512 + tag * 16U, 16);
  }
  work(4);
  expect_sectors(slow_from / 512 + 48, 16, 3);
}

}  // namespace
}  // namespace ublk
