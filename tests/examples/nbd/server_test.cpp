// SPDX-License-Identifier: BSL-1.0
//
// The NBD server over a socketpair: what a client is answered, and what is left of a client that
// goes away or does not keep to the protocol.

#include "nbd_server/server.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <future>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "nbd_server/listener.hpp"
#include "nbd_server/memory_store.hpp"
#include "peer.hpp"

namespace nbd_server {
namespace {

using nbd::Command;
using nbd::Error;
namespace flag = nbd::command_flag;

constexpr std::uint64_t size_bytes = 4 * 1024 * 1024;

[[nodiscard]] constexpr std::uint32_t value(Error error) {
  return static_cast<std::uint32_t>(error);
}

[[nodiscard]] Bytes pattern(std::size_t length, unsigned seed) {
  Bytes bytes(length);
  for (std::size_t i = 0; i != length; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
  return bytes;
}

/// A server with the exports "memory", "held" and "read-only".
class NbdServer : public testing::Test {
 protected:
  void start(const ServerConfig& config = {}) {
    auto held = std::make_unique<HeldStore>(size_bytes);
    held_ = held.get();
    exports_.emplace_back("memory", "", std::make_unique<MemoryStore>(size_bytes), false);
    exports_.emplace_back("held", "", std::move(held), false);
    exports_.emplace_back("read-only", "", std::make_unique<MemoryStore>(size_bytes), true);
    using std::chrono::milliseconds;
    exports_.emplace_back("slow", "", std::make_unique<MemoryStore>(size_bytes, milliseconds{1}),
                          false);
    auto made = Server::create(config, exports_);
    ASSERT_TRUE(made.has_value()) << made.error();
    server_ = std::move(*made);
  }
  void TearDown() override {
    if (server_ == nullptr) return;
    EXPECT_TRUE(eventually([this] {
      held_->complete_all();
      return server_->connections() == 0;
    })) << "a connection is left";
    EXPECT_EQ(server_->tags().in_flight(), 0U);
    for (blkown::QueueIndex queue; queue.value != server_->tags().queue_count(); ++queue.value) {
      EXPECT_EQ(server_->tags().taken_count(queue), 0U) << "of queue " << queue.value;
    }
  }

  /// A client that has chosen the export.
  [[nodiscard]] Peer client(std::string_view name, bool structured = true) {
    Peer peer{*server_};
    EXPECT_TRUE(peer.go(name, structured));
    return peer;
  }
  [[nodiscard]] std::uint64_t total(Counter Counters::* counter) const {
    return server_->total(counter);
  }

  Exports exports_;
  HeldStore* held_ = nullptr;
  std::unique_ptr<Server> server_;
};

TEST_F(NbdServer, ReadsWhatWasWritten) {
  start();
  for (const bool structured : {false, true}) {
    const Peer peer = client("memory", structured);
    const Bytes data = pattern(300'000, structured ? 1 : 2);
    peer.write(11, 1000, data);
    auto written = peer.reply();
    ASSERT_TRUE(written.has_value());
    EXPECT_EQ(written->cookie, 11U);
    EXPECT_EQ(written->error, 0U);
    peer.request(Command::read, 12, 1000, 300'000);
    auto read = peer.reply(300'000);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->cookie, 12U);
    EXPECT_EQ(read->payload, data);
  }
  EXPECT_EQ(total(&Counters::read_bytes), 600'000U);
}

TEST_F(NbdServer, ACommandOrABatchOfThemTakesOneWaitOneReceiveAndOneSend) {
  start();
  const Peer peer = client("memory");
  constexpr std::array calls{&Counters::waits, &Counters::receives, &Counters::sends};
  // The last call of what came before may not be counted yet, and the timer wakes the worker.
  constexpr std::uint64_t margin = 5;
  std::array<std::uint64_t, calls.size()> before{};
  const auto note = [&] {
    for (std::size_t i = 0; i != calls.size(); ++i) before[i] = total(calls[i]);
  };
  const auto expect_at_most = [&](std::uint64_t rounds) {
    for (std::size_t i = 0; i != calls.size(); ++i) {
      EXPECT_LE(total(calls[i]) - before[i], rounds + margin) << "of kind " << i;
    }
  };
  constexpr std::uint64_t count = 50;
  note();
  for (std::uint64_t i = 0; i != count; ++i) {
    peer.request(Command::read, i, 0, 512);
    ASSERT_TRUE(peer.reply().has_value());
  }
  expect_at_most(count);
  Bytes batch;
  for (std::uint64_t i = 0; i != 32; ++i) {
    append(batch, nbd::RequestHeader{.flags = 0,
                                     .type = static_cast<std::uint16_t>(Command::read),
                                     .cookie = i,
                                     .offset = 0,
                                     .length = 512});
  }
  note();
  peer.send(batch);
  for (std::uint64_t i = 0; i != 32; ++i) EXPECT_TRUE(peer.reply().has_value());
  expect_at_most(1);
}

TEST_F(NbdServer, WritesLongerThanTheBufferForCommandsAreTakenWhole) {
  start();
  const Peer peer = client("memory");
  // Writes that the buffer for commands takes in part.
  const Bytes data = pattern(40'000, 3);
  Bytes batch;
  for (std::uint64_t i = 0; i != 4; ++i) {
    append(batch, nbd::RequestHeader{.flags = 0,
                                     .type = static_cast<std::uint16_t>(Command::write),
                                     .cookie = i,
                                     .offset = i * data.size(),
                                     .length = static_cast<std::uint32_t>(data.size())});
    batch.insert(batch.end(), data.begin(), data.end());
  }
  peer.send(batch);
  for (std::uint64_t i = 0; i != 4; ++i) {
    const auto written = peer.reply();
    ASSERT_TRUE(written.has_value());
    EXPECT_EQ(written->error, 0U);
  }
  for (std::uint64_t i = 0; i != 4; ++i) {
    peer.request(Command::read, i, i * data.size(), static_cast<std::uint32_t>(data.size()));
    const auto read = peer.reply();
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->payload, data);
  }
}

TEST_F(NbdServer, ReadsOfAStoresOwnMemoryTakeNoneOfTheClients) {
  start({.limits = {.max_in_use_bytes = 64 * 1024}});
  const Peer peer = client("memory");
  const Bytes data = pattern(size_bytes, 1);
  peer.write(0, 0, data);
  ASSERT_TRUE(peer.reply().has_value());
  // The sockets hold a part of one reply.
  constexpr std::uint64_t count = 8;
  for (std::uint64_t i = 0; i != count; ++i) peer.request(Command::read, i, 0, size_bytes);
  EXPECT_TRUE(eventually([this] { return total(&Counters::commands) == 1 + count; }));
  for (std::uint64_t i = 0; i != count; ++i) {
    const auto read = peer.reply();
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->payload, data);
  }
}

TEST_F(NbdServer, AReplyWhoseRangeIsTrimmedWhileItIsSentIsOldOrZero) {
  start();
  const Peer peer = client("memory");
  const Peer other = client("memory");
  const Bytes data(size_bytes, std::byte{0x5A});
  peer.write(0, 0, data);
  ASSERT_TRUE(peer.reply().has_value());
  peer.request(Command::read, 1, 0, size_bytes);
  ASSERT_TRUE(eventually([this] { return total(&Counters::commands) == 2; }));
  other.request(Command::trim, 2, 0, size_bytes);
  ASSERT_TRUE(other.reply().has_value());
  const auto read = peer.reply();
  ASSERT_TRUE(read.has_value());
  ASSERT_EQ(read->payload.size(), size_bytes);
  for (const std::byte each : read->payload) {
    ASSERT_TRUE(each == std::byte{0x5A} || each == std::byte{0});
  }
  peer.request(Command::read, 3, 0, 4096);
  const auto later = peer.reply();
  ASSERT_TRUE(later.has_value());
  EXPECT_EQ(later->payload, Bytes(4096));
}

TEST_F(NbdServer, AReadOfDataAndHolesIsBoth) {
  start();
  const Peer peer = client("memory");
  constexpr std::uint32_t chunk = SparseMemory::chunk_bytes;
  const Bytes data = pattern(chunk, 4);
  peer.write(0, chunk, data);
  ASSERT_TRUE(peer.reply().has_value());
  peer.request(Command::read, 1, 0, 3 * chunk);
  const auto read = peer.reply();
  ASSERT_TRUE(read.has_value());
  Bytes expected(3 * std::size_t{chunk});
  std::ranges::copy(data, expected.begin() + chunk);
  EXPECT_EQ(read->payload, expected);
}

/// Two reads of the first block, to be sent together.
Bytes two_reads() {
  Bytes both;
  for (std::uint64_t i = 0; i != 2; ++i) {
    append(both, nbd::RequestHeader{.flags = 0,
                                    .type = static_cast<std::uint16_t>(Command::read),
                                    .cookie = i,
                                    .offset = 0,
                                    .length = 512});
  }
  return both;
}

TEST_F(NbdServer, OnlySeveralCommandsAtOnceAreFollowedByAPause) {
  start({.limits = {.gather_us = 50}});
  const Peer peer = client("memory");
  for (std::uint64_t i = 0; i != 20; ++i) {
    peer.request(Command::read, i, 0, 512);
    ASSERT_TRUE(peer.reply().has_value());
  }
  EXPECT_EQ(total(&Counters::pauses), 0U);
  const Bytes both = two_reads();
  peer.send(both);
  for (std::uint64_t i = 0; i != 2; ++i) ASSERT_TRUE(peer.reply().has_value());
  EXPECT_TRUE(eventually([this] { return total(&Counters::pauses) == 1; }));
  // A second client of the worker would wait.
  Peer other = client("memory");
  const auto after_batches = [&] {
    for (int batch = 0; batch != 20; ++batch) {
      peer.send(both);
      for (std::uint64_t i = 0; i != 2; ++i) EXPECT_TRUE(peer.reply().has_value());
    }
    // The last batch is followed by a pause before the worker takes the next command, or by none.
    peer.request(Command::read, 0, 0, 512);
    EXPECT_TRUE(peer.reply().has_value());
    return total(&Counters::pauses);
  };
  EXPECT_EQ(after_batches(), 1U);
  other.hang_up();
  ASSERT_TRUE(eventually([this] { return server_->connections() == 1; }));
  EXPECT_GT(after_batches(), 1U);
}

TEST_F(NbdServer, NoPauseDelaysTheReplyToACommandAtAStore) {
  start({.limits = {.gather_us = 50}});
  const Peer peer = client("held");
  const Bytes both = two_reads();
  for (std::uint64_t batch = 1; batch != 10; ++batch) {
    peer.send(both);
    ASSERT_TRUE(held_->await(2 * batch));
  }
  held_->complete_all();
  for (int i = 0; i != 18; ++i) EXPECT_TRUE(peer.reply().has_value());
  EXPECT_EQ(total(&Counters::pauses), 0U);
}

TEST_F(NbdServer, AfterAStopNoThreadOfAStoreIsLeft) {
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, {});
  };
  // With the first thread of a program, ThreadSanitizer starts one of its own that stays.
  std::thread{[] {}}.join();
  const auto before = threads();
  start();
  {
    const Peer peer = client("slow");
    peer.write(1, 0, pattern(5000, 1));
    EXPECT_TRUE(peer.reply().has_value());
  }
  // A thread that has ended a command could still signal its worker, which may be gone.
  server_->stop();
  EXPECT_TRUE(eventually([&] { return threads() <= before; }));
}

TEST_F(NbdServer, ReadsWhatWasWrittenThroughASlowDevice) {
  start();
  const Peer peer = client("slow");
  for (std::uint64_t i = 0; i != 8; ++i) {
    peer.write(i, i * 5000, pattern(5000, static_cast<unsigned>(i)));
  }
  for (std::uint64_t i = 0; i != 8; ++i) ASSERT_TRUE(peer.reply().has_value());
  for (std::uint64_t i = 0; i != 8; ++i) peer.request(Command::read, i, i * 5000, 5000);
  for (std::uint64_t i = 0; i != 8; ++i) {
    const auto reply = peer.reply();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->payload, pattern(5000, static_cast<unsigned>(reply->cookie)));
  }
}

TEST_F(NbdServer, AnswersInTheOrderOfTheDeviceAndWithTheClientsCookies) {
  start();
  const Peer peer = client("held");
  // A client that uses a cookie twice gets two replies with it: the cookie is only data here.
  for (const std::uint64_t cookie : {7U, 8U, 7U}) peer.request(Command::read, cookie, 0, 512);
  ASSERT_TRUE(held_->await(3));
  std::vector<std::uint64_t> order;
  for (int i = 0; i != 3; ++i) {
    i == 0 ? held_->complete_newest() : held_->complete_oldest();
    const auto reply = peer.reply();
    ASSERT_TRUE(reply.has_value());
    order.push_back(reply->cookie);
  }
  EXPECT_EQ(order, (std::vector<std::uint64_t>{7, 7, 8}));
}

TEST_F(NbdServer, RefusesAnIdThatItsDeviceSendsTwiceOrInvents) {
  start();
  const Peer peer = client("held");
  peer.request(Command::read, 1, 0, 512);
  ASSERT_TRUE(held_->await(1));
  const std::uint64_t id = held_->complete_oldest();
  EXPECT_FALSE(held_->send_back(id));
  ASSERT_TRUE(peer.reply().has_value());
  // The client's cookies are no ids.
  EXPECT_FALSE(held_->send_back(1));
  peer.request(Command::read, 2, 0, 512);
  ASSERT_TRUE(held_->await(1));
  EXPECT_FALSE(held_->send_back(id));
  held_->complete_oldest();
  EXPECT_EQ(peer.reply()->cookie, 2U);
}

struct Refused {
  const char* export_name;
  Command command;
  std::uint64_t offset;
  std::uint32_t length;
  std::uint16_t flags;
  Error error;
};
constexpr Refused refused_commands[]{
    {"memory", Command::read, size_bytes, 1, 0, Error::einval},
    {"memory", Command::read, size_bytes - 1, 2, 0, Error::einval},
    {"memory", Command::read, ~std::uint64_t{0}, 512, 0, Error::einval},
    {"memory", Command::read, 0, 0, 0, Error::einval},
    {"memory", Command::read, 0, 512, flag::req_one, Error::einval},
    {"memory", Command::write, size_bytes - 1, 512, 0, Error::enospc},
    {"memory", Command::write, 0, 512, flag::no_hole, Error::einval},
    {"memory", Command::write_zeroes, size_bytes, 512, 0, Error::enospc},
    {"memory", Command::trim, size_bytes, 512, 0, Error::einval},
    {"memory", Command::cache, size_bytes, 512, 0, Error::einval},
    {"memory", Command::block_status, size_bytes, 512, 0, Error::einval},
    {"memory", Command::flush, 1, 0, 0, Error::einval},
    {"memory", static_cast<Command>(99), 0, 512, 0, Error::einval},
    {"read-only", Command::write, 0, 512, 0, Error::eperm},
    {"read-only", Command::write_zeroes, 0, 512, 0, Error::eperm},
    {"read-only", Command::trim, 0, 512, 0, Error::eperm},
};

TEST_F(NbdServer, RefusesCommandsWithTheirErrorAndGoesOn) {
  start();
  for (const bool structured : {true, false}) {
    for (const Refused& wrong : refused_commands) {
      if (!structured && wrong.command == Command::block_status) continue;
      const Peer peer = client(wrong.export_name, structured);
      peer.request(wrong.command, 1, wrong.offset, wrong.length, wrong.flags);
      // The data of a refused write is there all the same, and is not taken for commands.
      if (wrong.command == Command::write) peer.send(Bytes(wrong.length));
      peer.request(Command::read, 2, 0, 512);
      const auto refused = peer.reply();
      ASSERT_TRUE(refused.has_value());
      EXPECT_EQ(refused->error, value(wrong.error)) << static_cast<int>(wrong.command);
      const auto read = peer.reply(512);
      ASSERT_TRUE(read.has_value());
      EXPECT_EQ(read->cookie, 2U);
      EXPECT_EQ(read->payload.size(), 512U);
    }
  }
}

TEST_F(NbdServer, RefusesAReadThatIsTooLongAndClosesOnAWriteThatIsTooLong) {
  ServerConfig config;
  config.limits.max_payload_bytes = 64 * 1024;
  start(config);
  const Peer peer = client("memory");
  peer.request(Command::read, 1, 0, 65537);
  EXPECT_EQ(peer.reply()->error, value(Error::eoverflow));
  // The refused read has no memory, and gives none back.
  peer.request(Command::read, 3, 0, 512);
  ASSERT_TRUE(peer.reply().has_value());
  peer.request(Command::write, 2, 0, 0xffff'ffff);
  EXPECT_TRUE(peer.is_closed());
  EXPECT_EQ(total(&Counters::broken), 1U);
}

TEST_F(NbdServer, BlockStatusShowsWhatIsAllocated) {
  start();
  const Peer peer = client("memory");
  peer.write(1, 128 * 1024, pattern(64 * 1024, 3));
  ASSERT_TRUE(peer.reply().has_value());
  const auto extents = [&](std::uint16_t flags) {
    peer.request(Command::block_status, 2, 0, 1024 * 1024, flags);
    const auto reply = peer.reply();
    const auto status = nbd::parse_block_status(reply->payload);
    EXPECT_EQ(status->context_id, allocation_context_id);
    return status->extents;
  };
  constexpr std::uint32_t hole = nbd::allocation_flag::hole | nbd::allocation_flag::zero;
  EXPECT_EQ(extents(0),
            (std::vector<nbd::Extent>{{128 * 1024, hole}, {64 * 1024, 0}, {832 * 1024, hole}}));
  EXPECT_EQ(extents(flag::req_one), (std::vector<nbd::Extent>{{128 * 1024, hole}}));
  peer.request(Command::trim, 3, 128 * 1024, 64 * 1024);
  ASSERT_TRUE(peer.reply().has_value());
  EXPECT_EQ(extents(0), (std::vector<nbd::Extent>{{1024 * 1024, hole}}));
  peer.request(Command::write_zeroes, 4, 0, 64 * 1024, flag::no_hole);
  ASSERT_TRUE(peer.reply().has_value());
  EXPECT_EQ(extents(flag::req_one), (std::vector<nbd::Extent>{{64 * 1024, 0}}));
}

/// A store whose blocks are longer than a page.
class LargeBlocks final : public Store {
 public:
  [[nodiscard]] StoreInfo info() const override { return {.size = size_bytes, .min_block = 16384}; }
  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext&) override { return {}; }
  void start(blkown::Owned<Rq> request, std::uint32_t) override { std::move(request).end_ok(); }
};

TEST_F(NbdServer, AClientIsToldTheSmallestThePreferredAndTheLargestBlock) {
  exports_.emplace_back("large", "", std::make_unique<LargeBlocks>(), false);
  start();
  for (const auto& [name, min, preferred] :
       {std::tuple{"memory", 1U, 4096U}, std::tuple{"large", 16384U, 16384U}}) {
    const Peer peer{*server_};
    ASSERT_TRUE(peer.greet());
    peer.send_option(nbd::Option::go, Peer::go_data(name));
    std::optional<nbd::InfoReply> sizes;
    for (auto reply = peer.option_reply(); reply && reply->first == nbd::OptionReply::info;
         reply = peer.option_reply()) {
      const auto info = nbd::parse_info_reply(reply->second);
      // The parser refuses sizes that contradict each other.
      ASSERT_TRUE(info.has_value()) << name;
      if (info->type == static_cast<std::uint16_t>(nbd::Info::block_size)) sizes = *info;
    }
    ASSERT_TRUE(sizes.has_value()) << name;
    EXPECT_EQ(sizes->min_bytes, min) << name;
    EXPECT_EQ(sizes->preferred_bytes, preferred) << name;
    EXPECT_EQ(sizes->max_bytes, nbd::default_max_payload_bytes) << name;
  }
}

TEST_F(NbdServer, AFlushCoversWhatWasAnsweredOnAllConnections) {
  start({.threads = 2});
  const Peer writer = client("held");
  const Peer flusher = client("held");
  writer.write(1, 100, Bytes(512, std::byte{9}));
  ASSERT_TRUE(held_->await(1));
  held_->complete_oldest();
  ASSERT_TRUE(writer.reply().has_value());
  EXPECT_EQ(held_->durable(100), std::byte{0});
  flusher.request(Command::flush, 1, 0, 0);
  ASSERT_TRUE(held_->await(1));
  held_->complete_oldest();
  ASSERT_TRUE(flusher.reply().has_value());
  EXPECT_EQ(held_->durable(100), std::byte{9});
  writer.write(2, 200, Bytes(512, std::byte{8}), flag::fua);
  ASSERT_TRUE(held_->await(1));
  held_->complete_oldest();
  ASSERT_TRUE(writer.reply().has_value());
  EXPECT_EQ(held_->durable(200), std::byte{8});
}

TEST_F(NbdServer, ADisconnectWaitsForTheReplies) {
  start();
  for (const bool says_so : {true, false}) {
    const Peer peer = client("held");
    peer.request(Command::read, 1, 0, 4096);
    peer.request(Command::read, 2, 0, 4096);
    if (says_so) {
      peer.request(Command::disconnect, 3, 0, 0);
    } else {
      peer.finish_sending();
    }
    ASSERT_TRUE(held_->await(2));
    held_->complete_newest();
    EXPECT_EQ(peer.reply()->cookie, 2U);
    held_->complete_newest();
    EXPECT_EQ(peer.reply()->cookie, 1U);
    EXPECT_TRUE(peer.is_closed());
  }
  EXPECT_EQ(total(&Counters::dropped), 0U);
  EXPECT_EQ(total(&Counters::hung_up), 0U);
}

TEST_F(NbdServer, AClientThatIsGoneLeavesItsRequestsToTheDevice) {
  start({.connections = 2, .depth = 8});
  {
    const Peer gone = client("held");
    for (std::uint64_t i = 0; i != 8; ++i) gone.request(Command::read, i, i * 512, 512);
    ASSERT_TRUE(held_->await(8));
  }
  ASSERT_TRUE(eventually([this] { return total(&Counters::closed) == 1; }));
  // The device has the memory. Nobody else gets it, nor the queue.
  EXPECT_EQ(server_->tags().in_flight(), 8U);
  EXPECT_EQ(server_->connections(), 1U);
  const Peer other = client("memory");
  other.request(Command::read, 1, 0, 512);
  EXPECT_TRUE(other.reply().has_value());
  const Peer third{*server_};
  EXPECT_TRUE(third.is_closed());
  EXPECT_EQ(server_->turned_away(), 1U);
  held_->complete_all();
  EXPECT_TRUE(eventually([this] { return server_->connections() == 1; }));
  EXPECT_EQ(total(&Counters::dropped), 8U);
  EXPECT_EQ(server_->tags().in_flight(), 0U);
}

TEST_F(NbdServer, WhatAClientHasSentBeforeItWentIsExecuted) {
  for (const bool says_so : {true, false}) {
    exports_.clear();
    start({.connections = 2, .depth = 2});
    {
      const Peer gone = client("held");
      for (unsigned i = 0; i != 8; ++i) gone.write(i, i * 512U, pattern(512, i), flag::fua);
      if (says_so) gone.request(Command::disconnect, 8, 0, 0);
      // The others are in the socket.
      ASSERT_TRUE(held_->await(2));
    }
    ASSERT_TRUE(eventually([this] {
      held_->complete_all();
      return server_->connections() == 0;
    }));
    EXPECT_EQ(total(&Counters::commands), 8U);
    EXPECT_EQ(total(&Counters::dropped), 8U);
    for (unsigned i = 0; i != 8; ++i) EXPECT_EQ(held_->durable(i * 512U), pattern(1, i)[0]);
    server_.reset();
  }
}

TEST_F(NbdServer, TwoHundredClientsDropWith32ReadsInFlightEach) {
  start({.threads = 2, .connections = 200, .depth = 32});
  {
    std::vector<Peer> peers;
    for (int i = 0; i != 200; ++i) peers.push_back(client("held"));
    for (const Peer& peer : peers) {
      for (std::uint64_t cookie = 0; cookie != 32; ++cookie) {
        peer.request(Command::read, cookie, cookie * 4096, 4096);
      }
    }
    ASSERT_TRUE(held_->await(6400));
  }
  // Half of the reads end while connections are being closed, and half when all are.
  for (int i = 0; i != 3200; ++i) held_->complete_newest();
  ASSERT_TRUE(eventually([this] { return total(&Counters::closed) == 200; }));
  held_->complete_all();
  EXPECT_TRUE(eventually([this] { return server_->connections() == 0; }));
  EXPECT_EQ(total(&Counters::commands), 6400U);
  EXPECT_EQ(total(&Counters::dropped), 6400U);
}

TEST_F(NbdServer, AClientThatDoesNotReadStopsNobodyElse) {
  start({.threads = 1, .connections = 4, .depth = 16});
  const Peer stuck = client("memory");
  // More replies than a socket takes, and then more commands than the client has tags.
  for (std::uint64_t i = 0; i != 40; ++i) stuck.request(Command::read, i, 0, 256 * 1024);
  const Peer other = client("memory");
  for (std::uint64_t i = 0; i != 100; ++i) {
    other.request(Command::read, i, 0, 4096);
    ASSERT_TRUE(other.reply().has_value());
  }
  // The client reads after all, and nothing is missing.
  for (std::uint64_t i = 0; i != 40; ++i) {
    const auto reply = stuck.reply();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->cookie, i);
  }
}

TEST_F(NbdServer, CommandsThatWaitForATagOrForMemoryAreNotForgotten) {
  ServerConfig config{.connections = 2, .depth = 4};
  config.limits.max_in_use_bytes = 2 * 4096;
  start(config);
  const Peer peer = client("memory");
  // In one piece, so that no later event of the socket makes the server look again.
  Bytes commands;
  for (std::uint64_t i = 0; i != 100; ++i) {
    append(commands, nbd::RequestHeader{.type = static_cast<std::uint16_t>(Command::read),
                                        .cookie = i,
                                        .length = i % 2 == 0 ? 4096U : 16U});
  }
  peer.send(commands);
  for (std::uint64_t i = 0; i != 100; ++i) {
    const auto reply = peer.reply();
    ASSERT_TRUE(reply.has_value()) << i;
    EXPECT_EQ(reply->cookie, i);
  }
}

TEST_F(NbdServer, AClientHasNoMoreMemoryThanItsLimit) {
  ServerConfig config;
  config.limits.max_in_use_bytes = 2 * 4096;
  start(config);
  const Peer peer = client("held");
  for (std::uint64_t i = 0; i != 6; ++i) peer.request(Command::read, i, 0, 4096);
  for (std::uint64_t i = 0; i != 6; i += 2) {
    ASSERT_TRUE(held_->await(2));
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    EXPECT_EQ(held_->held(), 2U);
    held_->complete_oldest();
    held_->complete_oldest();
    EXPECT_EQ(peer.reply()->cookie, i);
    EXPECT_EQ(peer.reply()->cookie, i + 1);
  }
}

/// The clock of a server's limits, which a test moves, at once or behind the worker's next look.
std::atomic<std::uint64_t> test_clock_ms{0};
std::atomic<std::uint64_t> next_jump_ms{0};
[[nodiscard]] std::uint64_t read_test_clock() noexcept {
  return test_clock_ms.fetch_add(next_jump_ms.exchange(0));
}

TEST_F(NbdServer, AClientThatStandsStillIsClosed) {
  ServerConfig config;
  config.limits.timeout_ms = 100;
  config.limits.clock_ms = &read_test_clock;
  start(config);
  const Peer silent{*server_};
  ASSERT_TRUE(silent.receive<nbd::Greeting>().has_value());
  const Peer half_header = client("memory");
  half_header.send(Bytes(5));
  const Peer half_write = client("memory");
  half_write.request(Command::write, 1, 0, 4096);
  half_write.send(Bytes(100));
  const Peer deaf = client("memory");
  for (std::uint64_t i = 0; i != 32; ++i) deaf.request(Command::read, i, 0, 1024 * 1024);
  // A client that has nothing to say is none of them.
  const Peer idle = client("memory");
  ASSERT_TRUE(eventually([this] {
    test_clock_ms += 50;
    return total(&Counters::timed_out) >= 4;
  }));
  ASSERT_EQ(total(&Counters::timed_out), 4U);
  for (const Peer* peer : {&silent, &half_header, &half_write}) ASSERT_TRUE(peer->is_closed());
  test_clock_ms += 10'000;
  // Behind the next wait the worker looks at the clock and at its clients, and waits again.
  const std::uint64_t waits = total(&Counters::waits);
  EXPECT_TRUE(eventually([&] { return total(&Counters::waits) >= waits + 2; }));
  idle.request(Command::read, 1, 0, 512);
  EXPECT_TRUE(idle.reply().has_value());
  EXPECT_EQ(total(&Counters::timed_out), 4U);
}

TEST_F(NbdServer, GarbageClosesTheConnection) {
  start();
  const Peer flags{*server_};
  ASSERT_TRUE(flags.receive<nbd::Greeting>().has_value());
  flags.send(nbd::Be32{0x8000'0000});
  EXPECT_TRUE(flags.is_closed());
  const Peer option{*server_};
  ASSERT_TRUE(option.greet());
  option.send(pattern(16, 1));
  EXPECT_TRUE(option.is_closed());
  const Peer command = client("memory");
  command.send(pattern(28, 1));
  EXPECT_TRUE(command.is_closed());
  EXPECT_EQ(total(&Counters::broken), 3U);
}

TEST_F(NbdServer, OptionsWhoseRepliesAreNotReadAreNotTaken) {
  start();
  const Peer peer{*server_};
  ASSERT_TRUE(peer.greet());
  fcntl(peer.fd(), F_SETFL, fcntl(peer.fd(), F_GETFL) | O_NONBLOCK);
  Bytes options;
  for (int i = 0; i != 1000; ++i) {
    append(options,
           nbd::OptionHeader{.option = static_cast<std::uint32_t>(nbd::Option::list), .length = 0});
  }
  // The sockets, the staged bytes and the output that may wait are less than a third of it.
  constexpr std::size_t max_bytes = 1024 * 1024;
  std::size_t sent_bytes = 0;
  int idle_rounds = 0;
  while (idle_rounds < 200 && sent_bytes < max_bytes) {
    const ssize_t sent = ::send(peer.fd(), options.data(), options.size(), MSG_NOSIGNAL);
    if (sent > 0) sent_bytes += static_cast<std::size_t>(sent);
    idle_rounds = sent > 0 ? 0 : idle_rounds + 1;
    if (sent <= 0) std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  EXPECT_LT(sent_bytes, max_bytes);
}

TEST_F(NbdServer, AStopAnswersWhatIsInFlightAndRefusesWhatComes) {
  start({.limits = {.stop_ms = 20'000}});
  Peer idle = client("memory");
  const Peer busy = client("held");
  busy.write(0, 0, pattern(4096, 1));
  ASSERT_TRUE(held_->await(1));
  // Joins when a check has failed, too.
  const auto stopping = std::async(std::launch::async, [this] { server_->stop(); });
  // A client that has nothing in flight learns of it by the end of the connection.
  EXPECT_TRUE(idle.is_closed());
  idle.hang_up();
  for (const Command command : {Command::read, Command::write, Command::flush}) {
    const std::uint32_t length = command == Command::flush ? 0 : 512;
    busy.request(command, 1, 0, length);
    if (command == Command::write) busy.send(pattern(length, 2));
    const auto refused = busy.reply();
    ASSERT_TRUE(refused.has_value());
    EXPECT_EQ(refused->error, value(Error::eshutdown));
    EXPECT_EQ(refused->cookie, 1U);
  }
  EXPECT_EQ(held_->held(), 1U);
  held_->complete_all();
  const auto answered = busy.reply();
  ASSERT_TRUE(answered.has_value());
  EXPECT_EQ(answered->error, 0U);
  EXPECT_EQ(answered->cookie, 0U);
  // A client that was refused disconnects. Until then it is answered.
  busy.request(Command::read, 3, 0, 512);
  const auto later = busy.reply();
  ASSERT_TRUE(later.has_value());
  EXPECT_EQ(later->error, value(Error::eshutdown));
  busy.request(Command::disconnect, 2, 0, 0);
  EXPECT_TRUE(busy.is_closed());
  stopping.wait();
  EXPECT_EQ(total(&Counters::dropped), 0U);
  EXPECT_EQ(total(&Counters::hung_up), 0U);
}

// Goal: the time of a stop begins with the stop, whenever the worker last looked at the clock.
// Method: the worker sleeps until the stop wakes it, and the clock jumps behind its look.
TEST_F(NbdServer, AWorkerThatStalledBeforeAStopGivesClientsTheirWholeTime) {
  start({.limits = {.timeout_ms = 0, .stop_ms = 20'000, .clock_ms = &read_test_clock}});
  Peer idle = client("memory");
  const Peer busy = client("held");
  busy.write(0, 0, pattern(4096, 1));
  ASSERT_TRUE(held_->await(1));
  next_jump_ms = 60'000;
  const auto stopping = std::async(std::launch::async, [this] { server_->stop(); });
  EXPECT_TRUE(idle.is_closed());
  idle.hang_up();
  busy.request(Command::read, 1, 0, 512);
  const auto refused = busy.reply();
  EXPECT_TRUE(refused.has_value() && refused->error == value(Error::eshutdown));
  held_->complete_all();
  EXPECT_TRUE(busy.reply().has_value());
  busy.request(Command::disconnect, 2, 0, 0);
  EXPECT_TRUE(busy.is_closed());
  stopping.wait();
  EXPECT_EQ(total(&Counters::hung_up), 0U);
}

// The kernel drops the replies that it has not sent if the client sends to a closed socket.
TEST_F(NbdServer, AStopLosesNoReplyToAClientThatStillSends) {
  start({.limits = {.stop_ms = 20'000}});
  const auto listener = Listener::on_address("127.0.0.1:0");
  ASSERT_TRUE(listener.has_value()) << listener.error();
  Peer peer{*server_, *listener, 4096};
  ASSERT_TRUE(peer.go("memory"));
  Peer idle = client("memory");
  constexpr std::uint64_t count = 6;
  for (std::uint64_t i = 0; i != count; ++i) peer.request(Command::read, i, 0, 32 * 1024);
  // The kernel has all replies, and the client not one.
  ASSERT_TRUE(eventually(
      [this] { return total(&Counters::commands) == count && server_->tags().in_flight() == 0; }));
  const auto stopping = std::async(std::launch::async, [this] { server_->stop(); });
  // The worker shuts its connections down in their order.
  EXPECT_TRUE(idle.is_closed());
  idle.hang_up();
  peer.request(Command::read, count, 0, 512);
  for (std::uint64_t i = 0; i != count; ++i) {
    const auto reply = peer.reply();
    EXPECT_TRUE(reply.has_value() && reply->cookie == i) << "reply " << i;
  }
  std::byte more{};
  EXPECT_EQ(::recv(peer.fd(), &more, 1, 0), 0) << "the end of the stream, and no reset";
  peer.hang_up();
  stopping.wait();
  EXPECT_EQ(total(&Counters::hung_up), 0U);
}

TEST_F(NbdServer, WhatAClientHasSentBeforeItWentIsExecutedDuringAStop) {
  start({.depth = 2, .limits = {.stop_ms = 20'000}});
  {
    const Peer gone = client("held");
    for (unsigned i = 0; i != 8; ++i) gone.write(i, i * 512U, pattern(512, i), flag::fua);
    // The others are in the socket.
    ASSERT_TRUE(held_->await(2));
  }
  // A worker that answers a later client has seen the end of the first.
  static_cast<void>(client("memory"));
  const auto stopping = std::async(std::launch::async, [this] { server_->stop(); });
  while (stopping.wait_for(std::chrono::milliseconds{5}) != std::future_status::ready) {
    held_->complete_all();
  }
  EXPECT_EQ(total(&Counters::refused), 0U);
  for (unsigned i = 0; i != 8; ++i) EXPECT_EQ(held_->durable(i * 512U), pattern(1, i)[0]);
}

TEST_F(NbdServer, AStopDoesNotWaitForAClientForLong) {
  start({.limits = {.stop_ms = 50}});
  const Peer deaf = client("held");
  const Peer half = client("memory");
  half.request(Command::write, 0, 0, 4096);
  deaf.request(Command::read, 0, 0, 4096);
  ASSERT_TRUE(held_->await(1));
  std::thread stopper{[this] { server_->stop(); }};
  EXPECT_TRUE(half.is_closed());
  EXPECT_TRUE(deaf.is_closed());
  held_->complete_all();
  stopper.join();
  EXPECT_EQ(total(&Counters::hung_up), 2U);
}

TEST_F(NbdServer, StopClosesConnectionsAndWaitsForTheDevice) {
  start({.threads = 2, .limits = {.stop_ms = 0}});
  const Peer first = client("held");
  const Peer second = client("held");
  for (std::uint64_t i = 0; i != 4; ++i) {
    first.request(Command::read, i, 0, 4096);
    second.write(i, i * 4096, pattern(4096, 1));
  }
  ASSERT_TRUE(held_->await(8));
  std::atomic<bool> has_stopped{false};
  std::thread stopper{[&] {
    server_->stop();
    has_stopped = true;
  }};
  EXPECT_TRUE(first.is_closed());
  EXPECT_TRUE(second.is_closed());
  EXPECT_FALSE(has_stopped);
  EXPECT_EQ(server_->tags().in_flight(), 8U);
  held_->complete_all();
  stopper.join();
  EXPECT_EQ(server_->tags().in_flight(), 0U);
  EXPECT_EQ(server_->connections(), 0U);
}

}  // namespace
}  // namespace nbd_server
