// SPDX-License-Identifier: BSL-1.0
//
// Tests of the control socket of examples/null_block: clients and a system that do not cooperate.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "examples/few_descriptors.hpp"
#include "null_block/control_socket.hpp"
#include "storage/descriptor.hpp"
#include "storage/unix_socket.hpp"

namespace {

using null_block::ControlSocket;
using std::chrono::milliseconds;

std::string control_path(const char* test) {
  return testing::TempDir() + "null_block_" + test + "." + std::to_string(::getpid());
}
sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}
bool connect_to(int fd, const std::string& path) {
  const sockaddr_un address = address_of(path);
  return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}
storage::Descriptor new_socket() {
  return storage::Descriptor{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
}
std::unique_ptr<ControlSocket> must_listen(const std::string& path,
                                           const std::string& answer = "ok\n") {
  auto made =
      ControlSocket::listen_at(path, [answer](std::string_view) -> std::string { return answer; });
  if (made) return *std::move(made);
  ADD_FAILURE() << made.error();
  return nullptr;
}
double cpu_s() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

using front_ends::FewDescriptors;

// Goal: a client that cannot be accepted does not keep the thread busy, and is accepted later.
TEST(NullBlockControl, WithoutDescriptorsAClientWaitsAndTheThreadDoesNotSpin) {
  const std::string path = control_path("descriptors");
  const auto control = must_listen(path);
  ASSERT_NE(control, nullptr);
  // The thread runs. UBSan checks its start, and needs descriptors for that.
  ASSERT_EQ(null_block::send_command(path, "show").value_or("none"), "ok\n");
  const auto client = new_socket();
  {
    const FewDescriptors none{0};
    ASSERT_TRUE(connect_to(client.get(), path));
    const double start_s = cpu_s();
    std::this_thread::sleep_for(milliseconds{500});
    EXPECT_LT(cpu_s() - start_s, 0.05);
  }
  ASSERT_EQ(send(client.get(), "show\n", 5, MSG_NOSIGNAL), 5);
  char answer[4];
  EXPECT_EQ(recv(client.get(), answer, sizeof(answer), 0), 3);
}

// Goal: without a descriptor that it needs, the socket is refused and leaves nothing behind.
TEST(NullBlockControl, ASocketWithoutDescriptorsIsRefused) {
  const std::string path = control_path("refused");
  for (rlim_t count = 0; count != 2; ++count) {
    const FewDescriptors few{count};
    const auto made = ControlSocket::listen_at(path, [](std::string_view) { return "ok\n"; });
    ASSERT_FALSE(made.has_value()) << count;
    EXPECT_EQ(made.error(), path + ": Too many open files");
  }
  EXPECT_NE(must_listen(path), nullptr);
}

// Goal: a slow client has a limited time for the whole answer.
TEST(NullBlockControl, AClientThatReadsSlowlyIsClosed) {
  const std::string path = control_path("slow");
  const std::string answer(std::size_t{8} << 20, 'x');
  const auto control = must_listen(path, answer);
  ASSERT_NE(control, nullptr);
  const auto client = new_socket();
  ASSERT_TRUE(connect_to(client.get(), path));
  ASSERT_EQ(send(client.get(), "show\n", 5, MSG_NOSIGNAL), 5);
  std::size_t read_bytes = 0;
  std::vector<char> memory(65536);
  while (read_bytes != answer.size()) {
    const ssize_t length = recv(client.get(), memory.data(), memory.size(), MSG_WAITALL);
    if (length <= 0) break;
    read_bytes += static_cast<std::size_t>(length);
    std::this_thread::sleep_for(milliseconds{100});
  }
  EXPECT_LT(read_bytes, answer.size());
}

/// What the socket answers to these packets, until it closes the client. With `shuts_down` the
/// client says that it sends no more.
std::string answer_to_packets(const std::string& path, const std::vector<std::string>& packets,
                              bool shuts_down = true) {
  const auto client = new_socket();
  EXPECT_TRUE(connect_to(client.get(), path));
  for (const std::string& packet : packets) {
    EXPECT_EQ(send(client.get(), packet.data(), packet.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(packet.size()));
  }
  if (shuts_down) {
    EXPECT_EQ(shutdown(client.get(), SHUT_WR), 0);
  }
  std::string answer;
  char buffer[512];
  while (true) {
    const ssize_t length = recv(client.get(), buffer, sizeof(buffer), 0);
    EXPECT_GE(length, 0) << std::strerror(errno);
    if (length <= 0) return answer;
    answer.append(buffer, static_cast<std::size_t>(length));
  }
}

// Goal: lines are what counts, and not how the bytes come.
TEST(NullBlockControl, LinesComeInPartsAndSeveralAtOnce) {
  const std::string path = control_path("parts");
  std::vector<std::string> lines;
  auto control = ControlSocket::listen_at(path, [&](std::string_view line) {
    lines.emplace_back(line);
    return "<" + std::string{line} + ">\n";
  });
  ASSERT_TRUE(control.has_value()) << control.error();
  EXPECT_EQ(answer_to_packets(path, {"a\nbc\n\nd e\n"}), "<a>\n<bc>\n<>\n<d e>\n");
  EXPECT_EQ(answer_to_packets(path, {"s", "h", "ow\nse", "t x", "\n"}), "<show>\n<set x>\n");
  EXPECT_EQ(answer_to_packets(path, {"a\nset submit_queues 1"}),
            "<a>\nerror: 'set submit_queues 1': the line has no end\n");
  EXPECT_EQ(answer_to_packets(path, {}), "");
  control->reset();
  EXPECT_EQ(lines, (std::vector<std::string>{"a", "bc", "", "d e", "show", "set x", "a"}))
      << "a part of a command is not executed";
}

// Goal: a line that is too long is an error with or without its end, and the client is closed.
TEST(NullBlockControl, ALineThatIsTooLongIsAnError) {
  const std::string path = control_path("long");
  unsigned executed = 0;
  auto control = ControlSocket::listen_at(path, [&](std::string_view line) {
    ++executed;
    return std::to_string(line.size()) + "\n";
  });
  ASSERT_TRUE(control.has_value()) << control.error();
  const std::string error = "error: give lines of at most 4096 bytes\n";
  const std::string longest(4096, 'x');
  EXPECT_EQ(answer_to_packets(path, {longest + "\n"}), "4096\n");
  EXPECT_EQ(answer_to_packets(path, {longest + "x\n"}, false), error);
  EXPECT_EQ(answer_to_packets(path, {"a\n" + longest + longest}, false), "1\n" + error);
  // The server has read 4,608 bytes when it refuses the line: here all of them, or not.
  for (const std::size_t length : {4607U, 4608U, 5000U, 100'000U}) {
    EXPECT_EQ(null_block::send_command(path, std::string(length, 'x')).value_or("none"), error)
        << length;
  }
  EXPECT_EQ(null_block::send_command(path, "show").value_or("none"), "4\n") << "others go on";
  control->reset();
  EXPECT_EQ(executed, 3U);
}

// Goal: the reason for which a server does not take all of a command reaches its client.
TEST(NullBlockControl, ACommandThatIsRefusedBeforeItIsThereIsAnswered) {
  const std::string path = control_path("early");
  auto listener = storage::listen_at(path, 1);
  ASSERT_TRUE(listener.has_value()) << listener.error();
  // Closes the listener at its end: a client that is not accepted does not wait.
  std::thread server{[fd = *std::move(listener)] {
    pollfd watched{.fd = fd.get(), .events = POLLIN, .revents = 0};
    if (::poll(&watched, 1, 20'000) != 1) {
      ADD_FAILURE() << "no client";
      return;
    }
    const storage::Descriptor client{accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    EXPECT_EQ(send(client.get(), "error: no\n", 10, MSG_NOSIGNAL), 10);
  }};
  // More than a socket holds.
  const auto answer = null_block::send_command(path, std::string(std::size_t{8} << 20, 'x'));
  server.join();
  ::unlink(path.c_str());
  EXPECT_EQ(answer.value_or("none"), "error: no\n");
}

// Goal: a client that is silent in the middle of a line, or gone, holds up no other.
TEST(NullBlockControl, TwoClientsAreServedInTurns) {
  const std::string path = control_path("two");
  std::atomic<unsigned> executed{0};
  auto control = ControlSocket::listen_at(path, [&](std::string_view line) {
    executed.fetch_add(1, std::memory_order_relaxed);  // n -> n + 1. Relaxed: a test's number.
    return std::string{line} + "\n";
  });
  ASSERT_TRUE(control.has_value()) << control.error();
  const auto silent = new_socket();
  ASSERT_TRUE(connect_to(silent.get(), path));
  ASSERT_EQ(send(silent.get(), "first", 5, MSG_NOSIGNAL), 5);
  {
    const auto gone = new_socket();
    ASSERT_TRUE(connect_to(gone.get(), path));
    ASSERT_EQ(send(gone.get(), "lost\nin the mid", 15, MSG_NOSIGNAL), 15);
  }
  EXPECT_EQ(null_block::send_command(path, "second").value_or("none"), "second\n");
  ASSERT_EQ(send(silent.get(), "\n", 1, MSG_NOSIGNAL), 1);
  char answer[16];
  ASSERT_EQ(recv(silent.get(), answer, 6, MSG_WAITALL), 6);
  EXPECT_EQ(std::string_view(answer, 6), "first\n");
  control->reset();
  EXPECT_FALSE(std::filesystem::exists(path)) << "the socket is removed with the object";
  // No transition. Relaxed: the thread was joined.
  EXPECT_EQ(executed.load(std::memory_order_relaxed), 3U);
}

TEST(NullBlockControl, ASocketThatWasLeftBehindIsReplacedAndOneInUseIsNot) {
  const std::string path = control_path("left");
  {
    const auto killed = new_socket();
    const sockaddr_un address = address_of(path);
    ASSERT_EQ(bind(killed.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(listen(killed.get(), 1), 0);
  }
  const auto control = must_listen(path);
  ASSERT_NE(control, nullptr);
  const auto second = ControlSocket::listen_at(path, [](std::string_view) { return "second\n"; });
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error(), path + ": Address already in use");
  EXPECT_EQ(null_block::send_command(path, "show").value_or("none"), "ok\n");
}

}  // namespace
