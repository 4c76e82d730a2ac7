// SPDX-License-Identifier: BSL-1.0
//
// The NBD client on a hostile server, in an order that a seed chooses. The server answers with
// wrong, old, repeated and future cookies, on the other connection, short, late, twice, with giant
// lengths, garbage and broken chunks; it hangs up, stops reading and stops answering, and breaks
// negotiations.
//
// Judge: every bio ends once. A read that ends with ok has the data of the latest write to its
// sectors that ended with ok, or of a later one that failed. The disk can be removed. The server
// does not lie: it never answers a command that is in flight with ok and wrong data, which no
// client could notice.
//
//   BLKOWN_TEST_SCALE   multiplies the number of seeds
//   NBD_SEED            only this one

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client_world.hpp"
#include "nbd_client/disk.hpp"
#include "scripted_server.hpp"

namespace nbd_client {
namespace {

constexpr unsigned slot_count = 6;
constexpr unsigned slot_sectors = 16;
constexpr unsigned steps_of_slot = 6;  // I/Os, one after another
constexpr std::uint32_t timeout_of_hostile_ms = 100;

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_{seed} {}
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(engine_() % limit); }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  std::uint64_t bits() { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

/// What the server does wrong. Several in a row end more and more connections.
enum class Fault : std::uint8_t {
  random_cookie,
  changed_generation,
  old_cookie,
  future_cookie,
  other_connection,
  other_queue,
  other_tag,
  no_queue,
  short_reply,
  late,
  twice,
  giant_length,
  garbage,
  out_of_range,
  overlap,
  missing_part,
  wrong_kind,
  hang_up,
  stuck,
  half_reply,
  no_last_chunk,
  error,
  broken_error,
  deaf,
  pieces,
  count,
};

class HostileServer {
 public:
  HostileServer(NbdWorld& world, Dice& dice) : world_{world}, dice_{dice} {
    fault_one_in_ = 1 + dice.below(12);
    if (dice.one_in(4)) dies_after_ = 1 + dice.below(60);
    greeting_one_in_ = dice.one_in(2) ? 4 : 1000;
    world.server.on_greeting = [this](Peer& peer) { return greet(peer); };
    world.server.on_option = [this](Peer& peer, const nbd::OptionRequest& option) {
      return answer_option(peer, option);
    };
    world.server.on_header = [this](Peer& peer, const nbd::Request& request) {
      answer_early(peer, request);
    };
    world.server.on_request = [this](Peer& peer, const nbd::Request& request) {
      return answer(peer, request);
    };
  }

 private:
  // --- negotiations

  bool greet(Peer& peer) {
    if (dice_.one_in(8)) peer.max_send_bytes = 1 + dice_.below(40);
    if (!dice_.one_in(greeting_one_in_)) return false;
    switch (dice_.below(3)) {
      case 0: peer.hangs_up = true; break;
      case 1: peer.send(random_bytes(64)); break;
      default: break;  // silence
    }
    return true;
  }
  bool answer_option(Peer& peer, const nbd::OptionRequest& option) {
    if (!dice_.one_in(greeting_one_in_)) return false;
    switch (dice_.below(5)) {
      case 0: peer.hangs_up = true; break;
      case 1: peer.send(random_bytes(64)); break;
      case 2:
        ScriptedServer::reply_to_option(peer, option.number, nbd::OptionReply::info, {},
                                        0xFFFF'FFFF);
        break;
      case 3:
        // For structured replies that is the right answer, and must have its effect.
        if (option.number == static_cast<std::uint32_t>(nbd::Option::structured_reply)) {
          peer.has_structured_replies = true;
        }
        ScriptedServer::reply_to_option(peer, option.number, nbd::OptionReply::ack);
        break;
      default: break;
    }
    return true;
  }

  // --- commands

  bool answer(Peer& peer, const nbd::Request& request) {
    if (request.command == nbd::Command::disconnect || peer.hangs_up) return true;
    // Not before a write is carried out that was answered early: that would be a lie.
    const bool is_one_awaited =
        std::ranges::any_of(world_.server.peers, [](const auto& each) { return each->was_asked; });
    if (dies_after_ != 0 && world_.server.seen.size() >= dies_after_ && !is_one_awaited) {
      world_.server.refuses_dials = true;
      for (const auto& each : world_.server.peers) each->hangs_up = true;
      return true;
    }
    const bool is_faulty = dice_.one_in(fault_one_in_);
    if (is_faulty) {
      misbehave(peer, request);
    } else {
      answered_.push_back(request.cookie);
    }
    return is_faulty;
  }

  /// Answers a write whose data has not arrived as a whole.
  void answer_early(Peer& peer, const nbd::Request& request) {
    const bool is_late = request.command != nbd::Command::write ||
                         peer.in.size() >= sizeof(nbd::RequestHeader) + request.length;
    if (is_late || peer.hangs_up || peer.is_deaf || !dice_.one_in(4 * fault_one_in_)) return;
    peer.send(peer.has_structured_replies ? chunk(request.cookie, nbd::ChunkType::none, true)
                                          : simple_reply(request.cookie, 0));
  }

  void misbehave(Peer& peer, const nbd::Request& request) {
    const std::uint64_t right = request.cookie;
    constexpr std::uint64_t generation = std::uint64_t{1} << 32;
    switch (static_cast<Fault>(dice_.below(static_cast<std::uint32_t>(Fault::count)))) {
      case Fault::random_cookie: return lie(peer, request, dice_.bits());
      case Fault::changed_generation:
        return lie(peer, request,
                   right ^ generation << dice_.below(blkown::CookieLayout::widest_generation_bits));
      case Fault::old_cookie:
        if (answered_.empty()) return lie(peer, request, ~std::uint64_t{0});
        return lie(peer, request,
                   answered_[dice_.below(static_cast<std::uint32_t>(answered_.size()))]);
      case Fault::future_cookie:
        return lie(peer, request, right + generation * (1 + dice_.below(3)));
      case Fault::other_queue: return lie(peer, request, right ^ 0x1'0000);
      case Fault::other_tag: return lie(peer, request, right | 0xFF00);
      case Fault::no_queue: return lie(peer, request, right | 0xFFFF'0000);
      case Fault::other_connection: return answer_elsewhere(peer, request);
      case Fault::short_reply: return send_part(peer, request, true);
      case Fault::half_reply: return send_part(peer, request, false);
      case Fault::late: {
        const std::uint64_t delay_ns = dice_.below(3 * timeout_of_hostile_ms) * ns_per_ms;
        return peer.send_late(world_.now_ns + delay_ns, world_.server.right_answer(peer, request));
      }
      case Fault::twice:
        peer.send(world_.server.right_answer(peer, request));
        return lie(peer, request, right);
      case Fault::garbage: return peer.send(random_bytes(1 + dice_.below(100)));
      case Fault::hang_up: peer.hangs_up = true; return;
      case Fault::stuck: return;
      case Fault::deaf: peer.is_deaf = true; return;
      case Fault::error: return send_error(peer, request);
      case Fault::wrong_kind: return send_wrong_kind(peer, request);
      default: return break_chunks(peer, request);
    }
  }

  /// A reply to something that is not in flight, with poison. Behind a cookie of an old command the
  /// reply must not be the first one to the present command of the tag.
  void lie(Peer& peer, const nbd::Request& request, std::uint64_t cookie) {
    const bool is_read = request.command == nbd::Command::read;
    const Bytes data(is_read ? request.length : 0, poison);
    if (!peer.has_structured_replies) return peer.send(simple_reply(cookie, 0, data));
    if (is_read) return peer.send(data_chunk(cookie, request.offset, data, true));
    peer.send(chunk(cookie, nbd::ChunkType::none, true));
  }
  void answer_elsewhere(Peer& peer, const nbd::Request& request) {
    for (const auto& other : world_.server.peers) {
      if (other.get() != &peer && other->phase == Peer::Phase::commands) {
        lie(*other, request, request.cookie);
      }
    }
  }
  void send_part(Peer& peer, const nbd::Request& request, bool hangs_up) {
    Bytes bytes = world_.server.right_answer(peer, request);
    bytes.resize(dice_.below(static_cast<std::uint32_t>(bytes.size())));
    peer.send(bytes);
    peer.hangs_up = hangs_up;
    peer.is_mute = true;  // what it would send next would fill the gap
  }
  void send_error(Peer& peer, const nbd::Request& request) {
    constexpr std::array<std::uint32_t, 6> errors{1, 5, 12, 28, 108, 4711};
    const std::uint32_t error = errors[dice_.below(errors.size())];
    peer.send(peer.has_structured_replies ? error_chunk(request.cookie, error, true)
                                          : simple_reply(request.cookie, error));
  }
  void send_wrong_kind(Peer& peer, const nbd::Request& request) {
    const Bytes data(512, poison);
    if (request.command != nbd::Command::read) {
      return peer.send(data_chunk(request.cookie, request.offset, data, true));
    }
    if (!peer.has_structured_replies) {
      return peer.send(data_chunk(request.cookie, request.offset, data, true));
    }
    switch (dice_.below(3)) {
      case 0: return peer.send(simple_reply(request.cookie, 0, data));
      case 1:
        return peer.send(chunk(request.cookie, nbd::ChunkType::block_status, true, Bytes(12)));
      default:
        return peer.send(
            chunk(request.cookie, static_cast<std::uint16_t>(3 + dice_.below(100)), true));
    }
  }

  /// Faults in the chunks of a read. Other commands get a giant length.
  void break_chunks(Peer& peer, const nbd::Request& request) {
    const bool is_read = request.command == nbd::Command::read && peer.has_structured_replies;
    const std::uint64_t cookie = request.cookie;
    if (!is_read) {
      const auto length = static_cast<std::uint32_t>(dice_.bits()) | 0x8000'0000;
      return peer.send(chunk(cookie, static_cast<std::uint16_t>(dice_.below(3)), true, {}, length));
    }
    const std::uint64_t at = request.offset;
    const Bytes bad(request.length, poison);
    const Bytes good = world_.server.data_of(request);
    switch (dice_.below(8)) {
      case 0: return peer.send(data_chunk(cookie, at + 1, bad, true));
      case 1: return peer.send(data_chunk(cookie, dice_.bits(), bad, true));
      case 2:
        peer.send(data_chunk(cookie, at, good, false));
        return peer.send(
            data_chunk(cookie, at + dice_.below(request.length), {bad.data(), 1}, true));
      case 3: return peer.send(data_chunk(cookie, at, std::span{bad}.subspan(1), true));
      case 4: return peer.send(data_chunk(cookie, at, good, false));
      case 5:
        return peer.send(
            hole_chunk(cookie, at, static_cast<std::uint32_t>(dice_.bits()) | 0x100'0000, true));
      case 6:
        return peer.send(chunk(cookie, static_cast<std::uint16_t>(0x8000 + dice_.below(4)), true,
                               random_bytes(dice_.below(12))));
      default: return send_pieces(peer, request, good);
    }
  }
  /// A right reply, in pieces and from its end to its beginning.
  void send_pieces(Peer& peer, const nbd::Request& request, const Bytes& good) {
    std::size_t end = good.size();
    while (end != 0) {
      const std::size_t length = std::min<std::size_t>(end, 1 + dice_.below(3000));
      const std::span piece = std::span{good}.subspan(end - length, length);
      const std::uint64_t offset = request.offset + end - length;
      end -= length;
      const bool is_zero =
          std::ranges::all_of(piece, [](std::byte b) { return b == std::byte{0}; });
      peer.send(
          is_zero ? hole_chunk(request.cookie, offset, static_cast<std::uint32_t>(length), end == 0)
                  : data_chunk(request.cookie, offset, piece, end == 0));
    }
  }

  Bytes random_bytes(std::size_t length) {
    Bytes bytes(length);
    for (std::byte& each : bytes) each = static_cast<std::byte>(dice_.bits());
    return bytes;
  }

  NbdWorld& world_;
  Dice& dice_;
  std::uint32_t fault_one_in_ = 0;
  std::uint32_t greeting_one_in_ = 0;
  std::size_t dies_after_ = 0;  // 0: it does not
  std::vector<std::uint64_t> answered_;
};

/// One line of I/O, to sectors of its own.
class Slot {
 public:
  Slot(NbdWorld& world, Dice& dice, unsigned index)
      : world_{world}, dice_{dice}, index_{index}, allowed_(slot_sectors, {0}) {}

  void begin() {
    if (steps_ == steps_of_slot) return;
    ++steps_;
    ++begun_;
    first_ = dice_.below(slot_sectors);
    sectors_ = 1 + dice_.below(slot_sectors - first_);
    const std::uint64_t sector = index_ * slot_sectors + first_;
    memory_.assign(sectors_ * 512, poison);
    pieces_.clear();
    for (std::size_t at = 0; at != memory_.size();) {
      const std::size_t length =
          std::min<std::size_t>(memory_.size() - at, 512 * (1 + dice_.below(8)));
      pieces_.push_back({memory_.data() + at, length});
      at += length;
    }
    const mq::OnEnd<mq::Bio> on_end{&Slot::on_end, this};
    const mq::IoFlags flags{.fua = dice_.one_in(4), .preflush = dice_.one_in(8)};
    switch (dice_.below(8)) {
      case 0: bio_.set_flush(on_end); break;
      case 1: bio_.set_discard(sector, memory_.size(), on_end); break;
      case 2: bio_.set_write_zeroes(sector, memory_.size(), on_end, flags); break;
      case 3:
      case 4: bio_.set_read(sector, pieces_, on_end); break;
      default:
        stamp_ = (index_ + 1) * 1000U + steps_;
        fill();
        bio_.set_write(sector, pieces_, on_end, flags);
        break;
    }
    world_.submit(bio_, index_ % world_.driver.connection_count());
  }
  [[nodiscard]] bool is_done() const noexcept {
    return steps_ == steps_of_slot && ended_ == begun_;
  }
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] unsigned good() const noexcept { return good_; }

 private:
  static void on_end(void* self, mq::Bio&) { static_cast<Slot*>(self)->end(); }
  void end() {
    if (++ended_ != begun_) problem_ += " a bio ended twice;";
    const bool is_good = bio_.status() == Status::ok;
    if (is_good) ++good_;
    if (bio_.op() == mq::Op::write) note_write(stamp_, is_good);
    if (bio_.op() == mq::Op::write_zeroes || bio_.op() == mq::Op::discard) note_write(0, is_good);
    if (bio_.op() == mq::Op::read && is_good) judge();
    begin();
  }
  void fill() {
    for (std::size_t at = 0; at != memory_.size(); at += sizeof(stamp_)) {
      std::memcpy(memory_.data() + at, &stamp_, sizeof(stamp_));
    }
  }
  void note_write(std::uint64_t stamp, bool is_good) {
    for (unsigned i = 0; i != sectors_; ++i) {
      auto& stamps = allowed_[first_ + i];
      if (is_good) stamps.clear();
      stamps.push_back(stamp);
    }
  }
  void judge() {
    for (unsigned i = 0; i != sectors_; ++i) {
      std::uint64_t found = 0;
      std::memcpy(&found, memory_.data() + i * 512, sizeof(found));
      bool is_right = std::ranges::count(allowed_[first_ + i], found) != 0;
      for (std::size_t at = 0; at != 512; at += sizeof(found)) {
        is_right = is_right && std::memcmp(memory_.data() + i * 512 + at, &found, 8) == 0;
      }
      if (!is_right) problem_ += " wrong data " + std::to_string(found) + ";";
    }
  }

  NbdWorld& world_;
  Dice& dice_;
  unsigned index_;
  unsigned steps_ = 0;
  unsigned begun_ = 0;
  unsigned ended_ = 0;
  unsigned good_ = 0;
  unsigned first_ = 0;  // sector in the slot
  unsigned sectors_ = 0;
  std::uint64_t stamp_ = 0;
  Bytes memory_;
  std::vector<blkown::Segment> pieces_;
  mq::Bio bio_;
  std::vector<std::vector<std::uint64_t>> allowed_;  // the stamps that a sector may have
  std::string problem_;
};

struct Totals {
  std::uint64_t ios = 0;
  std::uint64_t good = 0;
  ConnectionCounters connections;
  std::array<std::uint64_t, blkown::lookup_reason_count> refused{};
};

void run_seed(std::uint64_t seed, Totals& totals) {
  Dice dice{seed};
  ServerConfig server;
  server.size_bytes = slot_count * slot_sectors * 512;
  server.has_structured_replies = !dice.one_in(3);
  server.send_buffer_bytes = dice.one_in(2) ? 4608 : 0;
  NbdWorld world{server,
                 {.connections = 1 + dice.below(2),
                  .depth = 4,
                  .timeout_ms = timeout_of_hostile_ms,
                  .connect_ms = 50,
                  .retry_ms = 5,
                  .max_retry_ms = 40,
                  .give_up_ms = 200}};
  const HostileServer hostile{world, dice};
  std::vector<Slot> slots;
  slots.reserve(slot_count);
  for (unsigned i = 0; i != slot_count; ++i) slots.emplace_back(world, dice, i);
  for (Slot& slot : slots) slot.begin();
  const auto is_done = [&] { return std::ranges::all_of(slots, &Slot::is_done); };
  ASSERT_TRUE(world.run_until(is_done)) << "some bio does not end";
  ASSERT_EQ(world.remove(), Status::ok);
  for (const Slot& slot : slots) {
    EXPECT_EQ(slot.problem(), "");
    totals.good += slot.good();
    totals.ios += steps_of_slot;
  }
  EXPECT_EQ(world.disk->counters().in_flight(), 0U);
  const ConnectionCounters counters = world.counters();
  totals.connections.lost += counters.lost;
  totals.connections.violations += counters.violations;
  totals.connections.timeouts += counters.timeouts;
  totals.connections.failed_attempts += counters.failed_attempts;
  for (std::size_t i = 0; i != totals.refused.size(); ++i) {
    totals.refused[i] += world.disk->counters().rejected_lookups[i];
  }
}

[[nodiscard]] std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(NbdClientHostile, NoServerMakesWrongDataOrABioThatDoesNotEnd) {
  const std::uint64_t only = number_of("NBD_SEED", 0);
  const std::uint64_t count = only != 0 ? only : 300 * number_of("BLKOWN_TEST_SCALE", 1);
  Totals totals;
  for (std::uint64_t seed = only != 0 ? only : 1; seed <= count; ++seed) {
    run_seed(seed, totals);
    if (testing::Test::HasFailure()) {
      FAIL() << "seed " << seed;
    }
  }
  if (only != 0) return;
  // The faults have had their effects, and the client has had some success.
  EXPECT_GT(totals.good, totals.ios / 4);
  EXPECT_GT(totals.connections.violations, count / 2);
  EXPECT_GT(totals.connections.timeouts, count / 10);
  EXPECT_GT(totals.connections.failed_attempts, count / 10);
  for (const blkown::LookupReason reason :
       {blkown::LookupReason::no_such_tag, blkown::LookupReason::no_such_queue,
        blkown::LookupReason::wrong_queue, blkown::LookupReason::early,
        blkown::LookupReason::stale_generation}) {
    EXPECT_GT(totals.refused[static_cast<std::size_t>(reason)], 0U) << to_string(reason);
  }
  std::printf("%llu I/Os, %llu ok; %llu connections lost, %llu violations, %llu timeouts\n",
              static_cast<unsigned long long>(totals.ios),
              static_cast<unsigned long long>(totals.good),
              static_cast<unsigned long long>(totals.connections.lost),
              static_cast<unsigned long long>(totals.connections.violations),
              static_cast<unsigned long long>(totals.connections.timeouts));
}

}  // namespace
}  // namespace nbd_client
