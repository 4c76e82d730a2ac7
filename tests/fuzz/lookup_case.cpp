// SPDX-License-Identifier: BSL-1.0
//
// Goal: for any layout, any state of the requests and any value, a lookup answers as documented.
//
// Method: the input gives a layout, queues and a depth, brings each request into a state, and then
// sends values: arbitrary ones and changed cookies. A lookup that returns a request is undone.
//
// Invariants: a TagSet is created exactly from sound configurations. Every answer, every field of a
// LookupError and every handle agrees with the reference (reference_decoder.hpp).

#include <array>
#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fuzz_case.hpp"
#include "reference_decoder.hpp"

namespace fuzz {
namespace {

using blkown::LookupReason;

struct Nothing {};
using Rq = blkown::Request<Nothing>;
using Tags = blkown::TagSet<Rq>;
using Owned = blkown::Owned<Rq>;
using Claim = blkown::Claim<Rq>;
using ARef = blkown::ARef<Rq>;

constexpr std::uint32_t max_queues = 3;
constexpr std::uint32_t max_depth = 5;
constexpr bool can_saturate = BLKOWN_WORD_BITS == 32;

/// A request, and the reference's knowledge of it.
struct Slot {
  enum class State : std::uint8_t { idle, parked, shared, owned, claimed, finished, saturated };

  State state = State::idle;
  std::uint32_t generation = 0;
  std::optional<Owned> owned;
  std::optional<Claim> claim;
  std::vector<ARef> pins;

  [[nodiscard]] LookupReason refusal() const {
    switch (state) {
      case State::idle: return LookupReason::idle;
      case State::owned: return LookupReason::owned;
      case State::claimed:
      case State::finished: return LookupReason::claimed;
      case State::saturated: return LookupReason::saturated;
      default: return LookupReason::none;
    }
  }
};

class LookupCase {
 public:
  explicit LookupCase(Bytes bytes) : input_{bytes} {}

  [[nodiscard]] std::string run() {
    read_config();
    auto made = Tags::create(config_, blkown::EndSink<Rq>::freeing());
    verdict_.expect(made.has_value() == is_sound(config_), "whether the configuration is sound");
    if (!made.has_value() || !verdict_.clean()) return verdict_.first();
    tags_.emplace(std::move(*made));
    bring_about_states();
    while (!input_.exhausted() && verdict_.clean()) look_up();
    if (verdict_.clean()) clean_up();
    return verdict_.first();
  }

 private:
  void read_config() {
    switch (input_.below(5)) {
      case 0: config_.layout = blkown::CookieLayout::nvme(); break;
      case 1: config_.layout = blkown::CookieLayout::nbd(); break;
      case 2: config_.layout = blkown::CookieLayout::io_uring(); break;
      case 3: config_.layout = packed_layout(); break;
      default: config_.layout = free_layout(); break;
    }
    config_.queue_count = input_.below(max_queues + 1);
    config_.depth = input_.below(max_depth + 1);
    config_.first_generation =
        blkown::Generation{static_cast<std::uint32_t>(input_.bits(input_.flag() ? 4 : 1))};
    // Mistakes are likely just before the wrap.
    if (input_.flag()) config_.first_generation->value = ~config_.first_generation->value;
  }

  /// Fields one after the other in some order, which is sound most of the time.
  [[nodiscard]] blkown::CookieLayout packed_layout() {
    blkown::CookieLayout layout;
    layout.queue.bits = static_cast<std::uint8_t>(input_.below(4));
    layout.tag.bits = static_cast<std::uint8_t>(input_.below(6));
    layout.generation.bits = static_cast<std::uint8_t>(input_.below(BLKOWN_WORD_BITS / 2 + 1));
    layout.user.bits = static_cast<std::uint8_t>(input_.below(5));
    std::array fields{&layout.queue, &layout.tag, &layout.generation, &layout.user};
    std::swap(fields[0], fields[input_.below(4)]);
    std::swap(fields[1], fields[1 + input_.below(3)]);
    unsigned shift = 0;
    for (blkown::CookieField* field : fields) {
      shift += input_.below(2);
      field->shift = static_cast<std::uint8_t>(shift);
      shift += field->bits;
    }
    layout.width_bits = static_cast<std::uint8_t>(shift + input_.below(3));
    layout.all_ones_reserved = input_.flag();
    return layout;
  }

  /// Any layout, sound or not.
  [[nodiscard]] blkown::CookieLayout free_layout() {
    blkown::CookieLayout layout;
    layout.width_bits = input_.byte();
    for (auto* field : {&layout.queue, &layout.tag, &layout.generation, &layout.user}) {
      field->shift = input_.byte();
      field->bits = input_.byte();
    }
    layout.all_ones_reserved = input_.flag();
    return layout;
  }

