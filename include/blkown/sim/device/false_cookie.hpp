// SPDX-License-Identifier: BSL-1.0
//
// The cookies of false completions, and the time that a command takes: what the simulated devices
// draw alike.

#ifndef BLKOWN_SIM_DEVICE_FALSE_COOKIE_HPP
#define BLKOWN_SIM_DEVICE_FALSE_COOKIE_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/random.hpp>
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

/// Draws the time that a command takes.
template <class Config>
[[nodiscard]] std::uint64_t draw_latency_ns(const Config& config, Random& random) {
  // Some commands are done before the doorbell returns.
  if (random.chance(1, 8)) return 0;
  if (config.longest_ns < config.shortest_ns) return config.shortest_ns;
  const std::uint64_t span_ns = config.longest_ns - config.shortest_ns;
  // below() is for numbers under 2^32.
  if (span_ns < 0xFFFF'FFFF) return config.shortest_ns + random.below(span_ns + 1);
  return config.shortest_ns + random.next() % span_ns;
}

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
