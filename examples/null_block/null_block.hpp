// SPDX-License-Identifier: BSL-1.0
//
// NullDisk: a null block disk, made of a configuration on a runtime.

#ifndef NULL_BLOCK_NULL_BLOCK_HPP
#define NULL_BLOCK_NULL_BLOCK_HPP

#include <algorithm>
#include <atomic>
#include <blkown/blkown.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config.hpp"
#include "device.hpp"
#include "driver.hpp"
#include "storage/number.hpp"

namespace null_block {

using Disk = mq::Disk<Driver>;
using TagPool = mq::TagPool<Driver>;

/// The number of nodes in a list of the kernel's, such as "0-1,4". At least 1.
[[nodiscard]] inline std::uint32_t count_nodes(std::string_view list) {
  constexpr std::uint64_t max_node = 1023;
  std::uint64_t count = 0;
  while (!list.empty()) {
    const std::string_view range = list.substr(0, list.find_first_of(",\n"));
    list.remove_prefix(std::min(range.size() + 1, list.size()));
    const std::size_t dash = range.find('-');
    const auto first = storage::parse_number(range.substr(0, dash), max_node, false);
    const auto last =
        dash == range.npos ? first : storage::parse_number(range.substr(dash + 1), max_node, false);
    if (first && last && *first <= *last) count += *last - *first + 1;
  }
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(count, 1));
}

/// The number of nodes of this machine. 1, if it does not say.
[[nodiscard]] inline std::uint32_t node_count() {
  std::FILE* const file = std::fopen("/sys/devices/system/node/online", "r");
  if (file == nullptr) return 1;
  char list[4096];
  const std::size_t length = std::fread(list, 1, sizeof(list), file);
  std::fclose(file);
  return count_nodes({list, length});
}

/// The configuration that a disk is made of: a queue for each node, if that is wanted.
[[nodiscard]] inline Config resolve(Config config) {
  if (config.use_per_node_hctx == 0) return config;
  config.submit_queues = node_count();
  config.max_submit_queues = std::max(config.max_submit_queues, config.submit_queues);
  return config;
}

/// The limits of the block layer.
[[nodiscard]] inline mq::QueueLimits limits_of(const Config& config) {
  const auto sectors = [](std::uint64_t bytes) { return bytes / mq::sector_bytes; };
  mq::QueueLimits limits;
  limits.max_sectors = static_cast<std::uint32_t>(config.max_sectors);
  limits.virt_boundary_mask = config.virt_boundary != 0 ? 4095 : 0;
  limits.chunk_sectors = config.chunk_sectors;
  if (config.zoned != 0)
    limits.max_zone_append_sectors = std::min(config.zone_append_max_sectors, config.max_sectors);
  if (config.discard != 0) {
    limits.max_discard_sectors = sectors(config.max_discard);
    limits.discard_granularity_sectors = sectors(config.discard_granularity);
    limits.discard_alignment_sectors = sectors(config.discard_alignment);
  }
  if (config.write_zeroes != 0) {
    limits.max_write_zeroes_sectors = sectors(config.max_write_zeroes);
    limits.write_zeroes_granularity_sectors = sectors(config.write_zeroes_granularity);
    limits.write_zeroes_alignment_sectors = sectors(config.write_zeroes_alignment);
  }
  return limits;
}

/// The configuration of the block layer.
[[nodiscard]] inline mq::DiskConfig disk_config_of(const Config& config) {
  mq::DiskConfig made;
  made.name = "null_block";
  made.capacity_sectors = config.size / mq::sector_bytes;
  made.logical_block_bytes = static_cast<std::uint32_t>(config.blocksize);
  made.limits = limits_of(config);
  made.read_only = config.read_only != 0;
  made.write_cache = config.cache_size != 0;
  made.fua = config.cache_size != 0 && config.fua != 0;
  made.normal_queues = static_cast<std::uint32_t>(config.submit_queues);
  made.max_normal_queues = static_cast<std::uint32_t>(config.max_submit_queues);
  made.poll_queues = static_cast<std::uint32_t>(config.poll_queues);
  made.depth = static_cast<std::uint32_t>(config.hw_queue_depth);
  made.shared_tags = config.shared_tag_bitmap != 0;
  made.timeout_ms = static_cast<std::uint32_t>(config.timeout_ms);
  made.blocking = config.blocking != 0;
  made.rotational = config.rotational != 0;
  if (config.zoned != 0) {
    made.zoned = true;
    made.zone_sectors = config.zone_size / mq::sector_bytes;
    made.max_open_zones = static_cast<std::uint32_t>(config.zone_max_open);
    made.max_active_zones = static_cast<std::uint32_t>(config.zone_max_active);
  }
  return made;
}

