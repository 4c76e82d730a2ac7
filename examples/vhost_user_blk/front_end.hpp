// SPDX-License-Identifier: BSL-1.0
//
// FrontEnd: a connection of a front end, such as QEMU: what it negotiates, the guest's memory, and
// the set-up of the queues.
//
// A message that changes the memory waits until nothing is in flight, because the store's device
// has the guest's memory until then. One that changes or stops a ring waits for the requests of
// that ring, and no other. While a message waits, such a queue pops nothing, and the socket is not
// read.
//
// A message that is not acceptable changes nothing. The front end is told if it asked to be
// (reply_ack). Otherwise the connection is closed, because the two sides do not agree any more.

#ifndef VHOST_USER_BLK_FRONT_END_HPP
#define VHOST_USER_BLK_FRONT_END_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "block_request.hpp"
#include "channel.hpp"
#include "counters.hpp"
#include "guest_memory.hpp"
#include "inflight_record.hpp"
#include "messages.hpp"
#include "protocol.hpp"
#include "queue.hpp"
#include "signal.hpp"
#include "virtio.hpp"

namespace vhost_user_blk {

using Queues = std::vector<std::unique_ptr<Queue>>;

/// What a front end is offered.
struct Offer {
  DiskInfo disk;
  std::uint16_t queues = 1;
  std::uint32_t depth = 256;
  bool needs_seal = true;  ///< The guest's memory must be sealed: see guest_memory.hpp.

  [[nodiscard]] std::uint64_t features() const noexcept {
    using namespace virtio;
    std::uint64_t bits = feature::version_1 | feature::indirect_desc | feature::event_idx |
                         blk::feature::seg_max | blk::feature::blk_size | blk::feature::flush |
                         vhost_user::feature_protocol_features;
    if (queues > 1) bits |= blk::feature::mq;
    bits |= disk.read_only ? blk::feature::ro : blk::feature::discard | blk::feature::write_zeroes;
    return bits;
  }
  [[nodiscard]] static constexpr std::uint64_t protocol_features() noexcept {
    namespace bit = vhost_user::protocol_feature;
    return bit::mq | bit::reply_ack | bit::config | bit::inflight_shmfd | bit::reset_device;
  }
  [[nodiscard]] virtio::blk::Config config() const noexcept {
    virtio::blk::Config config;
    config.capacity_sectors = disk.size_bytes / virtio::blk::sector_bytes;
    // A header and a result come with the data.
    config.seg_max = std::min<std::uint32_t>(126, depth - std::min(depth - 1, 2U));
    config.num_queues = queues;
    config.max_discard_sectors = 1U << 22;
    config.max_discard_seg = 1;
    config.discard_sector_alignment = 1;
    config.max_write_zeroes_sectors = 1U << 22;
    config.max_write_zeroes_seg = 1;
    config.write_zeroes_may_unmap = 1;
    return config;
  }
};

class FrontEnd {
 public:
  /// Takes a socket that does not block.
  FrontEnd(Descriptor socket, const Offer& offer, Queues& queues, Counters& counters)
      : channel_{std::move(socket)}, offer_{offer}, queues_{queues}, counters_{counters} {}
  FrontEnd(const FrontEnd&) = delete;
  FrontEnd& operator=(const FrontEnd&) = delete;
  /// Precondition: nothing is in flight, because the memory goes, and the queues are abandoned.
  ~FrontEnd() = default;

  [[nodiscard]] int fd() const noexcept { return channel_.fd(); }
  /// Whether a message waits for requests in flight. The socket is not read then.
  [[nodiscard]] bool waits() const noexcept { return waits_; }
  /// Whether the queue pops nothing, because a message waits for its requests.
  [[nodiscard]] bool pauses(const Queue& queue) const noexcept {
    return waits_ && (awaited_ == nullptr || awaited_ == &queue);
  }
  /// Whether what the message has waited for has ended.
  [[nodiscard]] bool can_go_on() const noexcept { return waits_ && awaited_in_flight() == 0; }

  /// Handles messages that are there.
  /// Errors: the reason why the connection is over.
  [[nodiscard]] std::expected<void, vhost_user::MessageError> service() {
    // Not without end: a front end may send faster than it is served.
    for (int budget = 16; budget != 0; --budget) {
      const auto is_there = channel_.receive();
      if (!is_there) return std::unexpected(is_there.error());
      if (!*is_there) return {};
      auto message = channel_.parse();
      if (!message) return std::unexpected(message.error());
      waits_ = needs_idle_queue(*message) && awaited_in_flight() != 0;
      if (waits_) return {};
      const auto done = handle(*message);
      if (const auto told = acknowledge(*message, done); !told) return told;
      channel_.drop();
    }
    return {};
  }

 private:
  using Error = vhost_user::MessageError;
  using Request = vhost_user::Request;
  using Message = vhost_user::Message;
  using Done = std::expected<void, Error>;

  [[nodiscard]] static Done refuse(Error error) { return std::unexpected(error); }

