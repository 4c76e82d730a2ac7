// SPDX-License-Identifier: BSL-1.0
//
// Server: a device with its TagSet and its queues.
//
//   new        ADD_DEV, SET_PARAMS, open, submit the fetches, START_DEV
//   recovery   GET_DEV_INFO, GET_PARAMS, START_USER_RECOVERY, open, submit the
//              fetches, END_USER_RECOVERY. The kernel has waited until the last server's files were
//              closed.
//   end        STOP_DEV, by this process or another: the kernel waits for what is in flight, then
//              each tag's command completes with UBLK_IO_RES_ABORT. Close, DEL_DEV.
//
// If this process is killed, the kernel keeps the device and all that is in flight for a recovery.

#ifndef UBLK_SERVER_HPP
#define UBLK_SERVER_HPP

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/in_flight_table.hpp>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "control.hpp"
#include "protocol.hpp"
#include "queue_thread.hpp"
#include "recovery.hpp"
#include "request.hpp"
#include "storage/counter.hpp"
#include "storage/descriptor.hpp"
#include "storage/io.hpp"
#include "store.hpp"

namespace ublk {

struct ServerConfig {
  std::optional<std::uint32_t> id;  ///< None: the kernel chooses.
  std::uint32_t queues = 1;         ///< At most max_queues.
  std::uint32_t depth = 64;         ///< At most UBLK_MAX_QUEUE_DEPTH.
  std::uint32_t timeout_ms = 0;     ///< Of an I/O; 0: none.
  Geometry geometry{};
};

class Server {
 public:
  /// Makes a device and its server.
  /// Errors: for both, the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<Server>, std::string> create(
      const ServerConfig& config, Control& control, Store& store) {
    ublksrv_ctrl_dev_info info{};
    info.nr_hw_queues = static_cast<std::uint16_t>(config.queues);
    info.queue_depth = static_cast<std::uint16_t>(config.depth);
    info.max_io_buf_bytes = config.geometry.max_io_bytes;
    info.dev_id = config.id.value_or(UINT32_MAX);
    info.flags = wanted_flags;
    info.ublksrv_pid = -1;
    if (const int error = control.add(info); error != 0) return failed("adding a device", error);
    std::unique_ptr<Server> server{new Server{config, info.dev_id, control}};
    if ((info.flags & wanted_flags) != wanted_flags) {
      server->remove();
      return std::unexpected(std::string{"this kernel's ublk_drv has no recovery"});
    }
    ublk_params params = params_of(config.geometry);
    int error = control.set_params(info.dev_id, params);
    const char* step = "setting the parameters";
    if (error == 0) {
      if (auto begun = server->begin(store); !begun) {
        server->remove();
        return std::unexpected(begun.error());
      }
      step = "starting the device";
      error = control.start(info.dev_id, getpid());
    }
    if (error == 0) return server;
    server->remove();
    return failed(step, error);
  }

  /// Takes over a device whose server is dead. The kernel then issues all that was in flight again.
  /// `config.queues`, `config.depth` and the geometry become those of the device, which another
  /// program may have made; see recoverable_geometry().
  [[nodiscard]] static std::expected<std::unique_ptr<Server>, std::string> recover(
      ServerConfig config, Control& control, Store& store) {
    const std::uint32_t id = *config.id;
    ublksrv_ctrl_dev_info info{};
    ublk_params params{};
    int error = control.get_info(id, info);
    if (error == 0) error = control.get_params(id, params);
    if (error != 0) return failed("asking for the device", error);
    const auto geometry = recoverable_geometry(info, params, config.geometry);
    if (!geometry) return std::unexpected(block_device_path(id) + ": " + geometry.error());
    config.geometry = *geometry;
    config.queues = info.nr_hw_queues;
    config.depth = info.queue_depth;
    error = retry_while_busy([&] { return control.start_recovery(id); });
    if (error == EBUSY) {
      return std::unexpected("its server, process " + std::to_string(info.ublksrv_pid) +
                             ", still has the device");
    }
    if (error != 0) return failed("starting the recovery", error);
    std::unique_ptr<Server> server{new Server{config, id, control}};
    if (auto begun = server->begin(store); !begun) return std::unexpected(begun.error());
    error = control.end_recovery(id, getpid());
    if (error == 0) return server;
    return failed("ending the recovery", error);
  }

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Stops the device, if it was not stopped.
  ~Server() { stop(); }

  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
  /// A descriptor that can be read when all queues are over: somebody has stopped the device.
  [[nodiscard]] int over_fd() const noexcept { return over_.get(); }

  /// Stops the device, and waits for all I/Os. The device is left without a server, for remove().
  void stop() {
    if (!is_begun_) return;
    is_begun_ = false;
    // The kernel waits for the queues, which go on. An error: another process was faster.
    static_cast<void>(control_.stop(id_));
    for (const auto& queue : queues_) queue->join();
    store_->detach();
    char_device_ = storage::Descriptor{};
  }
  /// Stops and removes the device.
  void remove() {
    stop();
    // An error: the device stays, without a server.
    static_cast<void>(remove_stopped(control_, id_, getpid()));
  }

