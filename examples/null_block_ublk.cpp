// SPDX-License-Identifier: BSL-1.0
//
// null_block_ublk: a zoned null block disk as a disk of Linux's ublk driver, /dev/ublkbN.
//
// The steps: add the device, fetch all tags, start it on a thread, because the kernel reads the
// zones before the start returns, and serve. A signal stops it, on a thread again: the kernel waits
// for what is in flight, and then gives each tag back.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "null_block/null_block.hpp"
#include "null_block/shared_tags.hpp"
#include "null_block/zoned_ublk.hpp"
#include "storage/descriptor.hpp"
#include "storage/signals.hpp"
#include "ublk/control.hpp"
#include "ublk/protocol.hpp"
#include "ublk/ring_queue.hpp"

namespace {

namespace mq = blkown::mq;
using null_block::ZonedUblk;
using NullDisk = null_block::NullDisk<mq::LoopRuntime>;

constexpr std::uint16_t depth = 32;

constexpr const char* usage_text =
    R"(Usage: null_block_ublk [KEY=VALUE]...

Serves a zoned null block disk as /dev/ublkbN of Linux's ublk driver, until SIGINT or SIGTERM. The
parameters are those of null_block, with zoned=1; zone_size is a power of 2. Needs root, Linux 6.6
or newer with zoned block devices, and the module ublk_drv.

Exit status: 0 stopped; 1 the device could not be made; 2 wrong usage.
)";

[[nodiscard]] std::string failed(const char* step, int error) {
  return std::string{step} + ": " + std::strerror(error);
}

/// Waits until the kernel has made the character device.
[[nodiscard]] storage::Descriptor open_char_device(std::uint32_t id) {
  storage::Descriptor device;
  for (int tries = 0; tries != 500 && !device.is_open(); ++tries) {
    device = storage::Descriptor{::open(ublk::char_device_path(id).c_str(), O_RDWR | O_CLOEXEC)};
    if (!device.is_open()) ::usleep(10'000);
  }
  return device;
}

/// Serves the queue until the kernel has given back each tag.
/// Errors: an errno value, if the device could not be started; 0 on success.
[[nodiscard]] int serve(ublk::RingQueue& queue, ZonedUblk& device, int signals,
                        ublk::Control& control, std::uint32_t id) {
  int start_error = 0;  // the starter's, until it was joined
  std::thread starter{[&] {
    start_error = control.start(id, ::getpid());
    if (start_error != 0) {
      static_cast<void>(control.stop(id));
      return;
    }
    std::printf("serving: %s\n", ublk::block_device_path(id).c_str());
    std::fflush(stdout);
  }};
  std::thread stopper;
  for (unsigned given_back = 0; given_back != depth;) {
    static_cast<void>(queue.submit());
    while (const auto completion = queue.take()) {
      const auto tag = static_cast<std::uint16_t>(completion->value);
      if (completion->result != UBLK_IO_RES_OK) {
        ++given_back;
        continue;
      }
      const auto done = device.execute(tag, queue.descriptor(blkown::Tag{tag}));
      // In the place of the data's address.
      queue.commit(blkown::Tag{tag}, done.result, reinterpret_cast<std::byte*>(done.sector));
    }
    if (given_back == depth) break;
    static_cast<void>(queue.submit());
    pollfd watched[] = {{.fd = queue.fd(), .events = POLLIN, .revents = 0},
                        {.fd = stopper.joinable() ? -1 : signals, .events = POLLIN, .revents = 0}};
    ::poll(watched, 2, -1);
    if (watched[1].revents != 0) {
      stopper = std::thread{[&] {
        if (starter.joinable()) starter.join();
        static_cast<void>(control.stop(id));
      }};
    }
  }
  if (stopper.joinable()) stopper.join();
  if (starter.joinable()) starter.join();
  return start_error;
}

std::expected<void, std::string> run(const null_block::Config& config) {
  const storage::Descriptor signals = storage::make_signal_fd();
  if (!signals.is_open()) return std::unexpected(failed("signals", errno));
  null_block::SharedTags tags;
  const auto pool = tags.pool_for(config);
  if (!pool) return std::unexpected(pool.error().text);
  mq::LoopRuntime runtime;
  auto disk = NullDisk::create(config, runtime, *pool);
  if (!disk) return std::unexpected(disk.error().text);
  auto control = ublk::Control::open();
  if (!control) return std::unexpected(control.error());
  ublksrv_ctrl_dev_info info{};
  info.nr_hw_queues = 1;
  info.queue_depth = depth;
  info.max_io_buf_bytes = null_block::ublk_io_bytes;
  info.dev_id = UINT32_MAX;
  info.flags = ublk::flag_user_copy | ublk::flag_zoned | ublk::flag_ioctl_encode;
  info.ublksrv_pid = -1;
  if (const int error = (*control)->add(info); error != 0)
    return std::unexpected(failed("adding a zoned device", error));
  const std::uint32_t id = info.dev_id;
  auto params = null_block::zoned_params_of((*disk)->disk().config(), (*disk)->disk().limits());
  int error = (*control)->set_params(id, params);
  std::string problem = error == 0 ? "" : failed("setting the parameters", error);
  if (error == 0) {
    const storage::Descriptor device = open_char_device(id);
    ublk::RingQueue queue{device.get(), blkown::QueueIndex{0}, depth};
    error = device.is_open() ? queue.open() : ENODEV;
    if (error == 0) {
      for (std::uint16_t tag = 0; tag != depth; ++tag) queue.fetch(blkown::Tag{tag}, nullptr);
      ZonedUblk zoned{**disk, runtime, device.get()};
      error = serve(queue, zoned, signals.get(), **control, id);
      if (error != 0) problem = failed("starting the device", error);
      const auto& done = zoned.counts();
      std::printf("reads: %" PRIu64 ", writes: %" PRIu64 ", appends: %" PRIu64
                  ", zone commands: %" PRIu64 ", reports: %" PRIu64 ", failed: %" PRIu64 "\n",
                  done.reads, done.writes, done.appends, done.managed, done.reports, done.failed);
    } else {
      problem = failed("opening the device", error);
    }
  }
  static_cast<void>((*control)->remove(id));
  if (!problem.empty()) return std::unexpected(problem);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  std::string text;
  for (const char* const argument : std::span{argv, static_cast<std::size_t>(argc)}.subspan(1)) {
    if (std::strcmp(argument, "--help") == 0) {
      std::fputs(usage_text, stdout);
      return 0;
    }
    text += (text.empty() ? "" : ",") + std::string{argument};
  }
  const auto config = null_block::parse_config(text, {.zoned = 1});
  if (!config) {
    std::fprintf(stderr, "null_block_ublk: %s; see --help\n", config.error().text.c_str());
    return 2;
  }
  if (config->zoned == 0 || (config->zone_size & (config->zone_size - 1)) != 0) {
    std::fprintf(stderr, "null_block_ublk: give zoned=1, and a power of 2 as zone_size\n");
    return 2;
  }
  const auto done = run(*config);
  if (!done) std::fprintf(stderr, "null_block_ublk: %s\n", done.error().c_str());
  return done ? 0 : 1;
}
