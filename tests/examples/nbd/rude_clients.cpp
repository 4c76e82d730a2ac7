// SPDX-License-Identifier: BSL-1.0
//
// nbd_rude_clients FIRST COUNT: clients that do not keep to the protocol, one for each seed, on an
// NBD server in this process.
//
// Goal: whatever a client sends and however it goes away, the server answers or closes, nothing is
// left of it, and no other client notices.
//
// Method: a rude client makes the bytes of a whole session, in which some messages have giant
// lengths or belong nowhere, changes some bits, leaves some out or repeats some, and sends them in
// pieces over TCP. It reads what comes, or nothing. Then it closes, resets, only ends its sending,
// or waits until the server has had enough. Sixteen of them are there at a time. A polite client
// writes, reads back and compares all the time. Then servers are stopped among such clients, and a
// polite one that has several reads in flight.
//
// Invariants: the polite client gets the right reply to each command. A stop answers or refuses its
// commands, or ends the stream where a reply ends. At the end the server has no connection, no
// request in flight, no tag taken, and has refused no lookup. With a sanitizer: no report. The exit
// status is 1 if an invariant does not hold.

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "nbd_server/listener.hpp"
#include "nbd_server/memory_store.hpp"
#include "nbd_server/server.hpp"
#include "peer.hpp"

