// SPDX-License-Identifier: BSL-1.0
//
// The identity of a request and its I/O: the hardware queue, the tag, the generation, and the
// cookie that a device carries; and the error of a lookup whose cookie names no I/O.

#ifndef BLKOWN_TAG_HPP
#define BLKOWN_TAG_HPP

#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <compare>  // IWYU pragma: keep
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The index of a request in its hardware queue, 0 to depth() - 1.
/// Source: blk-mq's rq->tag.
struct Tag {
  std::uint32_t value = 0;
  friend constexpr auto operator<=>(Tag, Tag) = default;
};

/// The index of a hardware queue, 0 to queue_count() - 1. An integer does not convert to a
/// QueueIndex, so a lookup whose queue and value are swapped does not compile.
/// Source: blk-mq's hctx->queue_num.
struct QueueIndex {
  constexpr QueueIndex() noexcept = default;
  /// Explicit, so that a tag or a count is not taken for a queue.
  explicit constexpr QueueIndex(std::uint32_t index) noexcept : value{index} {}

  std::uint32_t value = 0;
  friend constexpr auto operator<=>(QueueIndex, QueueIndex) = default;
};
static_assert(sizeof(QueueIndex) == 4 && std::is_trivially_copyable_v<QueueIndex>,
              "a QueueIndex is passed in a register, as an integer is");

/// The number of a request's publication. Every publication increments the generation, which wraps
/// at the width of the ownership word's field: 32 bits of a 64-bit word, 16 bits of a 32-bit word.
struct Generation {
  std::uint32_t value = 0;
  friend constexpr auto operator<=>(Generation, Generation) = default;
};

/// Identifies one publication of one request. The driver sends `value` to the device, which returns
/// it with the completion (NVMe's command identifier, NBD's cookie, io_uring's user_data). The
/// other fields identify the same publication without loss, for the driver's own use.
struct Cookie {
  std::uint64_t value = 0;
  Generation generation;
  Tag tag;
  QueueIndex queue;
  friend constexpr bool operator==(const Cookie&, const Cookie&) = default;
};

/// Why a lookup failed. A lookup tests for the reasons in this order and returns the first that
/// applies.
enum class LookupReason : std::uint8_t {
  none,              ///< The lookup did not fail. Never the reason of a LookupError.
  no_such_queue,     ///< The arrival queue or the value's queue does not exist.
  no_such_tag,       ///< The tag is not below the depth, or a bit outside the layout is set.
  wrong_queue,       ///< The value's queue is not the arrival queue.
  early,             ///< The generation is the next one, which is not published yet.
  stale_generation,  ///< The generation is another one: the I/O has ended or never existed.
  owned,             ///< A unique handle has the request, so the device does not.
  idle,              ///< No I/O of the request was started, or it has ended.
  claimed,           ///< A Claim has the I/O, or has ended it while pins exist.
  saturated,         ///< The request has as many references as the word allows.
  shared,            ///< tag_to_owned only: references exist.
};

/// The enumerator's name, for messages and counters.
[[nodiscard]] constexpr const char* to_string(LookupReason reason) noexcept {
  switch (reason) {
    case LookupReason::none: return "none";
    case LookupReason::no_such_queue: return "no_such_queue";
    case LookupReason::no_such_tag: return "no_such_tag";
    case LookupReason::wrong_queue: return "wrong_queue";
    case LookupReason::early: return "early";
    case LookupReason::stale_generation: return "stale_generation";
    case LookupReason::owned: return "owned";
    case LookupReason::idle: return "idle";
    case LookupReason::claimed: return "claimed";
    case LookupReason::saturated: return "saturated";
    case LookupReason::shared: return "shared";
  }
  return "unknown reason";
}

/// The number of enumerators, for tables indexed by LookupReason.
inline constexpr std::size_t lookup_reason_count =
    static_cast<std::size_t>(LookupReason::shared) + 1;
static_assert(detail::counts_enumerators<LookupReason>(lookup_reason_count));

/// The error of a lookup, for the driver's log. `seen_generation` is 0 for no_such_queue,
/// no_such_tag and wrong_queue.
struct LookupError {
  LookupReason reason = LookupReason::none;
  QueueIndex queue;                ///< The arrival queue.
  Tag tag;                         ///< The value's tag.
  Generation expected_generation;  ///< The value's generation, as wide as the layout's field.
  Generation seen_generation;      ///< The request's generation at that moment.
  friend constexpr bool operator==(const LookupError&, const LookupError&) = default;
};

/// A field of a CookieLayout: `bits` bits, starting at bit `shift` of the device's integer.
struct CookieField {
  std::uint8_t shift = 0;
  std::uint8_t bits = 0;
  friend constexpr bool operator==(const CookieField&, const CookieField&) = default;