  /// The requests in flight of the queue that a message waits for, or of all.
  [[nodiscard]] std::uint64_t awaited_in_flight() const noexcept {
    if (awaited_ != nullptr) return awaited_->in_flight();
    std::uint64_t sum = 0;
    for (const auto& queue : queues_) sum += queue->in_flight();
    return sum;
  }

  /// Whether the message changes what requests in flight use, or promises that there are none. Sets
  /// the queue that it is about; null: all.
  [[nodiscard]] bool needs_idle_queue(const Message& message) noexcept {
    awaited_ = nullptr;
    switch (message.request) {
      case Request::set_features:
      case Request::set_mem_table:
      case Request::set_inflight_fd:
      case Request::reset_device: return true;
      case Request::set_vring_num:
      case Request::set_vring_base:
      case Request::get_vring_base: awaited_ = queue_at(message.state.index); break;
      case Request::set_vring_addr: awaited_ = queue_at(message.address.index); break;
      default: return false;
    }
    return awaited_ != nullptr;
  }

  /// Whether the message has an answer of its own.
  [[nodiscard]] static bool has_reply(Request request) noexcept {
    switch (request) {
      case Request::get_features:
      case Request::get_protocol_features:
      case Request::get_queue_num:
      case Request::get_vring_base:
      case Request::get_config:
      case Request::get_inflight_fd: return true;
      default: return false;
    }
  }

  /// Tells the front end what became of the message, if it wants to know.
  /// Errors: the reason why the connection is over.
  [[nodiscard]] Done acknowledge(const Message& message, const Done& done) {
    const bool wants_number = message.needs_reply && !has_reply(message.request) &&
                              (protocol_features_ & vhost_user::protocol_feature::reply_ack) != 0;
    if (!wants_number && done) return {};
    // The driver writes to the configuration, and nothing in it can be written: no fault of the
    // front end's.
    const bool is_harmless = message.request == Request::set_config;
    if (!wants_number && !is_harmless) return done;
    if (!done) counters_.message_errors.count(done.error());
    const std::uint64_t failed = done ? 0 : 1;
    return wants_number ? channel_.reply_with(failed) : Done{};
  }

  [[nodiscard]] Done handle(const Message& message) {
    switch (message.request) {
      case Request::get_features: return channel_.reply_with(offer_.features());
      case Request::set_features: return set_features(message.number);
      case Request::get_protocol_features: return channel_.reply_with(Offer::protocol_features());
      case Request::set_protocol_features: return set_protocol_features(message.number);
      case Request::get_queue_num: return channel_.reply_with(std::uint64_t{offer_.queues});
      case Request::set_owner:
      case Request::reset_owner: return {};
      case Request::get_config: return get_config(message.config);
      case Request::set_config: return refuse(Error::bad_value);
      case Request::set_mem_table: return set_memory(message);
      case Request::get_inflight_fd: return get_inflight(message.inflight);
      case Request::set_inflight_fd: return set_inflight(message.inflight);
      case Request::reset_device: return reset_device();
      case Request::set_vring_kick:
      case Request::set_vring_call:
      case Request::set_vring_err: return set_descriptor(message);
      case Request::set_vring_addr: return set_address(message.address);
      case Request::set_vring_num:
      case Request::set_vring_base:
      case Request::get_vring_base:
      case Request::set_vring_enable: return set_state(message.request, message.state);
    }
    return refuse(Error::unknown_request);
  }

  // --- the device

  [[nodiscard]] Done set_features(std::uint64_t features) {
    if ((features & ~offer_.features()) != 0) return refuse(Error::bad_value);
    const RingFeatures of_rings{.indirect_desc = (features & virtio::feature::indirect_desc) != 0,
                                .event_idx = (features & virtio::feature::event_idx) != 0};
    for (const auto& queue : queues_) {
      queue->set_features(of_rings);
      // Without protocol features, there is no message that enables a ring.
      if ((features & vhost_user::feature_protocol_features) == 0) queue->set_enabled(true);
    }
    return {};
  }
  [[nodiscard]] Done set_protocol_features(std::uint64_t features) {
    if ((features & ~Offer::protocol_features()) != 0) return refuse(Error::bad_value);
    protocol_features_ = features;
    return {};
  }
  /// The part of the configuration that is asked for. An answer without payload says that there is
  /// none.
  [[nodiscard]] Done get_config(const vhost_user::ConfigHeader& wanted) {
    struct {
      vhost_user::ConfigHeader header;
      std::array<std::byte, vhost_user::max_config_bytes> bytes;
    } reply{.header = wanted, .bytes = {}};
    if (wanted.offset > reply.bytes.size() || wanted.size > reply.bytes.size() - wanted.offset) {
      counters_.message_errors.count(Error::bad_value);
      return channel_.reply({});
    }
    std::array<std::byte, vhost_user::max_config_bytes> whole{};
    const virtio::blk::Config config = offer_.config();
    std::memcpy(whole.data(), &config, virtio::blk::config_bytes);
    std::memcpy(reply.bytes.data(), whole.data() + wanted.offset, wanted.size);
    return channel_.reply(
        std::as_bytes(std::span{&reply, 1}).first(sizeof(reply.header) + wanted.size));
  }
  [[nodiscard]] Done reset_device() {
    for (const auto& queue : queues_) {
      queue->stop();
      queue->set_enabled(false);
    }
    return {};
  }

