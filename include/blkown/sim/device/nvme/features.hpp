// SPDX-License-Identifier: BSL-1.0
//
// NvmeFeatures: the features of a simulated NVMe controller.

#ifndef BLKOWN_SIM_DEVICE_NVME_FEATURES_HPP
#define BLKOWN_SIM_DEVICE_NVME_FEATURES_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/nvme/features.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <blkown/sim/device/nvme/config.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The values of the features. None of them is saved: a reset brings the defaults back.
/// Context: one at a time.
class NvmeFeatures {
 public:
  /// Composite Temperature, in kelvins.
  static constexpr std::uint16_t temperature_k = 300;

  explicit NvmeFeatures(const NvmeConfig& config) : config_{config} { reset(); }

  void reset() noexcept {
    for (std::size_t i = 0; i != values_.size(); ++i) values_[i] = defaults(i);
    over_temperature_k_ = default_over_temperature_k;
    under_temperature_k_ = 0;
    coalescing_off_ = {};
    are_queues_fixed_ = false;
  }

  /// An I/O queue was created: the number of queues may not change any more.
  void fix_number_of_queues() noexcept { are_queues_fixed_ = true; }

  [[nodiscard]] nvme::NumberOfQueues number_of_queues() const noexcept {
    return {value(nvme::FeatureId::number_of_queues)};
  }
  [[nodiscard]] nvme::Arbitration arbitration() const noexcept {
    return {value(nvme::FeatureId::arbitration)};
  }
  [[nodiscard]] nvme::VolatileWriteCache volatile_write_cache() const noexcept {
    return {value(nvme::FeatureId::volatile_write_cache)};
  }
  [[nodiscard]] nvme::AsyncEventConfiguration events() const noexcept {
    return {value(nvme::FeatureId::asynchronous_event_configuration)};
  }
  /// How the interrupts of a vector are coalesced. Vector 0 is the admin queue's: not at all.
  [[nodiscard]] nvme::InterruptCoalescing coalescing(std::uint16_t vector) const noexcept {
    if (vector == 0 || coalescing_off_[vector]) return {};
    return {value(nvme::FeatureId::interrupt_coalescing)};
  }
  /// Whether the temperature is beyond a threshold.
  [[nodiscard]] bool is_temperature_wrong() const noexcept {
    return temperature_k >= over_temperature_k_ || temperature_k <= under_temperature_k_;
  }

  [[nodiscard]] bool is_supported(nvme::FeatureId id) const noexcept {
    using enum nvme::FeatureId;
    switch (id) {
      case arbitration:
      case power_management:
      case temperature_threshold:
      case error_recovery:
      case number_of_queues:
      case interrupt_coalescing:
      case interrupt_vector_configuration:
      case write_atomicity_normal:
      case asynchronous_event_configuration: return true;
      case volatile_write_cache: return config_.has_volatile_cache;
      default: return false;
    }
  }
  /// Whether each namespace has a value of the feature, which the namespace keeps.
  [[nodiscard]] static constexpr bool is_per_namespace(nvme::FeatureId id) noexcept {
    return id == nvme::FeatureId::error_recovery;
  }

  /// Precondition: is_supported(), and not is_per_namespace().
  /// Source: NVMe Base 1.4, section 5.21.
  [[nodiscard]] NvmeOutcome set(const nvme::SubmissionEntry& entry) {
    using enum nvme::FeatureId;
    using nvme::StatusCode;
    const nvme::FeatureId id = entry.feature();
    const std::uint32_t value = entry.feature_value();
    switch (id) {
      case number_of_queues: return set_number_of_queues({value});
      case temperature_threshold: return set_temperature_threshold(value);
      case interrupt_vector_configuration: {
        const nvme::InterruptVectorConfiguration vector{value};
        if (vector.vector() >= config_.vectors) return refused(StatusCode::invalid_field);
        coalescing_off_[vector.vector()] = vector.is_coalescing_off();
        return {};
      }
      case power_management:
        // Only power state 0 exists.
        if (nvme::PowerManagement{value}.power_state() != 0) {
          return refused(StatusCode::invalid_field);
        }
        break;
      default: break;
    }
    values_[static_cast<std::size_t>(id)] = value;
    return {};
  }
  /// Precondition: is_supported(). Of a feature that is_per_namespace(), only the capabilities.
  /// Source: NVMe Base 1.4, section 5.13.
  [[nodiscard]] NvmeOutcome get(const nvme::SubmissionEntry& entry) const {
    using nvme::StatusCode;
    const nvme::FeatureId id = entry.feature();
    switch (entry.feature_select()) {
      case nvme::FeatureSelect::current: return current(id, entry.feature_value());
      case nvme::FeatureSelect::default_value:
      case nvme::FeatureSelect::saved:  // without a saved value: the default
        if (id == nvme::FeatureId::temperature_threshold) {
          return of_threshold(entry.feature_value(), default_over_temperature_k, 0);
        }
        if (id == nvme::FeatureId::interrupt_vector_configuration) {
          return of_vector(entry.feature_value(), false);
        }
        return {.dw0 = defaults(static_cast<std::size_t>(id))};
      case nvme::FeatureSelect::supported_capabilities:
        return {.dw0 = changeable | (is_per_namespace(id) ? per_namespace : 0)};
    }
    return refused(StatusCode::invalid_field);
  }

