// SPDX-License-Identifier: BSL-1.0
//
// vhost_user_blk: a target that serves disks to virtual machines, for QEMU's vhost-user-blk.
//
// A reading order: vhost_user_blk/request.hpp is a request's life. queue.hpp makes requests of a
// virtqueue's heads, and pushes them; it uses the core only. virtqueue.hpp and guest_memory.hpp are
// what the guest can write to. front_end.hpp is the set-up by QEMU, device.hpp the thread around
// all. memory_store.hpp and file_store.hpp execute requests. The wire formats are in protocol.hpp
// and virtio.hpp.

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

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
#include <vector>

#include "storage/signals.hpp"
#include "vhost_user_blk/device.hpp"
#include "vhost_user_blk/file_store.hpp"
#include "vhost_user_blk/listener.hpp"
#include "vhost_user_blk/memory_store.hpp"
#include "vhost_user_blk/options.hpp"
#include "vhost_user_blk/signal.hpp"

namespace {

using namespace vhost_user_blk;

/// A disk at its socket. The device is destroyed before its store.
struct Disk {
  Listener listener;
  std::unique_ptr<Store> store;
  std::unique_ptr<Device> device;
};

[[nodiscard]] std::expected<Disk, std::string> make_disk(const DiskOptions& options,
                                                         const DeviceConfig& config) {
  std::unique_ptr<Store> store;
  if (options.path.empty()) {
    store = std::make_unique<MemoryStore>(options.size, options.read_only,
                                          std::chrono::milliseconds{options.delay_ms});
  } else {
    auto opened = FileStore::open(options.path, options.read_only);
    if (!opened) return std::unexpected(opened.error());
    store = std::move(*opened);
  }
  DeviceConfig of_disk = config;
  of_disk.serial = options.socket.substr(options.socket.rfind('/') + 1);
  auto device = Device::create(of_disk, *store);
  if (!device) return std::unexpected(options.socket + ": " + device.error());
  auto listener = Listener::on_path(options.socket);
  if (!listener) return std::unexpected(listener.error());
  return Disk{std::move(*listener), std::move(store), std::move(*device)};
}

void print(const std::vector<Disk>& disks) {
  for (const Disk& disk : disks) {
    std::fprintf(stderr, "disk at %s\n", disk.listener.path().c_str());
    disk.device->print(stderr);
  }
}

/// Accepts front ends until a signal says to stop.
void serve(const std::vector<Disk>& disks, const Descriptor& signals) {
  std::vector<pollfd> watched{{.fd = signals.get(), .events = POLLIN, .revents = 0}};
  for (const Disk& disk : disks) {
    watched.push_back({.fd = disk.listener.fd(), .events = POLLIN, .revents = 0});
  }
  while (true) {
    if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) {
      signalfd_siginfo caught{};
      if (read(signals.get(), &caught, sizeof(caught)) != sizeof(caught)) continue;
      if (caught.ssi_signo != SIGUSR1) return;
      print(disks);
    }
    for (std::size_t i = 0; i != disks.size(); ++i) {
      if (watched[i + 1].revents == 0) continue;
      if (Descriptor socket = disks[i].listener.accept_front_end(); socket.is_open()) {
        disks[i].device->add(std::move(socket));
      } else if (errno == EMFILE || errno == ENFILE) {
        // The front end waits in the queue of the listener until descriptors are closed.
        poll(nullptr, 0, 100);
      }
    }
  }
}

[[nodiscard]] std::expected<void, std::string> run(const Options& options) {
  const Descriptor signals = storage::make_signal_fd();
  if (!signals.is_open()) return std::unexpected(std::string{"signals: "} + std::strerror(errno));
  std::vector<Disk> disks;
  for (const DiskOptions& each : options.disks) {
    auto disk = make_disk(each, options.device);
    if (!disk) return std::unexpected(disk.error());
    disks.push_back(std::move(*disk));
    std::printf("listening: %s\n", each.socket.c_str());
  }
  std::fflush(stdout);
  serve(disks, signals);
  for (const Disk& disk : disks) disk.device->stop();
  print(disks);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse_options(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
  if (!options) {
    std::fprintf(stderr, "vhost_user_blk: %s; see --help\n", options.error().c_str());
    return 2;
  }
  if (options->help) {
    std::fputs(usage_text, stdout);
    return 0;
  }
  const auto done = run(*options);
  if (done) return 0;
  std::fprintf(stderr, "vhost_user_blk: %s\n", done.error().c_str());
  return 1;
}
