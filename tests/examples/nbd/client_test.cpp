// SPDX-License-Identifier: BSL-1.0
//
// Tests of the NBD client on a scripted server: what goes over the wire, the limits of an export,
// lost connections, and each single fault of a server. client_hostile_test.cpp mixes the
// faults.
//
// Method: one thread, with a clock of its own (client_world.hpp).

#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "client_world.hpp"
#include "nbd_client/coverage.hpp"
#include "nbd_client/disk.hpp"
#include "nbd_client/handshake.hpp"
#include "nbd_client/open.hpp"
#include "nbd_client/uri.hpp"
#include "scripted_server.hpp"

namespace nbd_client {
namespace {

namespace flag = nbd::transmission_flag;
using blkown::LookupReason;

constexpr std::uint16_t all_flags = ServerConfig{}.flags;

// --- I/O -----------------------------------------------------------------------------------------

struct Dialect {
  const char* text;
  ServerConfig config;
};
const std::array dialects{
    Dialect{"structured replies", {}},
    Dialect{"simple replies", {.has_structured_replies = false}},
    Dialect{"no option go", {.has_structured_replies = false, .has_go = false}},
    Dialect{"no option at all", {.handshake_flags = 0}},
    Dialect{"zeroes behind the export", {.handshake_flags = 1, .has_go = false}},
};

TEST(NbdClient, EveryDialectOfTheServerWritesAndReads) {
  for (const Dialect& dialect : dialects) {
    SCOPED_TRACE(dialect.text);
    NbdWorld world{dialect.config};
    Bytes data = pattern(8192, 1);
    Bytes back(8192);
    EXPECT_EQ(world.write(16, data), Status::ok);
    EXPECT_EQ(world.read(16, back), Status::ok);
    EXPECT_EQ(back, data);
    EXPECT_EQ(world.counters().failed_attempts, 0U);
    EXPECT_EQ(world.counters().lost, 0U);
  }
}

TEST(NbdClient, EachOperationIsItsCommand) {
  NbdWorld world;
  Bytes data = pattern(4096, 1);
  EXPECT_EQ(world.write(8, data, {.fua = true}), Status::ok);
  mq::Bio flush = mq::Bio::flush({});
  mq::Bio discard = mq::Bio::discard(16, 4096, {});
  mq::Bio zeroes = mq::Bio::write_zeroes(8, 2048, {}, {.fua = true});
  for (mq::Bio* bio : {&flush, &discard, &zeroes}) EXPECT_EQ(world.run(*bio), Status::ok);
  ASSERT_EQ(world.server.seen.size(), 4U);
  const auto expect = [&](std::size_t i, nbd::Command command, std::uint16_t flags,
                          std::uint64_t offset, std::uint32_t length) {
    const nbd::Request& request = world.server.seen[i];
    EXPECT_EQ(request.command, command) << i;
    EXPECT_EQ(request.flags, flags) << i;
    EXPECT_EQ(request.offset, offset) << i;
    EXPECT_EQ(request.length, length) << i;
  };
  expect(0, nbd::Command::write, nbd::command_flag::fua, 4096, 4096);
  expect(1, nbd::Command::flush, 0, 0, 0);
  expect(2, nbd::Command::trim, 0, 8192, 4096);
  expect(3, nbd::Command::write_zeroes, nbd::command_flag::fua, 4096, 2048);
  data.resize(4096);
  Bytes back(4096);
  std::fill_n(data.begin(), 2048, std::byte{0});
  EXPECT_EQ(world.read(8, back), Status::ok);
  EXPECT_EQ(back, data);
}

TEST(NbdClient, AServerWithFuaAndWithoutFlushGetsFuaInEachWrite) {
  NbdWorld world{{.flags = flag::has_flags | flag::send_fua}};
  Bytes data = pattern(512, 1);
  EXPECT_EQ(world.write(0, data), Status::ok);
  ASSERT_EQ(world.server.seen.size(), 1U);
  EXPECT_EQ(world.server.seen[0].flags, nbd::command_flag::fua);
}

TEST(NbdClient, ManyPiecesOfMemoryAreOneCommand) {
  NbdWorld world{{.send_buffer_bytes = 4608}};
  Bytes data = pattern(200 * 512, 1);
  Bytes back(data.size());
  std::vector<blkown::Segment> from;
  std::vector<blkown::Segment> to;
  for (std::size_t i = 0; i != 200; ++i) {
    from.push_back({data.data() + i * 512, 512});
    to.push_back({back.data() + i * 512, 512});
  }
  mq::Bio write = mq::Bio::write(0, from, {});
  mq::Bio read = mq::Bio::read(0, to, {});
  EXPECT_EQ(world.run(write), Status::ok);
  EXPECT_EQ(world.run(read), Status::ok);
  EXPECT_EQ(back, data);
  EXPECT_EQ(world.server.seen.size(), 2U);
}

TEST(NbdClient, AReplyMayComeInSingleBytes) {
  NbdWorld world;
  world.server.on_request = [&](Peer& peer, const nbd::Request&) {
    peer.max_send_bytes = 1;
    return false;
  };
  Bytes data = pattern(1024, 1);
  Bytes back(1024);
  EXPECT_EQ(world.write(0, data), Status::ok);
  EXPECT_EQ(world.read(0, back), Status::ok);
  EXPECT_EQ(back, data);
}

// --- limits
// ---------------------------------------------------------------------------------------

TEST(NbdClientLimits, AServerWithoutMultiConnGetsOneConnection) {
  const auto flags = static_cast<std::uint16_t>(all_flags & ~flag::can_multi_conn);
  NbdWorld one{{.flags = flags}, {.connections = 4, .depth = 8}};
  NbdWorld four{{}, {.connections = 4, .depth = 8}};
  for (NbdWorld* world : {&one, &four}) {
    world->run_until([&] { return world->driver.connection(0).is_up(); });
    while (world->step()) {
    }
  }
  EXPECT_EQ(one.server.peers.size(), 1U);
  EXPECT_EQ(four.server.peers.size(), 4U);
  Bytes data = pattern(512, 1);
  for (std::uint32_t i = 0; i != 4; ++i) {
    mq::Bio bio = mq::Bio::write(i, blkown::Segment{data.data(), data.size()}, {});
    EXPECT_EQ(four.run(bio, i), Status::ok);
    EXPECT_EQ(four.server.seen[i].cookie >> 16 & 0xFFFF, i);
  }
}

TEST(NbdClientLimits, AnExportsLimitsAreTheDisks) {
  const mq::DiskConfig disk = disk_config_of({.size_bytes = 1'000'000,
                                              .flags = flag::has_flags | flag::read_only,
                                              .min_bytes = 4096,
                                              .preferred_bytes = 65536,
                                              .max_bytes = 262144});
  EXPECT_EQ(disk.capacity_sectors, 1'000'000 / 4096 * 8U);
  EXPECT_EQ(disk.logical_block_bytes, 4096U);
  EXPECT_EQ(disk.io_min_bytes, 65536U);
  EXPECT_EQ(disk.limits.max_sectors, 512U);
  EXPECT_TRUE(disk.read_only);
  EXPECT_FALSE(disk.write_cache || disk.fua);
  EXPECT_EQ(disk.limits.max_discard_sectors, 0U);
  EXPECT_EQ(disk.limits.max_write_zeroes_sectors, 0U);

  const mq::DiskConfig plain = disk_config_of({.size_bytes = 1 << 20, .flags = all_flags});
  EXPECT_EQ(plain.logical_block_bytes, 512U);
  EXPECT_EQ(plain.limits.max_sectors, 65536U);
  EXPECT_TRUE(plain.write_cache && plain.fua);
  EXPECT_EQ(plain.limits.max_discard_sectors, std::uint64_t{1} << 21);
  EXPECT_EQ(plain.limits.max_write_zeroes_sectors, std::uint64_t{1} << 21);
}

TEST(NbdClientLimits, ASizeAboveTheSignedOnesIsASize) {
  for (const std::uint64_t size_bytes : {~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    const mq::DiskConfig disk = disk_config_of({.size_bytes = size_bytes, .flags = all_flags});
    EXPECT_EQ(disk.capacity_sectors, size_bytes / 512);
    EXPECT_FALSE(mq::detail::check_config(disk).has_value());
  }
}

TEST(NbdClientLimits, NoCommandExceedsTheLargestPayload) {
  const ServerConfig config;
  ExportInfo info = ScriptedServer{config}.info();
  info.min_bytes = 1;
  info.preferred_bytes = 4096;
  info.max_bytes = 8192;
  NbdWorld world{config, {.depth = 8}, info};
  world.server.on_option = [&](Peer& peer, const nbd::OptionRequest& option) {
    if (option.number != static_cast<std::uint32_t>(nbd::Option::go)) return false;
    Bytes sizes;
    append(sizes,
           nbd::InfoBlockSize{.min_bytes = 1U, .preferred_bytes = 4096U, .max_bytes = 8192U});
    ScriptedServer::reply_to_option(peer, option.number, nbd::OptionReply::info, sizes);
    return false;
  };
  Bytes data = pattern(65536, 1);
  EXPECT_EQ(world.write(0, data), Status::ok);
  EXPECT_EQ(world.server.seen.size(), 8U);
  for (const nbd::Request& request : world.server.seen) EXPECT_EQ(request.length, 8192U);
}

// --- negotiation
// ----------------------------------------------------------------------------------

struct BadGreeting {
  const char* text;
  NegotiationError error;
  std::function<void(Peer&)> greet;
};

TEST(NbdClientNegotiation, ABrokenGreetingIsATypedError) {
  const std::array cases{
      BadGreeting{"garbage", NegotiationError::no_nbd_server,
                  [](Peer& peer) { peer.send(Bytes(64, poison)); }},
      BadGreeting{"the old style", NegotiationError::no_nbd_server,
                  [](Peer& peer) {
                    Bytes bytes;
                    append(bytes, nbd::Greeting{.version = 0x0000'4202'8186'1253U});
                    peer.send(bytes);
                  }},
      BadGreeting{"half a greeting", NegotiationError::closed,
                  [](Peer& peer) {
                    peer.send(Bytes(7, poison));
                    peer.hangs_up = true;
                  }},
      BadGreeting{"silence", NegotiationError::timed_out, [](Peer&) {}},
  };
  for (const BadGreeting& bad : cases) {
    SCOPED_TRACE(bad.text);
    NbdWorld world{{}, {.depth = 8, .give_up_ms = 0}};
    // The first dial was made before the greeting is replaced.
    world.run_until([&] { return world.driver.connection(0).is_up(); });
    world.server.on_greeting = [&](Peer& peer) {
      bad.greet(peer);
      return true;
    };
    world.lose_connections();
    EXPECT_TRUE(world.run_until([&] { return world.counters().failed_attempts == 3; }));
    EXPECT_EQ(world.driver.connection(0).last_error(), bad.error);
    Bytes memory(512);
    EXPECT_EQ(world.read(0, memory), Status::offline);
  }
}

struct BadOptionReply {
  const char* text;
  NegotiationError error;
  nbd::Option option;
  std::function<void(Peer&, std::uint32_t)> reply;
};

auto replies(nbd::OptionReply type, const Bytes& data = {},
             std::optional<std::uint32_t> length = {}) {
  return [=](Peer& peer, std::uint32_t option) {
    ScriptedServer::reply_to_option(peer, option, type, data, length);
  };
}

using nbd::Option;
using nbd::OptionReply;

const std::array bad_option_replies{
    BadOptionReply{"TLS", NegotiationError::tls_required, Option::structured_reply,
                   replies(OptionReply::err_tls_reqd)},
    BadOptionReply{"an info for structured replies", NegotiationError::bad_message,
                   Option::structured_reply, replies(OptionReply::info)},
    BadOptionReply{"no such export", NegotiationError::unknown_export, Option::go,
                   replies(OptionReply::err_unknown, Bytes(3, std::byte{'x'}))},
    BadOptionReply{"a policy", NegotiationError::refused, Option::go,
                   replies(OptionReply::err_policy)},
    BadOptionReply{"a server entry", NegotiationError::bad_message, Option::go,
                   replies(OptionReply::server)},
    BadOptionReply{"a giant length", NegotiationError::bad_message, Option::go,
                   replies(OptionReply::info, {}, 0xFFFF'FFFF)},
    BadOptionReply{"an empty info", NegotiationError::bad_message, Option::go,
                   replies(OptionReply::info)},
    BadOptionReply{"no export before the ack", NegotiationError::bad_message, Option::go,
                   replies(OptionReply::ack)},
    BadOptionReply{"another option", NegotiationError::bad_message, Option::go,
                   [](Peer& peer, std::uint32_t) {
                     ScriptedServer::reply_to_option(peer, 99, OptionReply::ack);
                   }},
    BadOptionReply{"garbage", NegotiationError::bad_message, Option::go,
                   [](Peer& peer, std::uint32_t) { peer.send(Bytes(64, poison)); }},
    BadOptionReply{"infos without end", NegotiationError::timed_out, Option::go,
                   [](Peer& peer, std::uint32_t option) {
                     Bytes name;
                     append(name, nbd::Be16{std::uint16_t{1}});
                     for (unsigned i = 0; i != 100; ++i) {
                       ScriptedServer::reply_to_option(peer, option, OptionReply::info, name);
                     }
                   }},
};

TEST(NbdClientNegotiation, ABrokenReplyToAnOptionIsATypedError) {
  for (const BadOptionReply& bad : bad_option_replies) {
    SCOPED_TRACE(bad.text);
    NbdWorld world{{}, {.depth = 8, .give_up_ms = 0}};
    world.server.on_option = [&](Peer& peer, const nbd::OptionRequest& option) {
      if (option.number != static_cast<std::uint32_t>(bad.option)) return false;
      bad.reply(peer, option.number);
      return true;
    };
    EXPECT_TRUE(world.run_until([&] { return world.counters().failed_attempts == 2; }));
    EXPECT_EQ(world.driver.connection(0).last_error(), bad.error);
    Bytes memory(512);
    EXPECT_EQ(world.read(0, memory), Status::offline);
  }
}

TEST(NbdClientNegotiation, TheErrorOfAServerThatClosesBehindItIsKept) {
  using Case = std::pair<OptionReply, NegotiationError>;
  for (const auto& [reply, error] :
       {Case{OptionReply::err_policy, NegotiationError::refused},
        Case{OptionReply::err_unknown, NegotiationError::unknown_export},
        Case{OptionReply::err_tls_reqd, NegotiationError::tls_required},
        Case{OptionReply::err_shutdown, NegotiationError::shutting_down}}) {
    SCOPED_TRACE(to_string(error));
    NbdWorld world{{}, {.depth = 8, .give_up_ms = 0}};
    world.server.on_option = [&](Peer& peer, const nbd::OptionRequest& option) {
      if (option.number != static_cast<std::uint32_t>(Option::go)) return false;
      ScriptedServer::reply_to_option(peer, option.number, reply);
      peer.hangs_up = true;
      return true;
    };
    EXPECT_TRUE(world.run_until([&] { return world.counters().failed_attempts == 2; }));
    EXPECT_EQ(world.driver.connection(0).last_error(), error);
  }
}

TEST(NbdClientNegotiation, AnExportThatIsNotUsedIsClosedWithDisconnect) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  const Socket server{fds[1]};
  Bytes received(100);
  {
    OpenedExport opened;
    opened.socket = Socket{fds[0]};
    // Of an object that was moved from, nothing is left to close.
    const OpenedExport moved{std::move(opened)};
  }
  received.resize(static_cast<std::size_t>(
      std::max<ssize_t>(0, ::recv(server.fd(), received.data(), received.size(), 0))));
  const auto request = nbd::parse_request(received);
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->command, nbd::Command::disconnect);
  EXPECT_EQ(::recv(server.fd(), received.data(), received.size(), 0), 0);
}

TEST(NbdClientNegotiation, AServerThatNeverStopsSendingDoesNotKeepTheLoop) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  const Socket client{fds[0]};
  Peer peer{Socket{fds[1]}};
  Bytes name;
  append(name, nbd::Be16{std::uint16_t{1}});
  append(peer.out, nbd::Greeting{.flags = 3U});
  ScriptedServer::reply_to_option(peer, static_cast<std::uint32_t>(Option::structured_reply),
                                  OptionReply::ack);
  for (unsigned i = 0; i != 1000; ++i) {
    ScriptedServer::reply_to_option(peer, static_cast<std::uint32_t>(Option::go), OptionReply::info,
                                    name);
  }
  ASSERT_EQ(::send(fds[1], peer.out.data(), peer.out.size(), 0),
            static_cast<ssize_t>(peer.out.size()));
  Negotiation negotiation{""};
  EXPECT_FALSE(negotiation.advance(client.fd()));
  int left_bytes = 0;
  ASSERT_EQ(::ioctl(client.fd(), FIONREAD, &left_bytes), 0);
  EXPECT_GT(left_bytes, 20'000);
}

// --- lost connections
// -----------------------------------------------------------------------------

/// Bios that write one block each.
struct Writes {
  explicit Writes(std::size_t count) : data(count), bios(count) {
    for (std::size_t i = 0; i != count; ++i) {
      data[i] = pattern(512, static_cast<unsigned>(i + 1));
      bios[i].set_write(i, blkown::Segment{data[i].data(), data[i].size()}, {});
    }
  }
  [[nodiscard]] bool have_ended() const {
    return std::ranges::none_of(bios, [](const mq::Bio& bio) { return bio.is_in_flight(); });
  }
  std::vector<Bytes> data;
  std::vector<mq::Bio> bios;
};

TEST(NbdClientReconnect, TheRequestsOfALostConnectionAreIssuedAgainInOrder) {
  NbdWorld world;
  Writes writes{6};
  world.server.on_request = [&](Peer& peer, const nbd::Request&) {
    if (world.server.seen.size() == 6) peer.hangs_up = true;
    return world.server.seen.size() <= 6;
  };
  for (mq::Bio& bio : writes.bios) world.submit(bio);
  ASSERT_TRUE(world.run_until([&] { return writes.have_ended(); }));
  for (const mq::Bio& bio : writes.bios) EXPECT_EQ(bio.status(), Status::ok);
  ASSERT_EQ(world.server.seen.size(), 12U);
  for (std::size_t i = 0; i != 6; ++i) {
    EXPECT_EQ(world.server.seen[i + 6].offset, i * 512);
    EXPECT_NE(world.server.seen[i + 6].cookie, world.server.seen[i].cookie);
  }
  EXPECT_EQ(world.counters().lost, 1U);
  EXPECT_EQ(world.counters().connects, 2U);
}

TEST(NbdClientReconnect, ARequestThatKillsEachConnectionEndsAfterItsTries) {
  NbdWorld world{{}, {.depth = 8, .max_tries = 3}};
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    peer.hangs_up = request.offset == 512;
    return peer.hangs_up;
  };
  Bytes data = pattern(512, 1);
  EXPECT_EQ(world.write(1, data), Status::transport_error);
  EXPECT_EQ(world.server.seen.size(), 3U);
  EXPECT_EQ(world.write(1, data), Status::transport_error) << "each I/O has all of its tries";
  EXPECT_EQ(world.server.seen.size(), 6U);
  EXPECT_EQ(world.write(2, data), Status::ok);
  EXPECT_EQ(world.server.seen.size(), 7U);
}

TEST(NbdClientReconnect, ATimeoutReplacesTheConnectionAndTheLateReplyGoesNowhere) {
  NbdWorld world{{}, {.depth = 8, .timeout_ms = 100}};
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (world.server.seen.size() != 1) return false;
    peer.send_late(world.now_ns + 500 * ns_per_ms, world.server.right_answer(peer, request));
    return true;
  };
  Bytes data = pattern(512, 1);
  Bytes back(512);
  EXPECT_EQ(world.write(0, data), Status::ok);
  EXPECT_EQ(world.counters().timeouts, 1U);
  EXPECT_EQ(world.counters().connects, 2U);
  EXPECT_LT(world.now_ns, 250 * ns_per_ms);
  EXPECT_EQ(world.read(0, back), Status::ok);
  EXPECT_EQ(back, data);
}

TEST(NbdClientReconnect, APauseInTheMiddleOfAReplyIsATimeout) {
  NbdWorld world{{}, {.depth = 8, .timeout_ms = 100}};
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (world.server.seen.size() != 1) return false;
    Bytes bytes = world.server.right_answer(peer, request);
    bytes.resize(bytes.size() - 100);
    peer.send(bytes);
    return true;
  };
  Bytes back(4096, std::byte{1});
  EXPECT_EQ(world.read(0, back), Status::ok);
  EXPECT_EQ(back, Bytes(4096));
  EXPECT_EQ(world.counters().timeouts, 1U);
}

TEST(NbdClientReconnect, AServerThatStopsReadingIsATimeout) {
  NbdWorld world{{.send_buffer_bytes = 4608}, {.depth = 8, .timeout_ms = 100}};
  bool was_deaf = false;
  world.server.on_header = [&](Peer& peer, const nbd::Request&) {
    if (!std::exchange(was_deaf, true)) peer.is_deaf = true;
  };
  Bytes data = pattern(128 * 1024, 1);
  EXPECT_EQ(world.write(0, data), Status::ok);
  EXPECT_EQ(world.counters().timeouts, 1U);
  EXPECT_TRUE(std::ranges::equal(data, std::span{world.server.medium}.first(data.size())));
}

TEST(NbdClientReconnect, WithoutAServerTheIoEndsOfflineUntilThereIsOneAgain) {
  NbdWorld world{{}, {.depth = 8, .give_up_ms = 5'000}};
  Bytes data = pattern(512, 1);
  EXPECT_EQ(world.write(0, data), Status::ok);
  world.server.refuses_dials = true;
  world.lose_connections();
  EXPECT_EQ(world.write(0, data), Status::offline);
  EXPECT_GE(world.now_ns, 5'000 * ns_per_ms);
  EXPECT_EQ(world.write(0, data), Status::offline) << "at once, as long as there is none";
  world.server.refuses_dials = false;
  ASSERT_TRUE(world.run_until([&] { return world.driver.connection(0).is_up(); }));
  EXPECT_EQ(world.write(0, data), Status::ok);
}

TEST(NbdClientReconnect, AnotherExportIsNotTakenForTheOldOne) {
  NbdWorld world{{}, {.depth = 8, .give_up_ms = 1'000}};
  Bytes data = pattern(512, 1);
  EXPECT_EQ(world.write(0, data), Status::ok);
  world.server.config.size_bytes *= 2;
  world.lose_connections();
  EXPECT_EQ(world.write(0, data), Status::offline);
  EXPECT_EQ(world.driver.connection(0).last_error(), NegotiationError::changed);
  // The negotiation was done, so the goodbye is a command.
  EXPECT_GE(world.server.count_of(nbd::Command::disconnect), 1U);
  EXPECT_EQ(world.server.count_of(nbd::Command::write), 1U);
}

TEST(NbdClientReconnect, AServerThatShutsDownIsReplaced) {
  NbdWorld world;
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (world.server.seen.size() != 1) return false;
    peer.send(error_chunk(request.cookie, 108, true));
    return true;
  };
  Bytes data = pattern(512, 1);
  EXPECT_EQ(world.write(0, data), Status::ok);
  EXPECT_EQ(world.counters().connects, 2U);
  EXPECT_EQ(world.counters().violations, 0U);
}

TEST(NbdClientReconnect, AServerThatShutsDownForLongerThanTheTriesIsWaitedFor) {
  NbdWorld world;
  Writes writes{6};
  // More connections than a request has tries. On each, the first command is answered.
  unsigned refusals = 0;
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (refusals == 10) return false;
    if (!peer.hangs_up) {
      ++refusals;
      peer.send(error_chunk(request.cookie, 108, true));
      peer.hangs_up = true;
    }
    return true;
  };
  for (mq::Bio& bio : writes.bios) world.submit(bio);
  ASSERT_TRUE(world.run_until([&] { return writes.have_ended(); }));
  for (const mq::Bio& bio : writes.bios) EXPECT_EQ(bio.status(), Status::ok);
  ASSERT_GE(world.server.seen.size(), 6U);
  for (std::size_t i = 0; i != 6; ++i) {
    EXPECT_EQ(world.server.seen[world.server.seen.size() - 6 + i].offset, i * 512);
  }
  EXPECT_EQ(world.counters().lost, 10U);
  EXPECT_EQ(world.counters().violations, 0U);
}

TEST(NbdClientReconnect, AServerThatShutsDownForEverEndsTheIoOffline) {
  NbdWorld world{{}, {.depth = 8, .give_up_ms = 5'000}};
  bool shuts_down = true;
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (shuts_down) peer.send(error_chunk(request.cookie, 108, true));
    return shuts_down;
  };
  Bytes data = pattern(512, 1);
  EXPECT_EQ(world.write(0, data), Status::offline);
  EXPECT_GE(world.now_ns, 5'000 * ns_per_ms);
  // The time belongs to the request: the next one has all of it.
  world.now_ns += 3'600'000 * ns_per_ms;
  const std::uint64_t later_ns = world.now_ns + 5'000 * ns_per_ms;
  EXPECT_EQ(world.write(0, data), Status::offline);
  EXPECT_GE(world.now_ns, later_ns);
  shuts_down = false;
  EXPECT_EQ(world.write(0, data), Status::ok);
}

TEST(NbdClientReconnect, AShutdownHoursAfterOneThatWasGivenUpIsWaitedFor) {
  NbdWorld world{{}, {.depth = 8, .give_up_ms = 5'000}};
  unsigned refusals = ~0U;
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (refusals == 0) return false;
    --refusals;
    peer.send(error_chunk(request.cookie, 108, true));
    return true;
  };
  Bytes data = pattern(512, 1);
  EXPECT_EQ(world.write(0, data), Status::offline);
  world.now_ns += 3'600'000 * ns_per_ms;
  refusals = 2;
  EXPECT_EQ(world.write(0, data), Status::ok);
  EXPECT_EQ(refusals, 0U);
}

TEST(NbdClientReconnect, ARequestThatMeetsAShutdownAgainAndAgainEndsThoughOthersAreAnswered) {
  NbdWorld world{{}, {.depth = 8, .give_up_ms = 5'000}};
  Writes writes{2};
  std::uint64_t refused_cookie = 0;
  std::uint64_t answered = 0;
  // The first block's write is refused, each time behind the answer to another one.
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (request.offset == 0) {
      refused_cookie = request.cookie;
      return true;
    }
    world.server.answer(peer, request);
    if (refused_cookie != 0) peer.send(error_chunk(refused_cookie, 108, true));
    refused_cookie = 0;
    ++answered;
    return true;
  };
  world.submit(writes.bios[0]);
  const bool has_ended = world.run_until([&] {
    if (!writes.bios[0].is_in_flight()) return true;
    if (!writes.bios[1].is_in_flight()) world.submit(writes.bios[1]);
    return false;
  });
  EXPECT_TRUE(has_ended) << "it is tried for ever";
  world.server.on_request = nullptr;
  ASSERT_TRUE(world.run_until([&] { return writes.have_ended(); }));
  EXPECT_EQ(writes.bios[0].status(), has_ended ? Status::offline : Status::ok);
  EXPECT_EQ(writes.bios[1].status(), Status::ok);
  EXPECT_GE(answered, 5U);
  EXPECT_GE(world.now_ns, 5'000 * ns_per_ms);
  EXPECT_LT(world.counters().connects, 20U) << "there is no pause between two connections";
  // With the request, the pauses are over.
  EXPECT_EQ(world.write(4, writes.data[0]), Status::ok);
  const std::uint64_t now_ns = world.now_ns;
  world.lose_connections();
  EXPECT_EQ(world.write(4, writes.data[0]), Status::ok);
  EXPECT_EQ(world.now_ns, now_ns);
}

TEST(NbdClientReconnect, AServerThatShutsDownInANegotiationIsLeftWithAnAbortAndTriedAgain) {
  for (const nbd::Option option : {nbd::Option::structured_reply, nbd::Option::go}) {
    NbdWorld world;
    Bytes data = pattern(512, 1);
    EXPECT_EQ(world.write(0, data), Status::ok);
    unsigned refusals = 0;
    unsigned aborts = 0;
    world.server.on_option = [&](Peer& peer, const nbd::OptionRequest& request) {
      const auto kind = static_cast<nbd::Option>(request.number);
      if (kind == nbd::Option::abort) ++aborts;
      if (kind != option || refusals == 3) return false;
      ++refusals;
      ScriptedServer::reply_to_option(peer, request.number, nbd::OptionReply::err_shutdown);
      return true;
    };
    world.lose_connections();
    EXPECT_EQ(world.write(0, data), Status::ok);
    EXPECT_EQ(refusals, 3U);
    EXPECT_EQ(aborts, 3U);
    EXPECT_EQ(world.counters().failed_attempts, 3U);
    EXPECT_EQ(world.counters().violations, 0U);
  }
}

TEST(NbdClientReconnect, AStopSaysGoodbyeBehindTheLastReply) {
  NbdWorld world{{}, {.connections = 2, .depth = 8}};
  Writes writes{6};
  ASSERT_TRUE(world.run_until(
      [&] { return world.driver.connection(0).is_up() && world.driver.connection(1).is_up(); }));
  for (mq::Bio& bio : writes.bios) world.submit(bio, 1);
  EXPECT_EQ(world.remove(), Status::ok);
  EXPECT_TRUE(writes.have_ended());
  for (const mq::Bio& bio : writes.bios) EXPECT_EQ(bio.status(), Status::ok);
  EXPECT_EQ(world.server.count_of(nbd::Command::disconnect), 0U);
  world.driver.stop(world);
  while (world.server.pump()) {
  }
  ASSERT_EQ(world.server.seen.size(), 8U);
  EXPECT_EQ(world.server.seen[6].command, nbd::Command::disconnect);
  EXPECT_EQ(world.server.seen[7].command, nbd::Command::disconnect);
}

TEST(NbdClientReconnect, AStopInANegotiationIsAnAbort) {
  NbdWorld world;
  bool was_aborted = false;
  bool is_asked = false;
  world.server.on_option = [&](Peer&, const nbd::OptionRequest& request) {
    is_asked = true;
    if (static_cast<nbd::Option>(request.number) == nbd::Option::abort) was_aborted = true;
    return true;
  };
  ASSERT_TRUE(world.run_until([&] { return is_asked; }));
  EXPECT_EQ(world.remove(), Status::ok);
  world.driver.stop(world);
  while (world.server.pump()) {
  }
  EXPECT_TRUE(was_aborted);
}

TEST(NbdClientReconnect, ARemovalDoesNotWaitForAServer) {
  NbdWorld world;
  world.run_until([&] { return world.driver.connection(0).is_up(); });
  world.server.refuses_dials = true;
  world.lose_connections();
  Writes writes{3};
  EXPECT_TRUE(world.disk->hw_queue(blkown::QueueIndex{0}).is_stopped()) << "nothing is tried";
  for (mq::Bio& bio : writes.bios) world.submit(bio);
  EXPECT_EQ(world.remove(), Status::ok);
  EXPECT_TRUE(writes.have_ended());
  for (const mq::Bio& bio : writes.bios) EXPECT_EQ(bio.status(), Status::offline);
}

// --- wrong cookies
// --------------------------------------------------------------------------------

/// A server that answers the first command with bytes of the test's, and then correctly.
struct WrongCookie {
  const char* text;
  LookupReason reason;
  std::uint64_t (*change)(std::uint64_t right);
};

TEST(NbdClientCookie, ACookieThatIsNotInFlightIsATypedErrorAndEndsTheConnection) {
  const std::array cases{
      WrongCookie{"no such tag", LookupReason::no_such_tag,
                  [](std::uint64_t right) { return right | 0xFFFF; }},
      WrongCookie{"the other connection's", LookupReason::wrong_queue,
                  [](std::uint64_t right) { return right ^ 0x1'0000; }},
      WrongCookie{"no such connection", LookupReason::no_such_queue,
                  [](std::uint64_t right) { return right | 0xFFFF'0000; }},
      WrongCookie{"a command to come", LookupReason::early,
                  [](std::uint64_t right) { return right + (std::uint64_t{1} << 32); }},
      WrongCookie{"an old command", LookupReason::stale_generation,
                  [](std::uint64_t right) { return right - (std::uint64_t{1} << 32); }},
      WrongCookie{"a command that is not in flight", LookupReason::idle,
                  [](std::uint64_t right) { return right ^ 7; }},
  };
  for (const WrongCookie& wrong : cases) {
    SCOPED_TRACE(wrong.text);
    NbdWorld world{{}, {.connections = 2, .depth = 8}};
    world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
      if (world.server.seen.size() != 1) return false;
      peer.send(data_chunk(wrong.change(request.cookie), 0, Bytes(512, poison), true));
      return true;
    };
    Bytes back(512);
    EXPECT_EQ(world.read(0, back), Status::ok);
    EXPECT_EQ(back, Bytes(512));
    EXPECT_EQ(world.refused(wrong.reason) + (wrong.reason == LookupReason::idle
                                                 ? world.refused(LookupReason::stale_generation)
                                                 : 0),
              1U);
    EXPECT_EQ(world.counters().violations, 1U);
    EXPECT_EQ(world.counters().lost, 1U);
  }
}

TEST(NbdClientCookie, ASecondReplyToTheSameCommandEndsTheConnection) {
  NbdWorld world;
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (world.server.seen.size() != 1) return false;
    world.server.answer(peer, request);
    peer.send(data_chunk(request.cookie, 0, Bytes(512, poison), true));
    return true;
  };
  Bytes back(512);
  EXPECT_EQ(world.read(0, back), Status::ok);
  EXPECT_EQ(back, Bytes(512));
  EXPECT_EQ(world.read(1, back), Status::ok);
  EXPECT_EQ(world.counters().violations, 1U);
}

TEST(NbdClientCookie, AReplyToACommandThatIsNotSentAsAWholeIsRefused) {
  NbdWorld world{{.send_buffer_bytes = 4608}};
  bool was_early = false;
  world.server.on_header = [&](Peer& peer, const nbd::Request& request) {
    if (std::exchange(was_early, true)) return;
    peer.is_deaf = true;  // the data stays with the client
    peer.send(chunk(request.cookie, nbd::ChunkType::none, true));
  };
  Bytes data = pattern(128 * 1024, 1);
  EXPECT_EQ(world.write(0, data), Status::ok);
  EXPECT_EQ(world.refused(LookupReason::early) + world.refused(LookupReason::owned), 1U);
  EXPECT_EQ(world.counters().violations, 1U);
  EXPECT_TRUE(std::ranges::equal(data, std::span{world.server.medium}.first(data.size())));
}

// --- chunks
// ---------------------------------------------------------------------------------------

TEST(NbdClientChunks, ChunksInAnyOrderBesideHolesAndOtherRepliesAreOneRead) {
  NbdWorld world;
  Bytes data = pattern(4096, 1);
  std::fill_n(data.begin() + 1000, 500, std::byte{0});
  ASSERT_EQ(world.write(8, data), Status::ok);
  std::vector<std::uint64_t> cookies;
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    cookies.push_back(request.cookie);
    if (cookies.size() != 2) return true;
    const auto part = [&](unsigned of, std::size_t at, std::size_t length, bool is_done) {
      peer.send(data_chunk(cookies[of], 4096 + at, std::span{data}.subspan(at, length), is_done));
    };
    part(0, 1500, 2596, false);
    part(1, 0, 2048, false);
    peer.send(hole_chunk(cookies[0], 4096 + 1000, 500, false));
    part(1, 2048, 2048, true);
    part(0, 0, 1000, false);
    peer.send(chunk(cookies[0], nbd::ChunkType::none, true));
    return true;
  };
  Bytes first(4096, poison);
  Bytes second(4096, poison);
  mq::Bio one = mq::Bio::read(8, blkown::Segment{first.data(), first.size()}, {});
  mq::Bio two = mq::Bio::read(8, blkown::Segment{second.data(), second.size()}, {});
  world.submit(one);
  world.submit(two);
  EXPECT_TRUE(world.run_until([&] { return !one.is_in_flight() && !two.is_in_flight(); }));
  EXPECT_EQ(one.status(), Status::ok);
  EXPECT_EQ(two.status(), Status::ok);
  EXPECT_EQ(first, data);
  EXPECT_EQ(second, data);
  EXPECT_EQ(world.counters().lost, 0U);
}

struct BadChunks {
  const char* text;
  std::function<Bytes(const nbd::Request&)> make;
};

const Bytes bad_block(4096, poison);

Bytes part(const nbd::Request& request, std::uint64_t at, std::size_t length, bool is_done) {
  return data_chunk(request.cookie, at, std::span{bad_block}.first(length), is_done);
}
Bytes both(Bytes one, const Bytes& two) {
  append(one, std::span{two});
  return one;
}

const std::array bad_replies{
    BadChunks{"before the request's range",
              [](const auto& r) { return part(r, r.offset - 1, 4096, true); }},
    BadChunks{"behind the request's range",
              [](const auto& r) { return part(r, r.offset + 1, 4096, true); }},
    BadChunks{"an offset that overflows",
              [](const auto& r) { return part(r, ~std::uint64_t{0} - 100, 4096, true); }},
    BadChunks{"overlapping",
              [](const auto& r) {
                return both(part(r, r.offset, 2049, false), part(r, r.offset + 2048, 2048, true));
              }},
    BadChunks{"the same twice",
              [](const auto& r) {
                return both(part(r, r.offset, 2048, false), part(r, r.offset, 2048, true));
              }},
    BadChunks{"a part is missing", [](const auto& r) { return part(r, r.offset, 4095, true); }},
    BadChunks{"all is missing",
              [](const auto& r) { return chunk(r.cookie, nbd::ChunkType::none, true); }},
    BadChunks{"a hole of nothing",
              [](const auto& r) { return hole_chunk(r.cookie, r.offset, 0, true); }},
    BadChunks{"a giant hole",
              [](const auto& r) { return hole_chunk(r.cookie, r.offset, 0xFFFF'FFFF, true); }},
    BadChunks{"a hole over data",
              [](const auto& r) {
                return both(part(r, r.offset, 4096, false),
                            hole_chunk(r.cookie, r.offset, 4096, true));
              }},
    BadChunks{"a giant length",
              [](const auto& r) {
                return chunk(r.cookie, std::uint16_t{1}, true, Bytes(8), 0xFFFF'FFFF);
              }},
    BadChunks{"no data",
              [](const auto& r) { return chunk(r.cookie, std::uint16_t{1}, true, Bytes(8)); }},
    BadChunks{"nothing, and not the last",
              [](const auto& r) { return chunk(r.cookie, nbd::ChunkType::none, false); }},
    BadChunks{"a block status",
              [](const auto& r) {
                return chunk(r.cookie, nbd::ChunkType::block_status, true, Bytes(12));
              }},
    BadChunks{"an unknown type",
              [](const auto& r) { return chunk(r.cookie, std::uint16_t{77}, true, Bytes(12)); }},
    BadChunks{"an error of nothing", [](const auto& r) { return error_chunk(r.cookie, 0, true); }},
    BadChunks{"an error whose text is longer than itself",
              [](const auto& r) {
                Bytes payload;
                append(payload, nbd::ErrorChunk{5U, std::uint16_t{0xFFFF}});
                return chunk(r.cookie, nbd::ChunkType::error, true, payload);
              }},
    BadChunks{"a giant error",
              [](const auto& r) {
                return chunk(r.cookie, std::uint16_t{0x8001}, true, Bytes(8), 0x7FFF'FFFF);
              }},
    BadChunks{"a simple reply", [](const auto& r) { return simple_reply(r.cookie, 0, bad_block); }},
    BadChunks{"garbage", [](const auto&) { return bad_block; }},
};

/// Each of the replies to a read of 4096 bytes loses the connection, and the next one brings the
/// data.
TEST(NbdClientChunks, AReplyThatTheProtocolDoesNotAllowEndsTheConnection) {
  for (const BadChunks& wrong : bad_replies) {
    SCOPED_TRACE(wrong.text);
    NbdWorld world;
    world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
      if (world.server.seen.size() != 1) return false;
      peer.send(wrong.make(request));
      return true;
    };
    Bytes back(4096, std::byte{1});
    EXPECT_EQ(world.read(8, back), Status::ok);
    EXPECT_EQ(back, Bytes(4096));
    EXPECT_EQ(world.counters().violations, 1U);
  }
}

TEST(NbdClientChunks, DataForAWriteEndsTheConnection) {
  NbdWorld world;
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    if (world.server.seen.size() != 1) return false;
    peer.send(data_chunk(request.cookie, request.offset, Bytes(512, poison), true));
    return true;
  };
  Bytes data = pattern(512, 1);
  const Bytes before = data;
  EXPECT_EQ(world.write(0, data), Status::ok);
  EXPECT_EQ(data, before);
  EXPECT_EQ(world.counters().violations, 1U);
}

/// Has the server answer its first command with a chunk of data, whatever was negotiated.
void answer_first_with_one_chunk(NbdWorld& world, bool is_last) {
  world.server.on_request = [&world, is_last](Peer& peer, const nbd::Request& request) {
    if (world.server.seen.size() != 1) return false;
    peer.send(data_chunk(request.cookie, request.offset, Bytes(512, poison), is_last));
    return true;
  };
}

TEST(NbdClientChunks, AChunkInADialectWithoutThemEndsTheConnection) {
  NbdWorld world{{.has_structured_replies = false}};
  answer_first_with_one_chunk(world, true);
  Bytes back(512);
  EXPECT_EQ(world.read(0, back), Status::ok);
  EXPECT_EQ(back, Bytes(512));
  EXPECT_EQ(world.counters().violations, 1U);
}

TEST(NbdClientChunks, TheFirstErrorOfAReplyIsTheStatus) {
  NbdWorld world;
  world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
    peer.send(data_chunk(request.cookie, request.offset, Bytes(100, std::byte{1}), false));
    peer.send(error_chunk(request.cookie, 28, false));
    peer.send(error_chunk(request.cookie, 5, true));
    return true;
  };
  Bytes back(512);
  EXPECT_EQ(world.read(0, back), Status::no_space);
  EXPECT_EQ(world.counters().lost, 0U);
}

TEST(NbdClientChunks, AReplyWhoseLastChunkNeverComesTimesOut) {
  NbdWorld world{{}, {.depth = 8, .timeout_ms = 100}};
  answer_first_with_one_chunk(world, false);
  Bytes back(512);
  EXPECT_EQ(world.read(0, back), Status::ok);
  EXPECT_EQ(back, Bytes(512));
  EXPECT_EQ(world.counters().timeouts, 1U);
}

TEST(NbdClientErrors, EachErrorOfTheServerIsAStatus) {
  for (const bool is_structured : {true, false}) {
    NbdWorld world{{.has_structured_replies = is_structured}};
    std::uint32_t error = 0;
    world.server.on_request = [&](Peer& peer, const nbd::Request& request) {
      peer.send(is_structured ? error_chunk(request.cookie, error, true)
                              : simple_reply(request.cookie, error));
      return true;
    };
    Bytes back(512);
    for (const auto& [value, status] :
         {std::pair{1U, Status::target_error}, std::pair{5U, Status::io_error},
          std::pair{12U, Status::resource}, std::pair{22U, Status::invalid},
          std::pair{28U, Status::no_space}, std::pair{95U, Status::not_supported},
          std::pair{4711U, Status::invalid}}) {
      error = value;
      EXPECT_EQ(world.read(0, back), status) << value;
    }
    EXPECT_EQ(world.counters().lost, 0U);
  }
}

TEST(NbdClientCoverage, RangesJoinAndDoNotOverlap) {
  Coverage covered;
  EXPECT_TRUE(covered.add(100, 200));
  EXPECT_FALSE(covered.add(199, 201));
  EXPECT_FALSE(covered.add(99, 101));
  EXPECT_FALSE(covered.add(120, 130));
  EXPECT_FALSE(covered.add(0, 300));
  EXPECT_TRUE(covered.add(300, 400));
  EXPECT_TRUE(covered.add(0, 100));
  EXPECT_FALSE(covered.is_whole(400));
  EXPECT_TRUE(covered.add(200, 300));
  EXPECT_TRUE(covered.is_whole(400));
  EXPECT_FALSE(covered.is_whole(399));
  covered.clear();
  EXPECT_FALSE(covered.is_whole(400));
  unsigned count = 0;
  while (covered.add(2 * count, 2 * count + 1)) ++count;
  EXPECT_EQ(count, 1024U) << "a reply in single bytes takes no memory without bound";
}

// --- URIs
// -----------------------------------------------------------------------------------------

TEST(NbdUri, PartsAreFound) {
  const auto tcp = parse_uri("nbd://host:123/a%20b");
  ASSERT_TRUE(tcp.has_value());
  EXPECT_EQ(tcp->host, "host");
  EXPECT_EQ(tcp->port, "123");
  EXPECT_EQ(tcp->export_name, "a b");
  const auto v6 = parse_uri("nbd://[::1]");
  ASSERT_TRUE(v6.has_value());
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->port, "10809");
  EXPECT_EQ(v6->export_name, "");
  const auto local = parse_uri("nbd+unix:///x?socket=run/a%3Fb");
  ASSERT_TRUE(local.has_value());
  EXPECT_TRUE(local->is_unix());
  EXPECT_EQ(local->socket_path, "run/a?b");
  EXPECT_EQ(local->export_name, "x");
}

TEST(NbdUri, WrongOnesAreRefused) {
  for (const char* const text :
       {"", "nbd", "nbd:", "http://host", "nbds://host", "nbd://", "nbd:///x",
        "nbd://host:", "nbd://[::1", "nbd://host/%", "nbd://host/%4", "nbd://host/%zz",
        "nbd://host/%00", "nbd://host?x=1", "nbd+unix:///", "nbd+unix://host/?socket=/x",
        "nbd+unix:///?socket=", "nbd+unix:///?sock=/x"}) {
    EXPECT_FALSE(parse_uri(text).has_value()) << text;
  }
  EXPECT_TRUE(is_uri("nbd://host"));
  EXPECT_TRUE(is_uri("nbd+unix:///?socket=/x"));
  EXPECT_FALSE(is_uri("nbd.img"));
  EXPECT_FALSE(is_uri("/nbd:"));
}

}  // namespace
}  // namespace nbd_client