 private:
  static constexpr std::uint16_t default_over_temperature_k = 343;
  // The bits of the supported capabilities.
  static constexpr std::uint32_t per_namespace = 2;
  static constexpr std::uint32_t changeable = 4;

  [[nodiscard]] std::uint32_t value(nvme::FeatureId id) const noexcept {
    return values_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] std::uint32_t defaults(std::size_t id) const noexcept {
    switch (static_cast<nvme::FeatureId>(id)) {
      case nvme::FeatureId::volatile_write_cache:
        return nvme::VolatileWriteCache::of(config_.has_volatile_cache).value;
      case nvme::FeatureId::number_of_queues:
        return nvme::NumberOfQueues::of(config_.io_queues, config_.io_queues).value;
      case nvme::FeatureId::asynchronous_event_configuration: {
        nvme::AsyncEventConfiguration all;
        all.set_smart_warnings(UINT8_MAX);
        return all.value;
      }
      default: return 0;
    }
  }
  [[nodiscard]] NvmeOutcome current(nvme::FeatureId id, std::uint32_t dword11) const {
    if (id == nvme::FeatureId::temperature_threshold) {
      return of_threshold(dword11, over_temperature_k_, under_temperature_k_);
    }
    if (id == nvme::FeatureId::interrupt_vector_configuration) {
      return of_vector(dword11, true);
    }
    return {.dw0 = value(id)};
  }
  [[nodiscard]] NvmeOutcome of_vector(std::uint32_t dword11, bool is_current) const {
    const auto vector = static_cast<std::uint16_t>(dword11);
    if (vector >= config_.vectors) return refused(nvme::StatusCode::invalid_field);
    const bool is_off = is_current && coalescing_off_[vector];
    return {.dw0 = nvme::InterruptVectorConfiguration::of(vector, is_off).value};
  }

  [[nodiscard]] NvmeOutcome set_number_of_queues(nvme::NumberOfQueues asked) {
    // The value 65,535 of a field, which asks for 65,536 queues, is reserved.
    if (asked.submission_queues() > 65535 || asked.completion_queues() > 65535) {
      return refused(nvme::StatusCode::invalid_field);
    }
    if (are_queues_fixed_) return refused(nvme::StatusCode::command_sequence_error);
    const std::uint32_t most = config_.io_queues;
    const auto given = nvme::NumberOfQueues::of(std::min(most, asked.submission_queues()),
                                                std::min(most, asked.completion_queues()));
    values_[static_cast<std::size_t>(nvme::FeatureId::number_of_queues)] = given.value;
    return {.dw0 = given.value};
  }
  /// Dword 11: TMPTH in bits 15 to 0, TMPSEL in bits 19 to 16, THSEL in bits 21 to 20.
  [[nodiscard]] std::optional<bool> is_over(std::uint32_t dword11) const noexcept {
    const std::uint32_t sensor = (dword11 >> 16) & 15;
    const std::uint32_t type = (dword11 >> 20) & 3;
    // Sensor 0 is the composite temperature, the only one; Fh are all.
    if ((sensor != 0 && sensor != 15) || type > 1) return std::nullopt;
    return type == 0;
  }
  [[nodiscard]] NvmeOutcome set_temperature_threshold(std::uint32_t dword11) {
    const auto over = is_over(dword11);
    if (!over.has_value()) return refused(nvme::StatusCode::invalid_field);
    (*over ? over_temperature_k_ : under_temperature_k_) = static_cast<std::uint16_t>(dword11);
    return {};
  }
  [[nodiscard]] NvmeOutcome of_threshold(std::uint32_t dword11, std::uint16_t over_k,
                                         std::uint16_t under_k) const {
    const auto over = is_over(dword11);
    if (!over.has_value()) return refused(nvme::StatusCode::invalid_field);
    return {.dw0 = *over ? over_k : under_k};
  }

  const NvmeConfig& config_;
  std::array<std::uint32_t, 16> values_{};
  std::uint16_t over_temperature_k_ = 0;
  std::uint16_t under_temperature_k_ = 0;
  std::array<bool, 64> coalescing_off_{};
  bool are_queues_fixed_ = false;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
