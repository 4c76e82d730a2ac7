// SPDX-License-Identifier: BSL-1.0
//
// The values that a hostile device sends, made from random bits and from cookies of real I/Os, and
// a check of the answers. The decoder here shares no code with the library.

#ifndef BLKOWN_TESTS_STRESS_HOSTILE_VALUES_HPP
#define BLKOWN_TESTS_STRESS_HOSTILE_VALUES_HPP

#include <array>
#include <blkown/blkown.hpp>
#include <cstdint>

#include "effort.hpp"

namespace stress {

/// A completion as it arrives.
struct Arrival {
  blkown::QueueIndex queue;
  std::uint64_t value = 0;
};

/// A value, decoded with the layout.
struct Reading {
  std::uint64_t queue = 0;
  std::uint64_t tag = 0;
  std::uint64_t generation = 0;
  bool stray_bits = false;

  Reading(const blkown::CookieLayout& layout, std::uint64_t value) noexcept {
    std::uint64_t rest = value;
    queue = take(rest, layout.queue);
    tag = take(rest, layout.tag);
    generation = take(rest, layout.generation);
    static_cast<void>(take(rest, layout.user));
    stray_bits = rest != 0;
  }

 private:
  /// Moves a field's bits out of `rest`.
  [[nodiscard]] static std::uint64_t take(std::uint64_t& rest, blkown::CookieField field) noexcept {
    if (field.bits == 0) return 0;
    const unsigned above = 64U - field.shift - field.bits;
    const std::uint64_t bits = rest << above >> (above + field.shift);
    rest -= bits << field.shift;
    return bits;
  }
};

/// A generation, cut to the bits that the layout carries.
[[nodiscard]] inline std::uint64_t carried(const blkown::CookieLayout& layout,
                                           std::uint64_t generation) noexcept {
  const unsigned unused = 64U - layout.generation.bits;
  return unused == 64 ? 0 : generation << unused >> unused;
}

/// Why the value names no request, whatever is in flight; `none` if the value names a request.
[[nodiscard]] inline blkown::LookupReason refusal_by_value(const blkown::CookieLayout& layout,
                                                           std::uint32_t queue_count,
                                                           std::uint32_t depth,
                                                           Arrival arrival) noexcept {
  const Reading read{layout, arrival.value};
  const bool names_queue = layout.queue.bits != 0;
  if (arrival.queue.value >= queue_count) return blkown::LookupReason::no_such_queue;
  if (names_queue && read.queue >= queue_count) return blkown::LookupReason::no_such_queue;
  if (read.tag >= depth || read.stray_bits) return blkown::LookupReason::no_such_tag;
  if (names_queue && read.queue != arrival.queue.value) return blkown::LookupReason::wrong_queue;
  return blkown::LookupReason::none;
}

/// The error in a refusal, or null. The reason has to fit the value and the generation seen, and
/// the error has to state what the value names.
[[nodiscard]] inline const char* objection(const blkown::CookieLayout& layout,
                                           std::uint32_t queue_count, std::uint32_t depth,
                                           Arrival arrival, const blkown::LookupError& error) {
  using blkown::LookupReason;
  const Reading read{layout, arrival.value};
  const LookupReason by_value = refusal_by_value(layout, queue_count, depth, arrival);
  if (error.queue != arrival.queue) return "the error names another queue";
  if (error.tag.value != static_cast<std::uint32_t>(read.tag)) {
    return "the error names another tag";
  }
  if (error.expected_generation.value != read.generation) {
    return "the error names another generation";
  }
  if (by_value != LookupReason::none) {
    return error.reason == by_value ? nullptr : "another reason than the value's";
  }
  const std::uint64_t seen = carried(layout, error.seen_generation.value);
  const std::uint64_t next = carried(layout, std::uint64_t{error.seen_generation.value} + 1);
  switch (error.reason) {
    case LookupReason::early:
      if (seen == read.generation) return "early, and yet the generation is the current one";
      return next == read.generation ? nullptr : "early, and yet not the next generation";
    case LookupReason::stale_generation:
      if (seen == read.generation) return "stale, and yet the generation is the current one";
      return next == read.generation ? "stale, and yet the next generation" : nullptr;
    case LookupReason::owned:
    case LookupReason::idle:
    case LookupReason::claimed:
    case LookupReason::saturated:
    case LookupReason::shared:
      return seen == read.generation ? nullptr : "a state reported for another generation";
    case LookupReason::none:
    case LookupReason::no_such_queue:
    case LookupReason::no_such_tag:
    case LookupReason::wrong_queue: break;
  }
  return "a reason that the value does not give";
}

/// Makes hostile arrivals out of true ones.
class Forger {
 public:
  Forger(const blkown::CookieLayout& layout, std::uint32_t queue_count, std::uint64_t stream)
      : layout_{layout}, queue_count_{queue_count}, random_{stream} {}

  /// Random bits: all 64, or as many as the device's integer has.
  [[nodiscard]] Arrival random_value() {
    const std::uint64_t bits = random_.bits();
    const unsigned unused = random_.one_in(2) ? 0 : 64U - layout_.width_bits;
    return {random_queue(), bits << unused >> unused};
  }

  /// The true arrival with one bit inverted.
  [[nodiscard]] Arrival turn_bit(Arrival arrival) {
    const unsigned width = random_.one_in(8) ? 64U : layout_.width_bits;
    arrival.value ^= std::uint64_t{1} << random_.below(width);
    return arrival;
  }

  /// The true arrival with another value in one field, or on another queue.
  [[nodiscard]] Arrival turn_field(Arrival arrival) {
    const std::array fields{layout_.queue, layout_.tag, layout_.generation, layout_.user};
    const std::uint32_t chosen = random_.below(fields.size() + 1);
    if (chosen == fields.size() || fields[chosen].bits == 0) {
      const blkown::QueueIndex queue = random_queue();
      return {queue == arrival.queue ? blkown::QueueIndex{queue.value + 1} : queue, arrival.value};
    }
    const blkown::CookieField field = fields[chosen];
    const unsigned unused = 64U - field.bits;
    const std::uint64_t mask = ~std::uint64_t{0} << unused >> unused << field.shift;
    const std::uint64_t now = (arrival.value & mask) >> field.shift;
    // Real devices confuse neighbouring values; the others are arbitrary.
    const std::array replacements{now + 1, now - 1, std::uint64_t{random_.below(32)},
                                  random_.bits()};
    const std::uint64_t other = replacements[random_.below(replacements.size())];
    const std::uint64_t before = arrival.value;
    arrival.value = (before & ~mask) | (other << field.shift & mask);
    if (arrival.value == before) arrival.value ^= std::uint64_t{1} << field.shift;
    return arrival;
  }

  [[nodiscard]] Random& random() noexcept { return random_; }

 private:
  /// A random queue, most often an existing one.
  [[nodiscard]] blkown::QueueIndex random_queue() {
    if (random_.one_in(32)) {
      return blkown::QueueIndex{static_cast<std::uint32_t>(random_.bits())};
    }
    return blkown::QueueIndex{random_.below(queue_count_ + (random_.one_in(8) ? 1 : 0))};
  }

  blkown::CookieLayout layout_;
  std::uint32_t queue_count_;
  Random random_;
};

}  // namespace stress

#endif