  /// The largest value of the field. 0 for an absent field.
  [[nodiscard]] constexpr std::uint64_t max() const noexcept {
    return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
  }
  /// The field's bits at their place in the integer.
  [[nodiscard]] constexpr std::uint64_t mask() const noexcept {
    return bits == 0 ? 0 : max() << shift;
  }
  /// The field of the integer `value`.
  [[nodiscard]] constexpr std::uint64_t get(std::uint64_t value) const noexcept {
    return bits == 0 ? 0 : (value >> shift) & max();
  }
  /// `field_value` at the field's place. Bits above the field's width are cut off.
  [[nodiscard]] constexpr std::uint64_t put(std::uint64_t field_value) const noexcept {
    return bits == 0 ? 0 : (field_value & max()) << shift;
  }
};

/// The places of queue, tag, generation and user bits in the integer that a device carries.
///
/// With g generation bits a lookup refuses a stale value, unless the tag was published a multiple
/// of 2^g times since. With 0 bits a lookup accepts every value whose request is in flight. With 1
/// bit `early` and `stale_generation` are the same value, and the reason is `early`. Without a
/// queue field the queue is the arrival queue of the completion. Lookups ignore user bits.
///
/// The layout is that of the ids which the driver makes and another party returns. A driver that
/// stands between a front end and a device has two kinds of ids: those of its front end (an NBD
/// client's cookies, a guest's descriptors) are the front end's own and are data, and those that it
/// sends to its backing device are the library's. Choose the layout of the device:
///
///   nvme()      a driver of an NVMe controller
///   nbd()       an NBD client, whose device is the server
///   io_uring()  a program whose device is io_uring, such as an NBD server, a ublk or a vhost-user
///               target over files
///
/// TagSet::create checks the layout, and that it is wide enough for the queues and the depth
/// (TagSetError).
struct CookieLayout {
  std::uint8_t width_bits = 64;  ///< The width of the device's integer.
  CookieField queue;
  CookieField tag;
  CookieField generation;
  CookieField user;
  bool all_ones_reserved = true;  ///< No cookie has every bit of the width set.

  friend constexpr bool operator==(const CookieLayout&, const CookieLayout&) = default;

  /// NVMe's 16-bit command identifier: tag 12 bits, generation 4 bits. FFFFh is reserved. The queue
  /// is the completion's.
  /// Source: NVM Express Base Specification, common command format.
  [[nodiscard]] static constexpr CookieLayout nvme() noexcept {
    return {.width_bits = 16,
            .queue = {},
            .tag = {.shift = 0, .bits = 12},
            .generation = {.shift = 12, .bits = 4},
            .user = {},
            .all_ones_reserved = true};
  }

  /// NBD's 64-bit cookie, which the server returns unchanged: tag 16 bits, queue (connection) 16
  /// bits, generation as wide as the word's.
  /// Source: NBD protocol, simple reply and structured reply.
  [[nodiscard]] static constexpr CookieLayout nbd() noexcept {
    return {.width_bits = 64,
            .queue = {.shift = 16, .bits = 16},
            .tag = {.shift = 0, .bits = 16},
            .generation = {.shift = 32, .bits = widest_generation_bits},
            .user = {},
            .all_ones_reserved = true};
  }

  /// io_uring's 64-bit user_data: tag 16 bits, queue 8 bits, 8 user bits that distinguish the
  /// entries of one request (its link timeout, its cancel), generation as wide as the word's.
  /// liburing uses all ones for its internal timeouts.
  [[nodiscard]] static constexpr CookieLayout io_uring() noexcept {
    return {.width_bits = 64,
            .queue = {.shift = 16, .bits = 8},
            .tag = {.shift = 0, .bits = 16},
            .generation = {.shift = 32, .bits = widest_generation_bits},
            .user = {.shift = 24, .bits = 8},
            .all_ones_reserved = true};
  }

  /// The device's integer for a request, with user bits 0. A generation wider than its field is
  /// cut.
  [[nodiscard]] constexpr std::uint64_t encode(QueueIndex queue_index, Tag tag_index,
                                               Generation current) const noexcept {
    return queue.put(queue_index.value) | tag.put(tag_index.value) | generation.put(current.value);
  }

  /// `value` with its user bits replaced. Bits of `user_bits` above the field's width are cut off.
  [[nodiscard]] constexpr std::uint64_t with_user(std::uint64_t value,
                                                  std::uint64_t user_bits) const noexcept {
    return (value & ~user.mask()) | user.put(user_bits);
  }
  /// The user bits of a value that the device returned.
  [[nodiscard]] constexpr std::uint64_t user_of(std::uint64_t value) const noexcept {
    return user.get(value);
  }

  /// The queue of a value that the device returned, as the value says: not checked against the
  /// queues that exist, and queue 0 if the layout has no queue field. A driver that gets all
  /// completions in one place passes it to a lookup as the arrival queue.
  [[nodiscard]] constexpr QueueIndex queue_of(std::uint64_t value) const noexcept {
    return QueueIndex{static_cast<std::uint32_t>(queue.get(value))};
  }

  /// The bits that no field uses, which are 0 in every value that this layout encodes.
  [[nodiscard]] constexpr std::uint64_t stray_mask() const noexcept {
    return ~(queue.mask() | tag.mask() | generation.mask() | user.mask());
  }

  /// The width of the ownership word's generation, which is the maximum for a layout.
  static constexpr std::uint8_t widest_generation_bits = BLKOWN_WORD_BITS / 2;
};

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
