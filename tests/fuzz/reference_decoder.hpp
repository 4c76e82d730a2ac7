// SPDX-License-Identifier: BSL-1.0
//
// A second decoder of cookies and configurations, which works bit by bit and tries every
// possibility. The decoder shares only the description of the layout with the library.

#ifndef BLKOWN_TESTS_FUZZ_REFERENCE_DECODER_HPP
#define BLKOWN_TESTS_FUZZ_REFERENCE_DECODER_HPP

#include <array>
#include <blkown/tag.hpp>
#include <blkown/tag_set_config.hpp>
#include <cstdint>

namespace fuzz {

/// The parts of a cookie, in full width.
struct Parts {
  std::uint64_t queue = 0;
  std::uint64_t tag = 0;
  std::uint64_t generation = 0;
  std::uint64_t user = 0;
  bool stray_bits = false;
};

/// The part to which a bit of a cookie belongs, and the bit's index in that part. Part 4 means no
/// part.
struct BitPlace {
  unsigned part = 4;
  unsigned bit = 0;
};
[[nodiscard]] inline BitPlace place_of(const blkown::CookieLayout& layout, unsigned bit) {
  const std::array fields{layout.queue, layout.tag, layout.generation, layout.user};
  for (unsigned part = 0; part != 4; ++part) {
    for (unsigned i = 0; i != fields[part].bits; ++i) {
      if (unsigned{fields[part].shift} + i == bit) return {part, i};
    }
  }
  return {};
}

[[nodiscard]] inline Parts decode(const blkown::CookieLayout& layout, std::uint64_t value) {
  Parts parts;
  std::array<std::uint64_t*, 4> targets{&parts.queue, &parts.tag, &parts.generation, &parts.user};
  for (unsigned bit = 0; bit != 64; ++bit) {
    if ((value >> bit) % 2 == 0) continue;
    const BitPlace place = place_of(layout, bit);
    if (place.part == 4) {
      parts.stray_bits = true;
    } else {
      *targets[place.part] += std::uint64_t{1} << place.bit;
    }
  }
  return parts;
}

[[nodiscard]] inline std::uint64_t encode(const blkown::CookieLayout& layout, const Parts& parts) {
  const std::array<std::uint64_t, 4> sources{parts.queue, parts.tag, parts.generation, parts.user};
  std::uint64_t value = 0;
  for (unsigned bit = 0; bit != 64; ++bit) {
    const BitPlace place = place_of(layout, bit);
    if (place.part != 4) value += (sources[place.part] >> place.bit) % 2 << bit;
  }
  return value;
}

/// Whether `number` can be written in `bits` bits.
[[nodiscard]] inline bool fits(std::uint64_t number, unsigned bits) {
  return bits >= 64 || number >> bits == 0;
}

/// Whether a TagSet may be created from the configuration.
[[nodiscard]] inline bool is_sound(const blkown::TagSetConfig& config) {
  const blkown::CookieLayout& layout = config.layout;
  if (config.queue_count == 0 || config.depth == 0) return false;
  if (layout.width_bits == 0 || layout.width_bits > 64) return false;
  // Every bit of every field lies within the width, and no two fields overlap.
  std::array<unsigned, 64> uses{};
  for (const auto field : {layout.queue, layout.tag, layout.generation, layout.user}) {
    for (unsigned i = 0; i != field.bits; ++i) {
      const unsigned bit = unsigned{field.shift} + i;
      if (bit >= layout.width_bits || ++uses[bit] > 1) return false;
    }
  }
  if (layout.generation.bits > BLKOWN_WORD_BITS / 2) return false;
  if (layout.queue.bits != 0 && !fits(config.queue_count - 1, layout.queue.bits)) return false;
  if (!fits(config.depth - 1, layout.tag.bits)) return false;
  if (!layout.all_ones_reserved) return true;
  // Whether a cookie could be all ones. Generation and user bits take every value.
  const std::uint64_t all_ones = ~std::uint64_t{0} >> (64 - layout.width_bits);
  const Parts ones = decode(layout, all_ones);
  if (ones.stray_bits) return true;
  return (layout.queue.bits != 0 && ones.queue >= config.queue_count) || ones.tag >= config.depth;
}

/// The low bits of the generation, as many as the layout carries.
[[nodiscard]] inline std::uint64_t carried(const blkown::CookieLayout& layout,
                                           std::uint64_t generation) {
  std::uint64_t carried = 0;
  for (unsigned i = 0; i != layout.generation.bits; ++i) {
    carried += (generation >> i) % 2 << i;
  }
  return carried;
}

/// The refusal of a value that carries `wanted`, by its generation alone. `none`: the generation is
/// current.
[[nodiscard]] inline blkown::LookupReason by_generation(const blkown::CookieLayout& layout,
                                                        std::uint64_t wanted,
                                                        std::uint32_t current) {
  if (wanted == carried(layout, current)) return blkown::LookupReason::none;
  if (wanted == carried(layout, std::uint64_t{current} + 1)) return blkown::LookupReason::early;
  return blkown::LookupReason::stale_generation;
}

/// The refusal of a value by its fields alone. `none`: the value names a request.
[[nodiscard]] inline blkown::LookupReason by_value(const blkown::TagSetConfig& config,
                                                   std::uint32_t arrival_queue,
                                                   const Parts& parts) {
  const bool has_queue = config.layout.queue.bits != 0;
  if (arrival_queue >= config.queue_count) return blkown::LookupReason::no_such_queue;
  if (has_queue && parts.queue >= config.queue_count) return blkown::LookupReason::no_such_queue;
  if (parts.tag >= config.depth || parts.stray_bits) return blkown::LookupReason::no_such_tag;
  if (has_queue && parts.queue != arrival_queue) return blkown::LookupReason::wrong_queue;
  return blkown::LookupReason::none;
}

}  // namespace fuzz

#endif