  // --- memory

  [[nodiscard]] Done set_memory(const Message& message) {
    const auto table = std::span{message.regions}.first(message.region_count);
    auto mapped = GuestMemory::map(table, channel_.fds(), offer_.needs_seal);
    if (!mapped) {
      counters_.memory_errors.count(mapped.error());
      return refuse(Error::bad_memory);
    }
    memory_ = std::move(*mapped);
    for (const auto& queue : queues_) queue->set_memory(memory_);
    return {};
  }
  [[nodiscard]] Done get_inflight(const vhost_user::Inflight& wanted) {
    const bool is_possible = wanted.num_queues != 0 && wanted.num_queues <= offer_.queues &&
                             wanted.queue_size != 0 && wanted.queue_size <= offer_.depth;
    if (!is_possible) return refuse(Error::bad_value);
    const Descriptor file = InflightRecord::make_file(wanted.num_queues, wanted.queue_size);
    if (!file.is_open()) return refuse(Error::bad_memory);
    vhost_user::Inflight made = wanted;
    made.mmap_size = InflightRecord::bytes(wanted.num_queues, wanted.queue_size);
    made.mmap_offset = 0;
    return channel_.reply_with(made, file.get());
  }
  [[nodiscard]] Done set_inflight(const vhost_user::Inflight& description) {
    for (const auto& queue : queues_) {
      if (queue->is_begun()) return refuse(Error::wrong_state);
    }
    auto record = InflightRecord::map(channel_.fds().front(), description);
    if (!record) {
      counters_.memory_errors.count(record.error());
      return refuse(Error::bad_memory);
    }
    record_ = std::move(*record);
    return {};
  }

  // --- rings

  [[nodiscard]] Queue* queue_at(std::uint32_t index) const noexcept {
    return index < queues_.size() ? queues_[index].get() : nullptr;
  }
  void begin(std::uint32_t index) { queues_[index]->begin(record_.queue(index)); }

  [[nodiscard]] Done set_state(Request request, const vhost_user::VringState& state) {
    Queue* const queue = queue_at(state.index);
    if (queue == nullptr) return refuse(Error::no_such_queue);
    switch (request) {
      case Request::get_vring_base:
        return channel_.reply_with(vhost_user::VringState{state.index, queue->stop()});
      case Request::set_vring_enable:
        if (state.num > 1) return refuse(Error::bad_value);
        queue->set_enabled(state.num == 1);
        return {};
      case Request::set_vring_base:
        if (queue->is_begun()) return refuse(Error::wrong_state);
        if (state.num > UINT16_MAX) return refuse(Error::bad_value);
        queue->set_base(static_cast<std::uint16_t>(state.num));
        return {};
      default:  // set_vring_num
        if (queue->is_begun()) return refuse(Error::wrong_state);
        return queue->set_size(state.num) ? Done{} : refuse(Error::bad_value);
    }
  }
  [[nodiscard]] Done set_address(const vhost_user::VringAddress& address) {
    Queue* const queue = queue_at(address.index);
    if (queue == nullptr) return refuse(Error::no_such_queue);
    if (!queue->has_size()) return refuse(Error::wrong_state);
    if (const RingError error = queue->set_address(address, memory_); error != RingError::none) {
      counters_.ring_errors.count(error);
      return refuse(Error::bad_ring);
    }
    begin(address.index);
    return {};
  }
  [[nodiscard]] Done set_descriptor(const Message& message) {
    Queue* const queue = queue_at(message.queue_of_fd());
    if (queue == nullptr) return refuse(Error::no_such_queue);
    Descriptor fd = channel_.fds().empty() ? Descriptor{} : std::move(channel_.fds().front());
    if (fd.is_open() && !is_signal(fd)) return refuse(Error::bad_value);
    if (message.request == Request::set_vring_call) {
      queue->set_call(std::move(fd));
    } else if (message.request == Request::set_vring_err) {
      queue->set_error(std::move(fd));
    } else {
      // Without a descriptor, the ring would have to be polled.
      if (!fd.is_open() || !queue->set_kick(std::move(fd))) return refuse(Error::bad_value);
      begin(message.queue_of_fd());
    }
    return {};
  }

  Channel channel_;
  const Offer& offer_;
  Queues& queues_;
  Counters& counters_;
  GuestMemory memory_;
  InflightRecord record_;
  std::uint64_t protocol_features_ = 0;
  bool waits_ = false;
  const Queue* awaited_ = nullptr;  // by the message, if it waits. Null: all queues
};

}  // namespace vhost_user_blk

#endif
