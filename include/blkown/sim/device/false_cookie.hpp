// SPDX-License-Identifier: BSL-1.0
//
// The cookies of false completions, which the simulated devices draw alike.

#ifndef BLKOWN_SIM_DEVICE_FALSE_COOKIE_HPP
#define BLKOWN_SIM_DEVICE_FALSE_COOKIE_HPP

#include <blkown/config.hpp>
#include <blkown/tag.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The cookie of the fault `forged`: random bits, or a tag and a generation that the driver could
/// have.
template <class Config>
[[nodiscard]] std::uint64_t forged_cookie(const Config& config, std::uint32_t queue,
                                          std::uint64_t choice) {
  const Tag tag{static_cast<std::uint32_t>((choice >> 8) % (2 * config.depth))};
  const Generation generation{static_cast<std::uint32_t>(choice >> 32)};
  return choice % 2 == 0 ? choice >> 1 : config.layout.encode(QueueIndex{queue}, tag, generation);
}

/// The cookie of the fault `early`: that of the tag's next publication.
[[nodiscard]] inline std::uint64_t next_cookie(const CookieLayout& layout,
                                               std::uint64_t cookie) noexcept {
  const CookieField& field = layout.generation;
  return (cookie & ~field.mask()) | field.put(field.get(cookie) + 1);
}

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