/// The name of the parameter behind a field of mq::DiskConfig or mq::QueueLimits.
[[nodiscard]] inline const char* key_of_field(std::string_view field) {
  struct Names {
    const char* field;
    const char* key;
  };
  for (const Names& each : {Names{"capacity_sectors", "size"},
                            {"logical_block_bytes", "blocksize"},
                            {"virt_boundary_mask", "virt_boundary"},
                            {"max_segment_bytes", "virt_boundary"},
                            {"discard_granularity_sectors", "discard_granularity"},
                            {"discard_alignment_sectors", "discard_alignment"},
                            {"max_discard_sectors", "max_discard"},
                            {"write_zeroes_granularity_sectors", "write_zeroes_granularity"},
                            {"write_zeroes_alignment_sectors", "write_zeroes_alignment"},
                            {"max_write_zeroes_sectors", "max_write_zeroes"},
                            {"max_sectors", "max_sectors"},
                            {"chunk_sectors", "chunk_sectors"},
                            {"max_zone_append_sectors", "zone_append_max_sectors"},
                            {"normal_queues", "submit_queues"},
                            {"queues", "submit_queues"},
                            {"init_hctx", "init_hctx_probability"},
                            {"depth", "hw_queue_depth"}}) {
    if (field == each.field) return each.key;
  }
  return nullptr;
}

/// The error of the block layer, with the parameter that caused it.
[[nodiscard]] inline ConfigError config_error(const Config& config, const mq::DiskError& error) {
  const char* const key = key_of_field(error.field);
  std::string text = key == nullptr
                         ? error.field
                         : std::string{key} + "=" + value_text(config, *find_parameter(key));
  text += ": ";
  if (error.reason == mq::DiskReason::init_failed) return {text + "the queue was refused"};
  text += to_string(error.reason);
  if (key != nullptr) {
    text += std::string{"; "} + error.field + " is " + std::to_string(error.given) +
            ", the limit is " + std::to_string(error.limit);
  }
  return {text};
}

/// A null block disk. The functions wait for the disk's contexts, unless they say otherwise.
/// Context: none of the runtime's.
template <mq::Runtime Rt>
class NullDisk {
 public:
  /// Makes a disk. With shared_tags it draws from `pool`.
  /// Precondition: the runtime and the pool outlive the disk.
  /// Errors: the parameter that is wrong.
  [[nodiscard]] static std::expected<std::unique_ptr<NullDisk>, ConfigError> create(
      const Config& wanted, Rt& runtime, TagPool* pool = nullptr) {
    if (const auto checked = check_config(wanted); !checked) {
      return std::unexpected(checked.error());
    }
    const Config config = resolve(wanted);
    if ((config.shared_tags != 0) != (pool != nullptr)) {
      return refuse("shared_tags", std::to_string(config.shared_tags),
                    pool == nullptr ? "there is no set of tags to share" : "give 1");
    }
    if (const auto bound = check_home_node(config.home_node); !bound) {
      return std::unexpected(bound.error());
    }
    std::unique_ptr<NullDisk> made{new NullDisk{runtime}};
    auto device = std::make_unique<Device>(config, runtime.now_ns());
    auto disk = Disk::create(disk_config_of(config), made->driver_, runtime,
                             Driver::QueueData{std::move(device)}, pool);
    if (!disk) return std::unexpected(config_error(config, disk.error()));
    made->disk_ = *std::move(disk);
    // n -> n + 1. Relaxed: a number for a report.
    made->disk_->pool().data().disks->fetch_add(1, std::memory_order_relaxed);
    return made;
  }
  NullDisk(const NullDisk&) = delete;
  NullDisk& operator=(const NullDisk&) = delete;
  ~NullDisk() {
    if (disk_ == nullptr) return;
    const auto disks = disk_->pool().data().disks;  // outlives a set of one disk
    static_cast<void>(mq::remove(runtime_, *disk_));
    disk_->queue_data().restart->alarm.cancel();
    wait_for_contexts();
    disk_.reset();
    // n -> n - 1. Relaxed, as above. After the disk: SharedTags may replace a set without disks.
    disks->fetch_sub(1, std::memory_order_relaxed);
  }

  [[nodiscard]] Disk& disk() noexcept { return *disk_; }
  [[nodiscard]] Device& device() noexcept { return *disk_->queue_data().device; }
  /// The present values of the parameters.
  /// Context: the caller of set(), and no other thread.
  [[nodiscard]] const Config& config() noexcept { return device().config; }

