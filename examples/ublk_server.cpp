// SPDX-License-Identifier: BSL-1.0
//
// ublk_server: a file as the disk /dev/ublkbN of Linux's ublk driver.
//
// A reading order: ublk/protocol.hpp is what the kernel and a server say. ublk/request.hpp is a
// request's life. ublk/queue.hpp is the front end, which uses the core only. file_store.hpp and
// slow_store.hpp are two ways to execute an I/O. ring_queue.hpp, queue_thread.hpp, control.hpp and
// server.hpp are the kernel's interface and the threads.

#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "storage/signals.hpp"
#include "ublk/control.hpp"
#include "ublk/file_store.hpp"
#include "ublk/options.hpp"
#include "ublk/server.hpp"
#include "ublk/slow_store.hpp"

namespace {

using namespace ublk;
using Result = std::expected<void, std::string>;

/// Serves until a signal says to stop, or somebody has stopped the device.
void serve(Server& server, int signals) {
  std::array<pollfd, 2> watched{pollfd{.fd = signals, .events = POLLIN, .revents = 0},
                                pollfd{.fd = server.over_fd(), .events = POLLIN, .revents = 0}};
  while (watched[1].revents == 0) {
    if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    signalfd_siginfo caught{};
    if (watched[0].revents == 0) continue;
    if (read(signals, &caught, sizeof(caught)) != sizeof(caught)) continue;
    if (caught.ssi_signo != SIGUSR1) return;
    server.print(stderr);
  }
}

[[nodiscard]] Result run_server(Options options, Control& control) {
  const storage::Descriptor signals = storage::make_signal_fd();
  if (!signals.is_open()) return std::unexpected(std::string{"signals: "} + std::strerror(errno));
  Geometry& geometry = options.server.geometry;
  auto file = FileStore::File::open(options.path, geometry.read_only, options.direct);
  if (!file) return std::unexpected(file.error());
  geometry.size_bytes = (*file)->info().size;
  if ((*file)->info().min_block > sector_bytes) geometry.block_bytes = (*file)->info().min_block;
  if (geometry.size_bytes == 0 || geometry.size_bytes % geometry.block_bytes != 0) {
    return std::unexpected(options.path + ": the size is not a number of blocks of " +
                           std::to_string(geometry.block_bytes) + " bytes");
  }
  const int fd = (*file)->fd();
  std::unique_ptr<Store> store = std::make_unique<FileStore>(std::move(*file));
  if (options.delay_ms != 0) {
    store = std::make_unique<SlowStore>(std::move(store), fd, options.slow_from,
                                        std::chrono::milliseconds{options.delay_ms});
  }
  const bool is_new = options.action == Action::add;
  auto server = is_new ? Server::create(options.server, control, *store)
                       : Server::recover(options.server, control, *store);
  if (!server) return std::unexpected(server.error());
  std::printf("%s: %s\n", is_new ? "serving" : "recovered",
              block_device_path((*server)->id()).c_str());
  std::fflush(stdout);
  serve(**server, signals.get());
  (*server)->remove();
  (*server)->print(stderr);
  return {};
}

[[nodiscard]] Result remove_device(std::uint32_t id, Control& control) {
  int error = control.stop(id);
  // The server, which notices the stop, may be faster.
  if (error == 0) error = remove_stopped(control, id, getpid());
  if (error == 0) return {};
  return std::unexpected(block_device_path(id) + ": " + std::strerror(error));
}

[[nodiscard]] Result run(const Options& options) {
  auto control = Control::open();
  if (!control) return std::unexpected(control.error());
  if (options.action == Action::remove)
    return remove_device(options.server.id.value_or(0), **control);
  return run_server(options, **control);
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse_options(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
  if (!options) {
    std::fprintf(stderr, "ublk_server: %s; see --help\n", options.error().c_str());
    return 2;
  }
  if (options->action == Action::help) {
    std::fputs(usage_text, stdout);
    return 0;
  }
  const auto done = run(*options);
  if (done) return 0;
  std::fprintf(stderr, "ublk_server: %s\n", done.error().c_str());
  return 1;
}