  [[nodiscard]] Slot& slot(std::uint64_t queue, std::uint64_t tag) {
    return slots_[static_cast<std::size_t>(queue * config_.depth + tag)];
  }

  /// The next generation, as wide as that of the word.
  [[nodiscard]] static std::uint32_t next(std::uint32_t generation) {
    constexpr std::uint64_t modulus = std::uint64_t{1} << (BLKOWN_WORD_BITS / 2);
    return static_cast<std::uint32_t>((std::uint64_t{generation} + 1) % modulus);
  }

  /// Checks a cookie of the slot.
  void expect_cookie(const blkown::Cookie& cookie, blkown::QueueIndex queue, blkown::Tag tag,
                     std::uint32_t generation) {
    const Parts parts{.queue = queue.value, .tag = tag.value, .generation = generation};
    verdict_.expect(
        cookie == blkown::Cookie{encode(config_.layout, parts), {generation}, tag, queue},
        "a cookie");
  }

  void bring_about_states() {
    const std::uint32_t first = static_cast<std::uint32_t>(
        config_.first_generation->value % (std::uint64_t{1} << (BLKOWN_WORD_BITS / 2)));
    slots_.resize(std::size_t{config_.queue_count} * config_.depth);
    for (blkown::QueueIndex queue; queue.value != config_.queue_count; ++queue.value) {
      for (blkown::Tag tag; tag.value != config_.depth; ++tag.value) {
        Slot& here = slot(queue.value, tag.value);
        // All requests begin at the same generation, so that a wrong tag has a chance.
        auto& header = const_cast<blkown::RequestHeader&>(tags_->header(queue, tag));
        blkown::detail::HeaderAccess::word(header).set_first_generation({first});
        here.generation = first;
        const std::uint32_t ios = input_.below(4);
        for (std::uint32_t io = 0; io != ios; ++io) {
          publish(here, queue, tag);
          end(here, queue, tag);
        }
        const std::uint8_t state = input_.byte();
        // Done rarely, because saturation takes thousands of references.
        const bool saturate = can_saturate && state >= 250;
        bring(here, queue, tag,
              saturate ? Slot::State::saturated : static_cast<Slot::State>(state % 6));
      }
    }
  }

  void publish(Slot& here, blkown::QueueIndex queue, blkown::Tag tag) {
    auto owned = std::move(*tags_->allocate_tag(queue, tag)).start();
    here.generation = next(here.generation);
    expect_cookie(owned.next_cookie(), queue, tag, here.generation);
    std::move(owned).publish(
        [&](blkown::Cookie cookie) { expect_cookie(cookie, queue, tag, here.generation); });
  }
  void end(Slot&, blkown::QueueIndex queue, blkown::Tag tag) {
    std::move(*tags_->claim_any_generation(queue, tag)).end_ok();
  }

  void bring(Slot& here, blkown::QueueIndex queue, blkown::Tag tag, Slot::State state) {
    here.state = state;
    if (state == Slot::State::idle) return;
    publish(here, queue, tag);
    switch (state) {
      case Slot::State::shared:
        here.pins.push_back(*tags_->tag_to_rq_any_generation(queue, tag));
        break;
      case Slot::State::owned:
        here.owned.emplace(*tags_->tag_to_owned_any_generation(queue, tag));
        break;
      case Slot::State::claimed:
        here.pins.push_back(*tags_->tag_to_rq_any_generation(queue, tag));
        here.claim.emplace(*tags_->claim_any_generation(queue, tag));
        break;
      case Slot::State::finished:
        here.pins.push_back(*tags_->tag_to_rq_any_generation(queue, tag));
        end(here, queue, tag);
        break;
      case Slot::State::saturated: {
        auto more = tags_->tag_to_rq_any_generation(queue, tag);
        for (; more.has_value(); more = tags_->tag_to_rq_any_generation(queue, tag)) {
          here.pins.push_back(std::move(*more));
        }
        verdict_.expect(more.error().reason == LookupReason::saturated, "saturation");
        break;
      }
      default: break;
    }
  }

  /// Reads a value from the input: any value, or the cookie of a slot with another generation and
  /// some bits inverted.
  [[nodiscard]] std::uint64_t read_value() {
    if (input_.flag()) return input_.bits(8);
    Parts parts{.queue = input_.below(config_.queue_count), .tag = input_.below(config_.depth)};
    parts.generation = std::uint64_t{slot(parts.queue, parts.tag).generation} + input_.below(4) - 1;
    parts.user = input_.byte();
    const unsigned turned = input_.below(128);
    return encode(config_.layout, parts) ^ (turned < 64 ? std::uint64_t{1} << turned : 0);
  }

