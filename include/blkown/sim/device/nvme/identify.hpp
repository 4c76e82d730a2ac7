// SPDX-License-Identifier: BSL-1.0
//
// The Identify data of a simulated NVMe controller.

#ifndef BLKOWN_SIM_DEVICE_NVME_IDENTIFY_HPP
#define BLKOWN_SIM_DEVICE_NVME_IDENTIFY_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/nvme/identify.hpp>
#include <blkown/nvme/registers.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/sim/device/nvme/config.hpp>
#include <blkown/sim/device/nvme/state.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

using IdentifyBuffer = std::span<std::byte, nvme::identify_bytes>;

/// Fills the data structure that an Identify command asks for.
/// Errors: invalid_field for a structure that the controller does not have, invalid_namespace.
/// Source: NVMe Base 1.4, section 5.15.
class NvmeIdentify {
 public:
  explicit NvmeIdentify(NvmeState& state) : state_{state} {}

  [[nodiscard]] nvme::StatusCode fill(const nvme::SubmissionEntry& entry, IdentifyBuffer data) {
    std::memset(data.data(), 0, data.size());
    switch (entry.cns()) {
      case nvme::Cns::identify_namespace: return fill_namespace(entry.nsid, data);
      case nvme::Cns::identify_controller: return fill_controller(data);
      case nvme::Cns::active_namespace_list: return fill_active_list(entry.nsid, data);
      case nvme::Cns::namespace_descriptors: return fill_descriptors(entry.nsid, data);
      default: return nvme::StatusCode::invalid_field;
    }
  }

 private:
  using Code = nvme::StatusCode;

  [[nodiscard]] Code fill_controller(IdentifyBuffer data) const {
    using namespace std::string_view_literals;
    const NvmeConfig& config = state_.config;
    nvme::IdentifyController its;
    its.set_serial("SIM-0001"sv);
    its.set_model("blkown simulated controller"sv);
    its.set_firmware(state_.firmware.revision());
    its.mdts = static_cast<std::uint8_t>(config.max_transfer_exponent);
    its.controller_id = 1;
    its.version = nvme::Version::of(1, 4, 0).value;
    its.controller_type = 1;
    its.abort_limit = static_cast<std::uint8_t>(config.abort_limit - 1);
    its.async_event_limit = static_cast<std::uint8_t>(config.event_limit - 1);
    its.oacs = nvme::oacs::firmware;
    // Slot 1 is read only; a slot can be activated without a reset.
    its.set_firmware_updates(NvmeFirmware::slot_count, true, true);
    its.firmware_granularity = NvmeFirmware::granularity_bytes / 4096;
    its.log_page_attributes = nvme::lpa::extended;
    its.error_log_entries = static_cast<std::uint8_t>(config.error_log_entries - 1);
    its.warning_temperature_k = 343;
    its.critical_temperature_k = 353;
    its.set_submission_entry_exponents(6, 6);
    its.set_completion_entry_exponents(4, 4);
    its.namespace_count = static_cast<std::uint32_t>(state_.namespaces.size());
    its.oncs = nvme::oncs::compare | nvme::oncs::dataset_management | nvme::oncs::write_zeroes |
               nvme::oncs::save_features;
    its.set_volatile_write_cache(config.has_volatile_cache, true);
    its.max_allowed_namespaces = static_cast<std::uint32_t>(state_.namespaces.size());
    constexpr std::string_view nqn = "nqn.2014-08.org.nvmexpress:blkown:sim";
    std::memcpy(its.subsystem_nqn.data(), nqn.data(), nqn.size());
    std::memcpy(data.data(), &its, sizeof its);
    return Code::success;
  }
  [[nodiscard]] Code fill_namespace(std::uint32_t nsid, IdentifyBuffer data) {
    if (nsid == 0 || nsid > state_.namespaces.size()) return Code::invalid_namespace;
    const NvmeNamespaceState* const found = state_.find_namespace(nsid);
    if (found == nullptr) return Code::success;  // inactive: all zeroes
    nvme::IdentifyNamespace its;
    its.size_blocks = its.capacity_blocks = its.used_blocks = found->block_count();
    its.set_deallocate_features(nvme::DeallocatedRead::zeroes, true);
    its.capacity_bytes = {found->media->capacity_bytes(), 0};
    its.formats[0] = {.metadata_bytes = 0,
                      .data_exponent = static_cast<std::uint8_t>(found->block_exponent()),
                      .performance = 0};
    its.eui64 = eui64_of(nsid);
    std::memcpy(data.data(), &its, sizeof its);
    return Code::success;
  }
  [[nodiscard]] Code fill_active_list(std::uint32_t above, IdentifyBuffer data) {
    if (above >= nvme::all_namespaces - 1) return Code::invalid_namespace;
    nvme::ActiveNamespaceList list;
    std::size_t count = 0;
    for (std::uint64_t nsid = std::uint64_t{above} + 1; nsid <= state_.namespaces.size(); ++nsid) {
      if (count == list.nsids.size()) break;
      const auto id = static_cast<std::uint32_t>(nsid);
      if (state_.find_namespace(id) != nullptr) list.nsids[count++] = id;
    }
    std::memcpy(data.data(), &list, sizeof list);
    return Code::success;
  }
  /// One descriptor: the EUI64, of type 1 and length 8.
  [[nodiscard]] Code fill_descriptors(std::uint32_t nsid, IdentifyBuffer data) {
    if (state_.find_namespace(nsid) == nullptr) return state_.single_namespace_error(nsid);
    const auto eui64 = eui64_of(nsid);
    data[0] = std::byte{1};
    data[1] = std::byte{sizeof eui64};
    std::memcpy(data.data() + 4, eui64.data(), sizeof eui64);
    return Code::success;
  }
  [[nodiscard]] static std::array<std::uint8_t, 8> eui64_of(std::uint32_t nsid) noexcept {
    // Locally administered, then the identifier, big endian.
    return {0x02,
            0,
            0,
            0,
            static_cast<std::uint8_t>(nsid >> 24),
            static_cast<std::uint8_t>(nsid >> 16),
            static_cast<std::uint8_t>(nsid >> 8),
            static_cast<std::uint8_t>(nsid)};
  }

  NvmeState& state_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
