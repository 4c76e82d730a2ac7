// SPDX-License-Identifier: BSL-1.0
//
// Server: the TagSet, the workers, and the clients that they are given.

#ifndef NBD_SERVER_SERVER_HPP
#define NBD_SERVER_SERVER_HPP

#include <fcntl.h>

#include <blkown/blkown.hpp>
#include <blkown/in_flight_table.hpp>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connection.hpp"
#include "export.hpp"
#include "request.hpp"
#include "store.hpp"
#include "worker.hpp"

namespace nbd_server {

struct ServerConfig {
  std::uint32_t threads = 1;
  std::uint32_t connections = 64;    ///< At a time, at most max_connections.
  std::uint32_t depth = 32;          ///< Commands of a connection at a time.
  std::uint32_t payload_slots = 64;  ///< Of PayloadPool::slot_bytes, for each thread.
  Limits limits{};
};

class Server {
 public:
  /// Makes a server and starts its threads.
  /// Precondition: `exports` has at least one export, and outlives the server. A store serves one
  /// server.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<Server>, std::string> create(
      const ServerConfig& config, const Exports& exports) {
    std::unique_ptr<Server> server{new Server{config, exports}};
    auto tags = Tags::create(
        {.queue_count = config.connections, .depth = config.depth, .layout = cookie_layout},
        blkown::EndSink<Rq>::to(*server));
    if (!tags) return std::unexpected(std::string{to_string(tags.error().reason)});
    server->tags_.emplace(std::move(*tags));
    for (const Export& each : exports) {
      const StoreContext context{*server->tags_, server->refused_lookups_, server->regions_};
      if (auto attached = each.store().attach(context); !attached) {
        return std::unexpected("export '" + each.name() + "': " + attached.error());
      }
      server->attached_.push_back(&each.store());
    }
    for (const auto& worker : server->workers_) {
      if (const int error = worker->start(*server->tags_); error != 0) {
        return std::unexpected(std::string{"starting a thread: "} + std::strerror(error));
      }
    }
    return server;
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { stop(); }

  /// Serves a client on this socket, and takes the descriptor. Returns false, and closes the
  /// socket, if as many clients as the server can have are there. Any thread.
  bool add(int socket) {
    Descriptor taken{socket};
    std::optional<blkown::QueueIndex> queue;
    Worker* worker = nullptr;
    {
      const std::lock_guard lock{mutex_};
      if (free_queues_.empty()) {
        ++turned_away_;
        return false;
      }
      queue = free_queues_.back();
      free_queues_.pop_back();
      worker = workers_[next_worker_++ % workers_.size()].get();
    }
    fcntl(taken.get(), F_SETFL, fcntl(taken.get(), F_GETFL) | O_NONBLOCK);
    worker->add(std::move(taken), *queue);
    return true;
  }

  /// Answers what is in flight and refuses what comes, for Limits::stop_ms at most. Then closes all
  /// connections, and waits until the stores have ended all commands. What a client has sent before
  /// it went is executed, within that time.
  void stop() {
    for (const auto& worker : workers_) worker->begin_stop();
    for (const auto& worker : workers_) worker->join();
    // The thread of a store that has ended the last request may still be about to wake its worker.
    for (Store* const store : std::exchange(attached_, {})) store->detach();
  }

  /// The number of clients, of which some may be gone with commands at a store.
  [[nodiscard]] std::size_t connections() {
    const std::lock_guard lock{mutex_};
    return tags_->queue_count() - free_queues_.size();
  }
  [[nodiscard]] std::uint64_t turned_away() {
    const std::lock_guard lock{mutex_};
    return turned_away_;
  }
  [[nodiscard]] const Tags& tags() const noexcept { return *tags_; }
  [[nodiscard]] const RefusedLookups& refused_lookups() const noexcept { return refused_lookups_; }
  /// The sum of a counter over the workers.
  [[nodiscard]] std::uint64_t total(Counter Counters::* counter) const {
    std::uint64_t sum = 0;
    for (const auto& worker : workers_) sum += (worker->counters().*counter).get();
    return sum;
  }

  /// Prints the counters, and a line for each request that is not idle. Any thread.
  void print(std::FILE* file) {
    std::fprintf(file,
                 "connections: %zu now, %" PRIu64 " closed: %" PRIu64 " broken, %" PRIu64
                 " hung up, %" PRIu64 " timed out; %" PRIu64 " turned away\n",
                 connections(), total(&Counters::closed), total(&Counters::broken),
                 total(&Counters::hung_up), total(&Counters::timed_out), turned_away());
    std::fprintf(file,
                 "commands: %" PRIu64 ": %" PRIu64 " refused, %" PRIu64 " failed, %" PRIu64
                 " dropped; bytes read %" PRIu64 ", written %" PRIu64 "\n",
                 total(&Counters::commands), total(&Counters::refused), total(&Counters::failed),
                 total(&Counters::dropped), total(&Counters::read_bytes),
                 total(&Counters::written_bytes));
    std::fprintf(file,
                 "calls: %" PRIu64 " to wait, %" PRIu64 " to receive, %" PRIu64 " to send; %" PRIu64
                 " pauses\n",
                 total(&Counters::waits), total(&Counters::receives), total(&Counters::sends),
                 total(&Counters::pauses));
    std::fprintf(file, "commands by thread:");
    for (const auto& worker : workers_) {
      std::fprintf(file, " %" PRIu64, worker->counters().commands.get());
    }
    std::fprintf(file, "\nrefused lookups:");
    refused_lookups_.print(file);
    std::fprintf(file, "\nin flight: %zu\n", tags_->in_flight());
    print_in_flight(*tags_, file);
    std::fflush(file);
  }

  /// The sink of the TagSet. On the thread that ends the request.
  void operator()(blkown::EndedList<Rq>&& list) {
    while (auto ended = list.pop_front()) {
      Worker& worker = *ended->data().worker;
      worker.deliver(std::move(*ended));
    }
  }

 private:
  Server(const ServerConfig& config, const Exports& exports) : limits_{config.limits} {
    for (std::uint32_t i = config.connections; i-- != 0;) {
      free_queues_.push_back(blkown::QueueIndex{i});
    }
    for (std::uint32_t i = 0; i != config.threads; ++i) {
      workers_.push_back(std::make_unique<Worker>(i, config.payload_slots, exports, limits_,
                                                  [this](blkown::QueueIndex queue) {
                                                    const std::lock_guard lock{mutex_};
                                                    free_queues_.push_back(queue);
                                                  }));
      regions_.push_back(workers_.back()->region());
    }
  }

  const Limits limits_;
  std::vector<blkown::Segment> regions_;
  std::vector<Store*> attached_;
  RefusedLookups refused_lookups_;
  std::optional<Tags> tags_;
  // The workers are destroyed before the tags: their connections have the caches.
  std::vector<std::unique_ptr<Worker>> workers_;

  std::mutex mutex_;
  std::vector<blkown::QueueIndex> free_queues_;
  std::size_t next_worker_ = 0;
  std::uint64_t turned_away_ = 0;
};

}  // namespace nbd_server

#endif