namespace nbd_server {
namespace {

using nbd::Command;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t size_bytes = 8 * 1024 * 1024;

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_{seed} {}
  std::uint64_t below(std::uint64_t end) { return engine_() % end; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  std::uint64_t any() { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

/// The bytes of one client's session.
class Session {
 public:
  explicit Session(Dice& dice) : dice_{dice} {}

  [[nodiscard]] Bytes make() {
    append(bytes_, nbd::Be32{dice_.one_in(20) ? static_cast<std::uint32_t>(dice_.any())
                                              : nbd::client_flag::all});
    const std::string name = dice_.one_in(2) ? "slow" : "memory";
    for (std::uint64_t left = dice_.below(4); left != 0; --left) any_option(name);
    if (dice_.one_in(2)) option(nbd::Option::structured_reply, {});
    option(nbd::Option::go, Peer::go_data(name));
    // A flood is more than a client's tags and the socket together hold.
    const std::uint64_t commands = dice_.one_in(4) ? 2000 : dice_.below(60);
    for (std::uint64_t i = 0; i != commands; ++i) command(i);
    if (dice_.one_in(3)) spoil();
    return std::move(bytes_);
  }

 private:
  void option(nbd::Option number, const Bytes& data) {
    const auto length = static_cast<std::uint32_t>(dice_.one_in(30) ? dice_.any() : data.size());
    append(bytes_,
           nbd::OptionHeader{.option = static_cast<std::uint32_t>(number), .length = length});
    bytes_.insert(bytes_.end(), data.begin(), data.end());
  }
  void any_option(const std::string& name) {
    const std::string_view query[]{nbd::base_allocation};
    switch (dice_.below(6)) {
      case 0: return option(nbd::Option::list, {});
      case 1: return option(nbd::Option::info, Peer::go_data(name));
      case 2: return option(nbd::Option::set_meta_context, Peer::context_data(name, query));
      case 3: return option(static_cast<nbd::Option>(dice_.below(40)), Bytes(dice_.below(50)));
      case 4: return option(nbd::Option::list, Bytes(17'000));
      default: return option(nbd::Option::go, Peer::go_data("nothing"));
    }
  }
  void command(std::uint64_t cookie) {
    auto type = static_cast<Command>(dice_.below(8));
    if (type == Command::disconnect && !dice_.one_in(20)) type = Command::read;
    if (dice_.one_in(50)) type = static_cast<Command>(dice_.any());
    const bool is_giant = dice_.one_in(60);
    const std::uint64_t offset = is_giant ? dice_.any() : dice_.below(size_bytes);
    auto length = static_cast<std::uint32_t>(is_giant ? dice_.any() : dice_.below(20'000));
    if (dice_.one_in(40)) length = 4 * 1024 * 1024;
    const auto flags = static_cast<std::uint16_t>(dice_.one_in(10) ? dice_.any() : 0);
    append(bytes_, nbd::RequestHeader{.flags = flags,
                                      .type = static_cast<std::uint16_t>(type),
                                      .cookie = cookie,
                                      .offset = offset,
                                      .length = length});
    if (type != Command::write) return;
    // Half of a write now and then: what follows is taken for its data.
    const std::size_t data = std::min<std::size_t>(length, 100'000);
    bytes_.resize(bytes_.size() + (dice_.one_in(20) ? data / 2 : data));
  }
  /// Changes bits, and leaves out or repeats pieces.
  void spoil() {
    for (std::uint64_t left = dice_.below(4) + 1; left != 0 && bytes_.size() > 64; --left) {
      const auto at = static_cast<std::ptrdiff_t>(dice_.below(bytes_.size() - 64));
      const auto length = static_cast<std::ptrdiff_t>(dice_.below(64));
      if (dice_.one_in(3)) {
        bytes_.erase(bytes_.begin() + at, bytes_.begin() + at + length);
      } else if (dice_.one_in(2)) {
        const Bytes piece(bytes_.begin() + at, bytes_.begin() + at + length);
        bytes_.insert(bytes_.begin() + at, piece.begin(), piece.end());
      } else {
        bytes_[static_cast<std::size_t>(at)] ^= static_cast<std::byte>(1U << dice_.below(8));
      }
    }
  }

  Dice& dice_;
  Bytes bytes_;
};

/// A client. step() never blocks, so that many are there at a time on one thread.
class RudeClient {
 public:
  RudeClient(std::uint64_t seed, std::uint16_t port) : dice_{seed} {
    bytes_ = Session{dice_}.make();
    if (dice_.one_in(3)) bytes_.resize(dice_.below(bytes_.size()));
    reads_ = !dice_.one_in(3);
    end_ = static_cast<End>(dice_.below(4));
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) close_now();
    if (fd_ >= 0) fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  RudeClient(RudeClient&& other) noexcept
      : dice_{other.dice_},
        bytes_{std::move(other.bytes_)},
        sent_{other.sent_},
        idle_{other.idle_},
        reads_{other.reads_},
        end_{other.end_},
        fd_{std::exchange(other.fd_, -1)} {}
  RudeClient& operator=(RudeClient&&) = delete;
  ~RudeClient() { close_now(); }

  [[nodiscard]] bool is_gone() const { return fd_ < 0; }

  void step() {
    if (reads_ && !drain()) return close_now();
    const std::size_t piece = std::min<std::size_t>(dice_.below(30'000) + 1, bytes_.size() - sent_);
    const ssize_t sent = piece == 0 ? 0 : ::send(fd_, bytes_.data() + sent_, piece, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return close_now();
    if (sent > 0) sent_ += static_cast<std::size_t>(sent);
    idle_ = sent > 0 ? 0 : idle_ + 1;
    // All is sent, or the server takes no more of it.
    if (idle_ > 3) finish();
  }

 private:
  enum class End : std::uint8_t { close, reset, end_of_sending, wait };

  void finish() {
    switch (std::exchange(end_, End::wait)) {
      case End::close: return close_now();
      case End::reset: {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        return close_now();
      }
      case End::end_of_sending: ::shutdown(fd_, SHUT_WR); return;
      case End::wait: {
        // The server closes a client that stands still, and one that has said good-bye.
        pollfd watched{.fd = fd_, .events = static_cast<short>(reads_ ? POLLIN : 0), .revents = 0};
        poll(&watched, 1, 0);
        if ((watched.revents & (POLLHUP | POLLERR)) != 0 || idle_ > 4000) close_now();
      }
    }
  }
  /// Reads what is there. Returns whether the connection is open.
  [[nodiscard]] bool drain() const {
    std::array<std::byte, 65536> sink;
    for (int i = 0; i != 16; ++i) {
      const ssize_t received = ::recv(fd_, sink.data(), sink.size(), 0);
      if (received < 0) return errno == EAGAIN;
      if (received == 0) return false;
    }
    return true;
  }
  void close_now() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

  Dice dice_;
  Bytes bytes_;
  std::size_t sent_ = 0;
  unsigned idle_ = 0;
  bool reads_ = true;
  End end_{};
  int fd_ = -1;
};

/// The time of the server's limits. It stands still while the polite client is in the middle of
/// something: a client that does not get to run for a while is not rude.
class PoliteTime {
 public:
  /// The polite client is in the middle of nothing. Few milliseconds pass, because a worker may
  /// still have the time before, and then read what the client sends.
  static void go_on() noexcept {
    const std::uint64_t before_ms = now_ms_.load();
    now_ms_.store(std::max(before_ms, std::min(before_ms + 100, steady_ms())));
  }
  [[nodiscard]] static std::uint64_t now_ms() noexcept { return now_ms_.load(); }

 private:
  [[nodiscard]] static std::uint64_t steady_ms() noexcept {
    const auto now = Clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  }
  static inline std::atomic<std::uint64_t> now_ms_{steady_ms()};
};

/// The polite client, on a thread of its own. Returns the number of right replies; none if one is
/// wrong.
[[nodiscard]] std::optional<std::uint64_t> be_polite(Peer peer, const std::atomic<bool>& stop) {
  Dice dice{1};
  std::uint64_t replies = 0;
  // Relaxed: nothing but the flag is passed.
  while (!stop.load(std::memory_order_relaxed)) {
    PoliteTime::go_on();
    const std::uint64_t offset = dice.below(size_bytes - 65536);
    Bytes data(dice.below(65536) + 1, static_cast<std::byte>(dice.any()));
    peer.write(replies, offset, data);
    const auto written = peer.reply();
    peer.request(Command::read, replies, offset, static_cast<std::uint32_t>(data.size()));
    const auto read = peer.reply();
    const bool good = written && read && written->cookie == replies && written->error == 0 &&
                      read->cookie == replies && read->payload == data;
    if (!good) return std::nullopt;
    ++replies;
  }
  peer.request(Command::disconnect, 0, 0, 0);
  return peer.is_closed() ? std::optional{replies} : std::nullopt;
}

struct World {
  explicit World(const Limits& limits) {
    using std::chrono::milliseconds;
    exports.emplace_back("memory", "", std::make_unique<MemoryStore>(size_bytes), false);
    exports.emplace_back("slow", "", std::make_unique<MemoryStore>(size_bytes, milliseconds{1}),
                         false);
    exports.emplace_back("polite", "", std::make_unique<MemoryStore>(size_bytes), false);
    ServerConfig config{.threads = 2, .connections = 24, .depth = 16, .payload_slots = 32};
    config.limits = limits;
    config.limits.max_payload_bytes = 8 * 1024 * 1024;
    config.limits.max_in_use_bytes = 8 * 1024 * 1024;
    auto made = Server::create(config, exports);
    if (made) server = std::move(*made);
  }
  Exports exports;
  std::unique_ptr<Server> server;
};

[[nodiscard]] std::uint16_t port_of(const Listener& listener) {
  const std::string uri = listener.uri();
  return static_cast<std::uint16_t>(std::stoi(uri.substr(uri.rfind(':') + 1)));
}

/// Runs the clients of the seeds, sixteen at a time.
void run_clients(Server& server, const Listener& listener, std::uint16_t port, std::uint64_t first,
                 std::uint64_t count) {
  std::vector<RudeClient> clients;
  std::uint64_t next = first;
  while (next != first + count || !clients.empty()) {
    while (clients.size() < 16 && next != first + count) clients.emplace_back(next++, port);
    for (int socket = listener.accept_client(); socket >= 0; socket = listener.accept_client()) {
      server.add(socket);
    }
    bool any_progress = false;
    std::vector<RudeClient> left;
    for (RudeClient& client : clients) {
      if (!client.is_gone()) client.step();
      if (!client.is_gone()) left.push_back(std::move(client));
      any_progress = any_progress || client.is_gone();
    }
    clients.swap(left);
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

/// What does not hold at the end, or null.
[[nodiscard]] const char* fault_of(Server& server) {
  const auto is_empty = [&] {
    PoliteTime::go_on();
    return server.connections() == 0;
  };
  if (!eventually(is_empty)) return "a connection is left";
  if (server.tags().in_flight() != 0) return "a request is in flight";
  for (blkown::QueueIndex queue; queue.value != server.tags().queue_count(); ++queue.value) {
    if (server.tags().taken_count(queue) != 0) return "a tag is taken";
  }
  for (std::size_t i = 0; i != blkown::lookup_reason_count; ++i) {
    if (server.refused_lookups().get(static_cast<blkown::LookupReason>(i)) != 0) {
      return "a lookup was refused";
    }
  }
  return nullptr;
}

/// A polite client that has several reads in flight when its server stops. Each is answered with
/// its data, or refused with ESHUTDOWN, or the stream ends where a reply ends.
class PipeliningClient {
 public:
  /// Connects over TCP. The kernel has most of the replies: the client takes few at a time.
  PipeliningClient(Server& server, const Listener& listener) : peer_{server, listener, 32768} {}

  /// Writes what run() reads.
  [[nodiscard]] bool prepare() {
    return peer_.go("polite") && peer_.write(0, 0, content(0, size_bytes)) &&
           peer_.reply().has_value();
  }
  /// Reads until the server stops. Returns what does not hold, or null.
  [[nodiscard]] const char* run() {
    while (true) {
      while (!was_refused_ && in_flight_.size() != depth) begin_read();
      if (in_flight_.empty()) {
        peer_.request(Command::disconnect, 0, 0, 0);
        return nullptr;
      }
      std::byte next{};
      const ssize_t seen = ::recv(peer_.fd(), &next, 1, MSG_PEEK);
      if (seen < 0) return "the pipelining client is reset";
      if (seen == 0) return nullptr;
      if (!take_reply()) return "the pipelining client got a wrong reply, or a part of one";
    }
  }
  void hang_up() { peer_.hang_up(); }

 private:
  static constexpr std::size_t depth = 8;

  [[nodiscard]] static Bytes content(std::uint64_t offset, std::size_t length) {
    Bytes bytes(length);
    for (std::size_t i = 0; i != length; ++i) {
      bytes[i] = static_cast<std::byte>((offset + i) * 7 + (offset + i) / 4096);
    }
    return bytes;
  }
  void begin_read() {
    const std::uint64_t offset = dice_.below(size_bytes - 32768);
    const auto length = static_cast<std::uint32_t>(dice_.below(32768) + 1);
    in_flight_[++last_cookie_] = {offset, length};
    peer_.request(Command::read, last_cookie_, offset, length);
  }
  [[nodiscard]] bool take_reply() {
    const auto reply = peer_.reply();
    if (!reply) return false;
    const auto found = in_flight_.find(reply->cookie);
    if (found == in_flight_.end()) return false;
    const auto [offset, length] = found->second;
    in_flight_.erase(found);
    if (reply->error == 0) return reply->payload == content(offset, length);
    was_refused_ = true;
    return reply->error == static_cast<std::uint32_t>(nbd::Error::eshutdown);
  }

  Peer peer_;
  Dice dice_{1};
  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint32_t>> in_flight_;  // by cookie
  std::uint64_t last_cookie_ = 0;
  bool was_refused_ = false;
};

/// Stops a server among the clients of sixteen seeds. Returns what does not hold, or null.
[[nodiscard]] const char* stop_among_clients(std::uint64_t first) {
  constexpr std::uint32_t stop_ms = 100;
  World world{{.stop_ms = stop_ms, .gather_us = 20}};
  const auto listener = Listener::on_address("127.0.0.1:0");
  if (!world.server || !listener) return "the server does not start";
  const char* fault = nullptr;
  Clock::time_point fault_at;
  PipeliningClient pipelining{*world.server, *listener};
  if (!pipelining.prepare()) return "the pipelining client cannot write";
  std::thread polite{[&] {
    fault = pipelining.run();
    fault_at = Clock::now();
    pipelining.hang_up();
  }};
  std::vector<RudeClient> clients;
  for (std::uint64_t i = 0; i != 16; ++i) clients.emplace_back(first + i, port_of(*listener));
  const auto step_all = [&] {
    for (RudeClient& client : clients) {
      if (!client.is_gone()) client.step();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  };
  Dice dice{first};
  for (std::uint64_t left = 1 + dice.below(40); left != 0; --left) {
    for (int socket = listener->accept_client(); socket >= 0; socket = listener->accept_client()) {
      world.server->add(socket);
    }
    step_all();
  }
  const Clock::time_point stop_at = Clock::now();
  std::atomic<bool> has_stopped{false};
  std::thread stopper{[&] {
    world.server->stop();
    // Relaxed: nothing but the flag is passed.
    has_stopped.store(true, std::memory_order_relaxed);
  }};
  while (!has_stopped.load(std::memory_order_relaxed)) step_all();
  stopper.join();
  polite.join();
  // Later, the server closes in the middle of a reply. Its clock counts whole milliseconds.
  if (fault != nullptr && fault_at < stop_at + std::chrono::milliseconds{stop_ms - 1}) return fault;
  return fault_of(*world.server);
}

int run(std::uint64_t first, std::uint64_t count) {
  World world{{.timeout_ms = 1500, .clock_ms = &PoliteTime::now_ms}};
  const auto listener = Listener::on_address("127.0.0.1:0");
  if (!world.server || !listener) {
    std::fprintf(stderr, "the server does not start\n");
    return 1;
  }
  // Before the others, who may be as many as the server has room for.
  Peer peer{*world.server};
  if (!peer.go("polite")) {
    std::fprintf(stderr, "the polite client is not served\n");
    return 1;
  }
  std::atomic<bool> stop{false};
  std::optional<std::uint64_t> polite;
  std::thread thread{[&] { polite = be_polite(std::move(peer), stop); }};
  run_clients(*world.server, *listener, port_of(*listener), first, count);
  // Relaxed: nothing but the flag is passed.
  stop.store(true, std::memory_order_relaxed);
  thread.join();
  const char* fault = fault_of(*world.server);
  if (!polite) fault = "the polite client got a wrong reply";
  for (std::uint64_t seed = first; seed < first + count && fault == nullptr; seed += 16) {
    fault = stop_among_clients(seed);
  }
  world.server->print(stdout);
  std::printf("%llu rude clients from seed %llu; the polite one: %llu right replies\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(polite.value_or(0)));
  if (fault != nullptr) std::fprintf(stderr, "FAILED: %s\n", fault);
  return fault == nullptr ? 0 : 1;
}

}  // namespace
}  // namespace nbd_server

int main(int argc, char** argv) {
  const std::uint64_t first = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const std::uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 20;
  return nbd_server::run(first, count);
}
