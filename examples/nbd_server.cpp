// SPDX-License-Identifier: BSL-1.0
//
// nbd_server: an NBD server over memory, files, block devices, and disks of the block layer.
//
// A reading order: nbd_server/request.hpp is a request's life. nbd_server/connection.hpp is the
// front end, which uses the core only. memory_store.hpp, uring_store.hpp and mq_store.hpp are three
// ways to execute a command. worker.hpp and server.hpp are the threads around it. The wire format
// is in nbd/.
// storage/ has what other front ends share.

#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nbd_server/export.hpp"
#include "nbd_server/listener.hpp"
#include "nbd_server/memory_disk.hpp"
#include "nbd_server/memory_store.hpp"
#include "nbd_server/mq_store.hpp"
#include "nbd_server/null_export.hpp"
#include "nbd_server/options.hpp"
#include "nbd_server/server.hpp"
#include "nbd_server/uring_store.hpp"
#include "null_block/shared_tags.hpp"
#include "storage/signals.hpp"

namespace {

using namespace nbd_server;

/// The disks outlive the stores on them.
struct Disks {
  std::vector<std::unique_ptr<MemoryDisk>> memory;
  null_block::SharedTags tags;
  std::vector<std::unique_ptr<NullExport>> null;
};

[[nodiscard]] std::expected<std::unique_ptr<Store>, std::string> make_store(
    const ExportOptions& options, std::uint32_t threads, Disks& disks) {
  if (options.kind == "file") {
    return UringStore::open(options.path, options.read_only, options.direct);
  }
  if (options.kind == "disk") {
    auto disk = MemoryDisk::create(options.size, threads);
    if (!disk) return std::unexpected(disk.error());
    disks.memory.push_back(std::move(*disk));
    return std::make_unique<MqStore<MemoryDriver, blkown::mq::ThreadRuntime>>(
        disks.memory.back()->disk(), disks.memory.back()->runtime());
  }
  if (options.kind == "null") {
    auto made = NullExport::create(options.parameters, threads, options.control, disks.tags);
    if (!made) return std::unexpected(made.error());
    disks.null.push_back(std::move(*made));
    return disks.null.back()->make_store();
  }
  return std::make_unique<MemoryStore>(options.size, std::chrono::milliseconds{options.delay_ms},
                                       options.huge);
}

[[nodiscard]] std::expected<std::vector<Listener>, std::string> make_listeners(
    const Options& options) {
  std::vector<Listener> listeners;
  for (const std::string& path : options.unix_paths) {
    auto made = Listener::on_path(path);
    if (!made) return std::unexpected(made.error());
    listeners.push_back(std::move(*made));
  }
  for (const std::string& address : options.addresses) {
    auto made = Listener::on_address(address);
    if (!made) return std::unexpected(made.error());
    listeners.push_back(std::move(*made));
  }
  return listeners;
}

/// Accepts clients until a signal says to stop.
void serve(Server& server, const std::vector<Listener>& listeners, int signals) {
  std::vector<pollfd> watched{{.fd = signals, .events = POLLIN, .revents = 0}};
  for (const Listener& listener : listeners) {
    watched.push_back({.fd = listener.fd(), .events = POLLIN, .revents = 0});
  }
  while (true) {
    if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) {
      signalfd_siginfo caught{};
      if (read(signals, &caught, sizeof(caught)) != sizeof(caught)) continue;
      if (caught.ssi_signo != SIGUSR1) return;
      server.print(stderr);
    }
    for (std::size_t i = 0; i != listeners.size(); ++i) {
      if (watched[i + 1].revents == 0) continue;
      const int client = listeners[i].accept_client();
      if (client >= 0) {
        server.add(client);
      } else if (errno == EMFILE || errno == ENFILE) {
        // The client waits in the queue of the listener until another has gone.
        poll(nullptr, 0, 100);
      }
    }
  }
}

[[nodiscard]] std::expected<void, std::string> run(const Options& options) {
  const storage::Descriptor signals = storage::make_signal_fd();
  if (!signals.is_open()) return std::unexpected(std::string{"signals: "} + std::strerror(errno));
  Disks disks;
  Exports exports;
  for (const ExportOptions& each : options.exports) {
    auto store = make_store(each, options.server.threads, disks);
    if (!store) return std::unexpected("export '" + each.name + "': " + store.error());
    exports.emplace_back(each.name, each.description, std::move(*store), each.read_only);
  }
  auto server = Server::create(options.server, exports);
  if (!server) return std::unexpected(server.error());
  auto listeners = make_listeners(options);
  if (!listeners) return std::unexpected(listeners.error());
  for (const Listener& listener : *listeners)
    std::printf("listening: %s\n", listener.uri().c_str());
  std::fflush(stdout);
  serve(**server, *listeners, signals.get());
  // A client that comes now is refused by the kernel, instead of waiting in a listener's queue.
  listeners->clear();
  (*server)->stop();
  (*server)->print(stderr);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse_options(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
  if (!options) {
    std::fprintf(stderr, "nbd_server: %s; see --help\n", options.error().c_str());
    return 2;
  }
  if (options->help) {
    std::fputs(usage_text, stdout);
    return 0;
  }
  const auto done = run(*options);
  if (done) return 0;
  std::fprintf(stderr, "nbd_server: %s\n", done.error().c_str());
  return 1;
}