  /// Changes a parameter while the disk is up, with I/O in flight.
  /// Errors: the key is unknown, the value is not allowed, or the parameter cannot change now.
  [[nodiscard]] std::expected<void, ConfigError> set(std::string_view key, std::string_view value) {
    if (key == "badblocks") return change_bad_blocks(device().bad_blocks, value);
    if (const auto change = zone_change_of(key)) return change_zones(*change, key, value);
    Config changed = config();
    if (const auto set = set_parameter(changed, key, value); !set) return set;
    if (find_parameter(key)->change == Change::never) {
      return refuse(key, value, "the disk is up; give it when the disk is made");
    }
    if (const auto checked = check_config(changed); !checked) return checked;
    return apply(changed);
  }

  /// A power cut: the cache's content is lost, but for what `seed` chooses, and all I/O fails until
  /// power_on(). Does not wait.
  /// Context: any.
  void power_off(std::uint64_t seed = 0) {
    if (device().store.has_value()) device().store->power_off(seed);
  }
  /// Ends a power cut. Does not wait.
  /// Context: any.
  void power_on() {
    if (device().store.has_value()) device().store->power_on();
  }

 private:
  explicit NullDisk(Rt& runtime) : runtime_{runtime}, driver_{runtime.context_count()} {}

  [[nodiscard]] std::expected<void, ConfigError> apply(const Config& changed) {
    const mq::QueueLimits limits = limits_of(changed);
    if (limits != limits_of(config())) {
      mq::Event happened;
      mq::Control control{{&set_event, &happened}};
      disk_->set_limits(control, limits);
      static_cast<void>(runtime_.wait_for(happened));
      if (control.error()) return std::unexpected(config_error(changed, *control.error()));
    }
    if (changed.submit_queues != config().submit_queues) {
      const auto status = run([&](mq::Control& control) {
        disk_->set_queue_count(control, static_cast<std::uint32_t>(changed.submit_queues));
      });
      if (status != blkown::Status::ok) {
        return refuse("submit_queues", std::to_string(changed.submit_queues),
                      std::string{"a queue was refused: "} + to_string(status));
      }
    }
    const bool is_other_bandwidth = changed.mbps != config().mbps;
    disk_->set_read_only(changed.read_only != 0);
    static_cast<void>(run([&](mq::Control& control) { disk_->freeze(control); }));
    device().configure(changed, runtime_.now_ns());
    // Else a request that the new bandwidth holds back would wait for the old one's alarm.
    if (is_other_bandwidth) disk_->queue_data().restart->cancel();
    static_cast<void>(run([&](mq::Control& control) { disk_->thaw(control); }));
    // What the old bandwidth held back tries the new one.
    for (std::uint32_t i = 0; is_other_bandwidth && i != disk_->hw_queue_count(); ++i) {
      disk_->hw_queue(blkown::QueueIndex{i}).start();
    }
    return {};
  }
  [[nodiscard]] static std::optional<ZoneChange> zone_change_of(std::string_view key) {
    if (key == "zone_offline") return ZoneChange::offline;
    if (key == "zone_readonly") return ZoneChange::readonly;
    if (key == "zone_online") return ZoneChange::online;
    return std::nullopt;
  }
  [[nodiscard]] std::expected<void, ConfigError> change_zones(ZoneChange change,
                                                              std::string_view key,
                                                              std::string_view zones) {
    if (!device().zones.has_value()) return refuse(key, zones, "needs zoned=1");
    if (!device().has_power()) return refuse(key, zones, "the power is off");
    return device().zones->change(change, key, zones,
                                  [this](std::uint64_t sector, std::uint64_t sectors) {
                                    return device().forget(sector, sectors);
                                  });
  }
  template <class Start>
  [[nodiscard]] blkown::Status run(Start start) {
    return mq::run_and_wait(runtime_, *disk_, start);
  }
  static void set_event(void* event, mq::Control&) { static_cast<mq::Event*>(event)->set(); }

  /// Waits until each context has run what was posted to it, and the function of the alarm.
  void wait_for_contexts() {
    for (std::uint32_t i = 0; i != runtime_.context_count(); ++i) {
      mq::Event happened;
      mq::Work work{[](void* event, mq::Work&) { static_cast<mq::Event*>(event)->set(); },
                    &happened};
      runtime_.context(i).post(work);
      static_cast<void>(runtime_.wait_for(happened));
    }
  }

  Rt& runtime_;
  Driver driver_;
  std::unique_ptr<Disk> disk_;
};

}  // namespace null_block

#endif
