// SPDX-License-Identifier: BSL-1.0
//
// Latency: how the times that a device's commands take are distributed.

#ifndef BLKOWN_SIM_DEVICE_LATENCY_HPP
#define BLKOWN_SIM_DEVICE_LATENCY_HPP

#include <bit>
#include <blkown/config.hpp>
#include <blkown/sim/device/random.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// The distribution of the times between the shortest and the longest one of a device.
enum class LatencyShape : std::uint8_t {
  uniform,       ///< Each time is as likely as another. One command in eight takes no time.
  constant,      ///< Every command takes the shortest time.
  heavy_tailed,  ///< Each doubling of the shortest time is half as likely as the one before. One
                 ///< command in eight takes no time.
};

/// The name of the shape, as the kit's options have it.
[[nodiscard]] constexpr const char* to_string(LatencyShape shape) noexcept {
  switch (shape) {
    case LatencyShape::uniform: return "uniform";
    case LatencyShape::constant: return "constant";
    case LatencyShape::heavy_tailed: return "heavy_tailed";
  }
  return "unknown shape";
}

namespace detail {

/// A time of `shortest_ns` to `longest_ns`, drawn evenly.
[[nodiscard]] inline std::uint64_t draw_between(std::uint64_t shortest_ns, std::uint64_t longest_ns,
                                                Random& random) noexcept {
  if (longest_ns < shortest_ns) return shortest_ns;
  const std::uint64_t span_ns = longest_ns - shortest_ns;
  // below() is for numbers under 2^32.
  if (span_ns < 0xFFFF'FFFF) return shortest_ns + random.below(span_ns + 1);
  return shortest_ns + random.next() % span_ns;
}

/// Draws the time that a command takes. Config has shortest_ns, longest_ns and latency.
template <class Config>
[[nodiscard]] std::uint64_t draw_latency_ns(const Config& config, Random& random) noexcept {
  if (config.latency == LatencyShape::constant) return config.shortest_ns;
  // Some commands are done before the doorbell returns.
  if (random.chance(1, 8)) return 0;
  if (config.latency == LatencyShape::uniform) {
    return draw_between(config.shortest_ns, config.longest_ns, random);
  }
  // The number of leading zeroes is k with the probability 2^-(k + 1).
  const int doublings = std::countl_zero(random.next() | 1);
  std::uint64_t least_ns = config.shortest_ns;
  if (least_ns == 0 && config.longest_ns != 0) least_ns = 1;
  for (int i = 0; i != doublings && least_ns <= config.longest_ns / 2; ++i) least_ns *= 2;
  const std::uint64_t most_ns =
      least_ns <= config.longest_ns / 2 ? 2 * least_ns : config.longest_ns;
  return draw_between(least_ns, most_ns, random);
}

}  // namespace detail

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