  void look_up() {
    const std::uint32_t kind = input_.below(6);
    const blkown::QueueIndex arrival{input_.below(config_.queue_count + 1)};
    Parts parts;
    LookupReason expected = LookupReason::none;
    std::uint64_t value = 0;
    blkown::Tag tag;
    const bool by_tag = kind >= 3;
    if (by_tag) {
      tag.value = input_.below(config_.depth + 1);
      if (arrival.value >= config_.queue_count) {
        expected = LookupReason::no_such_queue;
      } else if (tag.value >= config_.depth) {
        expected = LookupReason::no_such_tag;
      }
    } else {
      value = read_value();
      parts = decode(config_.layout, value);
      tag.value = static_cast<std::uint32_t>(parts.tag);
      expected = by_value(config_, arrival.value, parts);
    }
    Slot* const here = expected == LookupReason::none ? &slot(arrival.value, tag.value) : nullptr;
    if (here != nullptr && !by_tag) {
      expected = by_generation(config_.layout, parts.generation, here->generation);
    }
    if (expected == LookupReason::none) expected = here->refusal();
    if (expected == LookupReason::none && kind % 3 == 1 && here->state == Slot::State::shared) {
      expected = LookupReason::shared;
    }
    const blkown::LookupError error{
        .reason = expected,
        .queue = arrival,
        .tag = tag,
        .expected_generation = {static_cast<std::uint32_t>(parts.generation)},
        .seen_generation = {here == nullptr ? 0 : here->generation}};
    switch (kind) {
      case 0: settle(tags_->claim(arrival, value), error, here); break;
      case 1: settle(tags_->tag_to_owned(arrival, value), error, here); break;
      case 2: settle(tags_->tag_to_rq(arrival, value), error, here); break;
      case 3: settle(tags_->claim_any_generation(arrival, tag), error, here); break;
      case 4: settle(tags_->tag_to_owned_any_generation(arrival, tag), error, here); break;
      default: settle(tags_->tag_to_rq_any_generation(arrival, tag), error, here); break;
    }
  }

  /// Compares an answer with the expected one, and undoes its effect.
  template <class Handle>
  void settle(std::expected<Handle, blkown::LookupError> answer,
              const blkown::LookupError& expected, Slot* here) {
    const LookupReason reason = answer.has_value() ? LookupReason::none : answer.error().reason;
    if (reason != expected.reason) {
      verdict_.expect(false, std::string{to_string(reason)} + " for " + to_string(expected.reason));
    }
    if (!answer.has_value()) verdict_.expect(answer.error() == expected, "an error's fields");
    if (!answer.has_value() || !verdict_.clean()) return;
    verdict_.expect(answer->queue() == expected.queue && answer->tag() == expected.tag,
                    "queue and tag of the request");
    undo(std::move(*answer), *here);
  }
  void undo(Claim claim, Slot& here) {
    expect_cookie(claim.cookie(), claim.queue(), claim.tag(), here.generation);
    std::move(claim).release();
  }
  void undo(Owned owned, Slot& here) {
    expect_cookie(owned.cookie(), owned.queue(), owned.tag(), here.generation);
    here.generation = next(here.generation);
    std::move(owned).park();
  }
  void undo(ARef pin, Slot& here) {
    verdict_.expect(pin.generation().value == here.generation, "a pin's generation");
  }

  void clean_up() {
    for (blkown::QueueIndex queue; queue.value != config_.queue_count; ++queue.value) {
      for (blkown::Tag tag; tag.value != config_.depth; ++tag.value) {
        Slot& here = slot(queue.value, tag.value);
        if (here.owned) std::move(*here.owned).end_ok();
        if (here.claim) std::move(*here.claim).end_ok();
        here.pins.clear();
        auto parked = tags_->claim_any_generation(queue, tag);
        if (parked.has_value()) std::move(*parked).end_ok();
      }
    }
    verdict_.expect(tags_->in_flight() == 0, "an I/O left over");
  }

  Input input_;
  Verdict verdict_;
  blkown::TagSetConfig config_;
  std::optional<Tags> tags_;
  std::vector<Slot> slots_;  // destroyed before the TagSet
};

}  // namespace

std::string run_case(Bytes bytes) { return LookupCase{bytes}.run(); }

}  // namespace fuzz