  /// Prints the counters, and a line for each request that is not idle. Any thread.
  void print(std::FILE* file) {
    const auto total = [this](storage::Counter QueueCounters::* counter) {
      std::uint64_t sum = 0;
      for (const auto& each : queues_) sum += (each->queue().counters().*counter).get();
      return sum;
    };
    std::fprintf(file,
                 "I/Os: %" PRIu64 " ended: %" PRIu64 " failed, of which %" PRIu64
                 " timed out; %" PRIu64 " refused; overdue at %" PRIu64 " looks\n",
                 total(&QueueCounters::ended), total(&QueueCounters::failed),
                 total(&QueueCounters::timed_out), total(&QueueCounters::refused),
                 total(&QueueCounters::overdue));
    std::fprintf(file, "kernel: %" PRIu64 " bad tags, %" PRIu64 " broken commands\n",
                 total(&QueueCounters::bad_tags), total(&QueueCounters::broken));
    std::fprintf(file, "refused lookups:");
    refused_lookups_.print(file);
    std::fprintf(file, "\nin flight: %zu\n", tags_ ? tags_->in_flight() : 0);
    if (tags_) print_in_flight(*tags_, file);
    std::fflush(file);
  }

  /// The sink of the TagSet. On the thread that ends the request.
  void operator()(blkown::EndedList<Rq>&& list) {
    while (auto ended = list.pop_front()) {
      Queue& queue = queues_[ended->queue().value]->queue();
      queue.deliver(std::move(*ended));
    }
  }

 private:
  Server(const ServerConfig& config, std::uint32_t id, Control& control)
      : config_{config}, id_{id}, control_{control}, over_{eventfd(0, EFD_CLOEXEC)} {}

  [[nodiscard]] static std::unexpected<std::string> failed(const char* step, int error) {
    return std::unexpected(std::string{step} + ": " + std::strerror(error));
  }
  /// A server that was killed is gone a moment later.
  template <class Command>
  [[nodiscard]] static int retry_while_busy(Command command) {
    int error = EBUSY;
    for (int i = 0; i != 250 && error == EBUSY; ++i) {
      if (i != 0) std::this_thread::sleep_for(std::chrono::milliseconds{20});
      error = command();
    }
    return error;
  }

  /// Opens the device, and lets each queue fetch its tags.
  [[nodiscard]] std::expected<void, std::string> begin(Store& store) {
    auto tags = Tags::create(
        {.queue_count = config_.queues, .depth = config_.depth, .layout = storage::cookie_layout},
        blkown::EndSink<Rq>::to(*this));
    if (!tags) return std::unexpected(std::string{to_string(tags.error().reason)});
    tags_.emplace(std::move(*tags));
    std::vector<blkown::Segment> regions;
    for (blkown::QueueIndex i; i.value != config_.queues; ++i.value) {
      queues_.push_back(
          std::make_unique<QueueThread>(i, config_.depth, config_.geometry, config_.timeout_ms));
      regions.push_back(queues_.back()->queue().region());
      if (regions.back().empty()) return failed("allocating the buffers", ENOMEM);
      if (!over_.is_open() || !queues_.back()->queue().is_open()) {
        return failed("making an eventfd", EMFILE);
      }
    }
    if (auto attached = store.attach({*tags_, refused_lookups_, regions}); !attached) {
      return attached;
    }
    const std::string path = char_device_path(id_);
    // The node appears a moment after the device, and a dead server's file is closed a moment
    // later.
    const int error = retry_while_busy([&] {
      char_device_ = storage::Descriptor{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
      if (char_device_.get() >= 0) return 0;
      return errno == ENOENT ? EBUSY : errno;
    });
    if (error != 0) {
      store.detach();
      return failed(path.c_str(), error);
    }
    store_ = &store;
    is_begun_ = true;
    for (const auto& queue : queues_) {
      const int not_fetched =
          queue->start(*tags_, store, char_device_.get(), [this] { count_over(); });
      if (not_fetched != 0) {
        stop();
        return failed("fetching", not_fetched);
      }
    }
    return {};
  }

  void count_over() {
    // n -> n + 1. Relaxed: the last one writes, and orders nothing else.
    if (over_count_.fetch_add(1, std::memory_order_relaxed) + 1 != config_.queues) return;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(over_.get(), &one, sizeof(one)));
  }

  const ServerConfig config_;
  std::uint32_t id_;
  Control& control_;
  storage::Descriptor over_;
  std::atomic<std::uint32_t> over_count_{0};
  storage::Descriptor char_device_;
  storage::RefusedLookups refused_lookups_;
  std::optional<Tags> tags_;
  std::vector<std::unique_ptr<QueueThread>> queues_;
  Store* store_ = nullptr;
  bool is_begun_ = false;
};

}  // namespace ublk

#endif
