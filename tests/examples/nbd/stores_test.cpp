// SPDX-License-Identifier: BSL-1.0
//
// The stores of the NBD server: files through io_uring, with and without the kernel's cache, and a
// disk of the block layer. Each under the same clients.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "nbd_server/memory_disk.hpp"
#include "nbd_server/memory_store.hpp"
#include "nbd_server/mq_store.hpp"
#include "nbd_server/server.hpp"
#include "nbd_server/uring_store.hpp"
#include "peer.hpp"

namespace nbd_server {
namespace {

using nbd::Command;
using nbd::Error;
namespace flag = nbd::command_flag;

constexpr std::uint64_t size_bytes = 8 * 1024 * 1024;
constexpr std::uint32_t block = 4096;

[[nodiscard]] Bytes pattern(std::size_t length, std::uint64_t seed) {
  Bytes bytes(length);
  for (std::size_t i = 0; i != length; ++i)
    bytes[i] = static_cast<std::byte>(i * 13 + seed * 7 + 1);
  return bytes;
}

/// A file that the destructor removes.
class File {
 public:
  explicit File(const std::string& folder = testing::TempDir())
      : path_{folder + "nbd-store-XXXXXX"} {
    const int fd = mkstemp(path_.data());
    if (fd < 0) {
      ADD_FAILURE() << path_ << ": " << std::strerror(errno);
      return;
    }
    EXPECT_EQ(ftruncate(fd, size_bytes), 0);
    ::close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A file in memory is one in /dev/shm.
enum class Kind : std::uint8_t { file, direct, in_memory, disk };

class NbdStores : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override { start(GetParam(), {.threads = 2, .connections = 8, .depth = 64}); }
  void start(Kind kind, const ServerConfig& config) {
    std::unique_ptr<Store> store;
    if (kind == Kind::disk) {
      auto disk = MemoryDisk::create(size_bytes, config.threads);
      ASSERT_TRUE(disk.has_value()) << disk.error();
      disk_ = std::move(*disk);
      store = std::make_unique<MqStore<MemoryDriver, blkown::mq::ThreadRuntime>>(disk_->disk(),
                                                                                 disk_->runtime());
    } else {
      if (kind == Kind::in_memory) in_memory_.emplace("/dev/shm/");
      const File& file = in_memory_ ? *in_memory_ : file_;
      auto opened = UringStore::open(file.path(), false, kind == Kind::direct);
      ASSERT_TRUE(opened.has_value()) << opened.error();
      store = std::move(*opened);
    }
    exports_.emplace_back("store", "", std::move(store), false);
    if (kind == Kind::in_memory) {
      ASSERT_TRUE(exports_.front().info().ends_writes_at_once)
          << "/dev/shm is no tmpfs: the store of a file in memory is not tested";
    }
    auto made = Server::create(config, exports_);
    ASSERT_TRUE(made.has_value()) << made.error();
    server_ = std::move(*made);
  }
  void TearDown() override {
    if (server_ == nullptr) return;
    EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
    EXPECT_EQ(server_->tags().in_flight(), 0U);
    for (std::size_t i = 0; i != blkown::lookup_reason_count; ++i) {
      EXPECT_EQ(server_->refused_lookups().get(static_cast<blkown::LookupReason>(i)), 0U);
    }
  }
  [[nodiscard]] Peer client() {
    Peer peer{*server_};
    EXPECT_TRUE(peer.go("store"));
    return peer;
  }
  /// The error of the next reply.
  [[nodiscard]] static Error error_of_reply(const Peer& peer) {
    const auto reply = peer.reply();
    return reply ? static_cast<Error>(reply->error) : Error::eshutdown;
  }
  [[nodiscard]] static Bytes read(const Peer& peer, std::uint64_t offset, std::uint32_t length) {
    peer.request(Command::read, 99, offset, length);
    auto reply = peer.reply();
    return reply ? std::move(reply->payload) : Bytes{};
  }

  File file_;
  std::optional<File> in_memory_;
  std::unique_ptr<MemoryDisk> disk_;
  Exports exports_;
  std::unique_ptr<Server> server_;
};

TEST_P(NbdStores, ReadsWhatWasWrittenInASlotAndFromTheHeap) {
  const Peer peer = client();
  // The second and the third are longer than a slot of the registered memory.
  for (const std::uint32_t length : {block, 75 * block, 512 * block}) {
    const Bytes data = pattern(length, length);
    peer.write(1, 2 * block, data, length == block ? flag::fua : std::uint16_t{0});
    EXPECT_EQ(error_of_reply(peer), Error::ok);
    EXPECT_EQ(read(peer, 2 * block, length), data);
  }
}

TEST_P(NbdStores, ZeroesAndTrimsReadAsZeroesAndTheRestStays) {
  const Peer peer = client();
  const Bytes data = pattern(64 * block, 5);
  for (const std::uint16_t flags : {std::uint16_t{0}, flag::no_hole, flag::fua, flag::fast_zero}) {
    peer.write(1, 0, data);
    EXPECT_EQ(error_of_reply(peer), Error::ok);
    peer.request(Command::write_zeroes, 2, 16 * block, 16 * block, flags);
    const Error error = error_of_reply(peer);
    if (flags == flag::fast_zero && error == Error::enotsup) continue;
    EXPECT_EQ(error, Error::ok);
    EXPECT_EQ(read(peer, 16 * block, 16 * block), Bytes(16 * block));
    EXPECT_EQ(read(peer, 0, 16 * block), Bytes(data.begin(), data.begin() + 16 * block));
    EXPECT_EQ(read(peer, 32 * block, block),
              Bytes(data.begin() + 32 * block, data.begin() + 33 * block));
  }
  for (const std::uint16_t flags : {std::uint16_t{0}, flag::fua}) {
    peer.request(Command::trim, 3, 32 * block, 16 * block, flags);
    EXPECT_EQ(error_of_reply(peer), Error::ok);
  }
  EXPECT_EQ(read(peer, 48 * block, block),
            Bytes(data.begin() + 48 * block, data.begin() + 49 * block));
}

TEST_P(NbdStores, FlushesAndCaches) {
  const Peer peer = client();
  peer.request(Command::flush, 1, 0, 0);
  EXPECT_EQ(error_of_reply(peer), Error::ok);
  peer.request(Command::cache, 2, 0, 16 * block);
  EXPECT_EQ(error_of_reply(peer), Error::ok);
}

TEST_P(NbdStores, ManyCommandsOfSeveralClientsAtATime) {
  std::vector<Peer> peers;
  for (int i = 0; i != 6; ++i) peers.push_back(client());
  for (std::size_t i = 0; i != peers.size(); ++i) {
    for (std::uint64_t n = 0; n != 64; ++n) {
      peers[i].write(n, (i * 64 + n) * block, pattern(block, i * 64 + n));
    }
  }
  for (const Peer& peer : peers) {
    for (int n = 0; n != 64; ++n) EXPECT_EQ(error_of_reply(peer), Error::ok);
  }
  for (std::size_t i = 0; i != peers.size(); ++i) {
    for (std::uint64_t n = 0; n != 64; ++n) {
      peers[i].request(Command::read, n, (i * 64 + n) * block, block);
    }
  }
  for (std::size_t i = 0; i != peers.size(); ++i) {
    for (int n = 0; n != 64; ++n) {
      const auto reply = peers[i].reply();
      ASSERT_TRUE(reply.has_value());
      EXPECT_EQ(reply->payload, pattern(block, i * 64 + reply->cookie));
    }
  }
}

TEST_P(NbdStores, ClientsThatAreGoneLeaveNothing) {
  for (int round = 0; round != 10; ++round) {
    // The queue of a client that is gone is free when its last request has ended.
    ASSERT_TRUE(eventually([this] { return server_->connections() < 8; }));
    const Peer gone = client();
    for (std::uint64_t i = 0; i != 32; ++i) {
      gone.request(Command::read, i, i * 16 * block, 256 * block);
      gone.write(i, i * 16 * block, pattern(block, i));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Each, NbdStores,
                         testing::Values(Kind::file, Kind::direct, Kind::in_memory, Kind::disk),
                         [](const auto& kind) {
                           return std::string{kind.param == Kind::file        ? "File"
                                              : kind.param == Kind::direct    ? "Direct"
                                              : kind.param == Kind::in_memory ? "InMemory"
                                                                              : "Disk"};
                         });

class NbdUringStore : public NbdStores {
 protected:
  void SetUp() override { start(Kind::file, {}); }
};

TEST_F(NbdUringStore, AFileThatBecameShorterFailsReadsBehindItsEnd) {
  const Peer peer = client();
  ASSERT_EQ(truncate(file_.path().c_str(), 3 * block), 0);
  peer.request(Command::read, 1, 0, 4 * block);
  EXPECT_EQ(error_of_reply(peer), Error::eio);
  EXPECT_EQ(read(peer, 0, 3 * block), Bytes(3 * block));
}

class NbdInMemoryStore : public NbdStores {
 protected:
  void SetUp() override { start(Kind::in_memory, {}); }
};

TEST_F(NbdInMemoryStore, AFileThatBecameShorterFailsReadsBehindItsEnd) {
  const Peer peer = client();
  ASSERT_EQ(truncate(in_memory_->path().c_str(), 3 * block), 0);
  peer.request(Command::read, 1, 0, 4 * block);
  EXPECT_EQ(error_of_reply(peer), Error::eio);
  EXPECT_EQ(read(peer, 0, 3 * block), Bytes(3 * block));
}

TEST_F(NbdUringStore, BlockStatusShowsTheHolesOfTheFile) {
  const Peer peer = client();
  peer.write(1, 1024 * 1024, pattern(64 * 1024, 1));
  EXPECT_EQ(error_of_reply(peer), Error::ok);
  peer.request(Command::block_status, 2, 0, size_bytes);
  const auto reply = peer.reply();
  ASSERT_TRUE(reply.has_value());
  const auto status = nbd::parse_block_status(reply->payload);
  ASSERT_TRUE(status.has_value());
  constexpr std::uint32_t hole = nbd::allocation_flag::hole | nbd::allocation_flag::zero;
  ASSERT_EQ(status->extents.size(), 3U);
  EXPECT_EQ(status->extents[0], (nbd::Extent{1024 * 1024, hole}));
  EXPECT_EQ(status->extents[1].flags, 0U);
  std::uint64_t total = 0;
  for (const nbd::Extent& extent : status->extents) total += extent.length;
  EXPECT_EQ(total, size_bytes);
}

/// A context of the disk's runtime is busy behind the end of a command, as it is in the sink.
TEST(NbdMqStore, AfterAStopNoContextIsAtWorkForTheServer) {
  auto disk = MemoryDisk::create(size_bytes, 1);
  ASSERT_TRUE(disk.has_value()) << disk.error();
  Exports exports;
  exports.emplace_back("store", "",
                       std::make_unique<MqStore<MemoryDriver, blkown::mq::ThreadRuntime>>(
                           (*disk)->disk(), (*disk)->runtime()),
                       false);
  auto server = Server::create({}, exports);
  ASSERT_TRUE(server.has_value()) << server.error();
  blkown::mq::Event entered;
  struct Busy {
    blkown::mq::Event& entered;
    std::atomic<bool> has_left{false};
  } busy{entered};
  blkown::mq::Work work{[](void* argument, blkown::mq::Work&) {
                          auto& self = *static_cast<Busy*>(argument);
                          self.entered.set();
                          std::this_thread::sleep_for(std::chrono::milliseconds{50});
                          // Release, for the acquire below: the context is done.
                          self.has_left.store(true, std::memory_order_release);
                        },
                        &busy};
  (*disk)->runtime().context(0).post(work);
  entered.wait();
  (*server)->stop();
  EXPECT_TRUE(busy.has_left.load(std::memory_order_acquire));
  server->reset();
}

TEST(NbdUringStoreOpen, NamesWhatIsWrong) {
  EXPECT_FALSE(UringStore::open("/nonexistent/file", false, false).has_value());
  EXPECT_FALSE(UringStore::open("/dev/null", true, false).has_value());
  const File file;
  ASSERT_EQ(truncate(file.path().c_str(), 1000), 0);
  EXPECT_TRUE(UringStore::open(file.path(), false, false).has_value());
  EXPECT_FALSE(UringStore::open(file.path(), false, true).has_value());
}

TEST(NbdPayload, ASlotIsUsedAgainAndALongPayloadIsNone) {
  PayloadPool pool{2};
  {
    const auto first = pool.take(100);
    const auto second = pool.take(PayloadPool::slot_bytes);
    EXPECT_EQ(pool.free_slots(), 0U);
    const auto third = pool.take(100);
    ASSERT_TRUE(third.has_value());
    const blkown::Segment region = pool.region();
    const std::byte* const heap = third->memory().data;
    EXPECT_TRUE(heap < region.data || heap >= region.end());
  }
  EXPECT_EQ(pool.free_slots(), 2U);
  const auto long_one = pool.take(PayloadPool::slot_bytes + 1);
  EXPECT_EQ(pool.free_slots(), 2U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(long_one->memory().data) % PayloadPool::page_bytes,
            0U);
}

}  // namespace
}  // namespace nbd_server
