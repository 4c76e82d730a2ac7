// SPDX-License-Identifier: BSL-1.0
//
// Whether this server can take over a device, which another program may have made.

#ifndef UBLK_RECOVERY_HPP
#define UBLK_RECOVERY_HPP

#include <linux/ublk_cmd.h>

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <utility>

#include "protocol.hpp"

namespace ublk {

namespace detail {

/// The first of the device's flags that move data in a way that this server does not serve, or
/// null.
[[nodiscard]] inline const char* foreign_flag(std::uint64_t flags) noexcept {
  constexpr std::array<std::pair<std::uint64_t, const char*>, 5> foreign{
      {{UBLK_F_SUPPORT_ZERO_COPY, "UBLK_F_SUPPORT_ZERO_COPY"},
       {UBLK_F_NEED_GET_DATA, "UBLK_F_NEED_GET_DATA"},
       {flag_user_copy, "UBLK_F_USER_COPY"},
       {flag_zoned, "UBLK_F_ZONED"},
       {flag_auto_buf_reg, "UBLK_F_AUTO_BUF_REG"}}};
  for (const auto& [flag, name] : foreign) {
    if ((flags & flag) != 0) return name;
  }
  return nullptr;
}

}  // namespace detail

/// The geometry of a device that this server can serve on a file of the geometry `file`, whose
/// `block_bytes` are the least that the file takes.
/// Errors: why it cannot, and the remedy, in words.
[[nodiscard]] inline std::expected<Geometry, std::string> recoverable_geometry(
    const ublksrv_ctrl_dev_info& info, const ublk_params& params, const Geometry& file) {
  const auto refused = [](std::string why, const char* remedy) {
    return std::unexpected("the device " + std::move(why) + "; " + remedy);
  };
  constexpr const char* use_another = "recover it with the program that made it, or delete it";
  const Geometry device{.size_bytes = params.basic.dev_sectors << sector_shift,
                        .block_bytes = 1U << params.basic.logical_bs_shift,
                        .max_io_bytes = info.max_io_buf_bytes,
                        .read_only = (params.basic.attrs & UBLK_ATTR_READ_ONLY) != 0};
  if (const char* const flag = detail::foreign_flag(info.flags); flag != nullptr) {
    return refused(std::string{"was made with "} + flag + ", which this server does not serve",
                   use_another);
  }
  if ((info.flags & UBLK_F_USER_RECOVERY) == 0) {
    return refused("was made without UBLK_F_USER_RECOVERY", "delete it");
  }
  if (info.nr_hw_queues > max_queues) {
    return refused("has " + std::to_string(info.nr_hw_queues) + " queues, this server serves " +
                       std::to_string(max_queues) + " at most",
                   use_another);
  }
  if (device.size_bytes != file.size_bytes) {
    return refused("has " + std::to_string(device.size_bytes) + " bytes, the file " +
                       std::to_string(file.size_bytes),
                   "give the file that the device was added with");
  }
  if (device.block_bytes < file.block_bytes) {
    return refused("has blocks of " + std::to_string(device.block_bytes) +
                       " bytes, the file takes no less than " + std::to_string(file.block_bytes),
                   "recover without --direct");
  }
  if (file.read_only && !device.read_only) {
    return refused("takes writes, the file is opened without", "recover without --read-only");
  }
  return device;
}

}  // namespace ublk

#endif
