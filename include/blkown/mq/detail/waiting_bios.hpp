// SPDX-License-Identifier: BSL-1.0
//
// The bios of a lane that wait to be issued, and what other threads see of them.

#ifndef BLKOWN_MQ_DETAIL_WAITING_BIOS_HPP
#define BLKOWN_MQ_DETAIL_WAITING_BIOS_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/tag.hpp>
#include <cstdint>
#include <optional>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// Why the first bio of a lane waits.
enum class WaitReason : std::uint8_t { frozen, quiesced, stopped, busy, no_tag, order };

/// What a bio waits for, to follow "3 bios wait".
[[nodiscard]] constexpr const char* to_string(WaitReason reason) noexcept {
  switch (reason) {
    case WaitReason::frozen: return "for the thaw of the disk";
    case WaitReason::quiesced: return "for the unquiesce of the disk";
    case WaitReason::stopped: return "for the start of the stopped queue";
    case WaitReason::busy: return "for the driver, which has refused a request as busy";
    case WaitReason::no_tag: return "for a tag";
    case WaitReason::order: return "behind requests that are issued again";
  }
  return "unknown reason";
}

/// The waiting bios of one lane at one moment, for tables.
struct WaitingRow {
  QueueIndex queue;  ///< The hardware queue.
  std::uint32_t count = 0;
  WaitReason reason{};
  // The bio that has waited for the longest time.
  Op op{};
  std::uint64_t sector = 0;
  std::uint64_t length_bytes = 0;
  bool has_age = false;        ///< Whether a timeout scan has found this bio at the head.
  std::uint32_t since_ms = 0;  ///< The time of the first such scan, on the context's clock.
};

/// Waiting bios, in order. Belongs to the lane's context, except row().
class WaitingBios {
 public:
  [[nodiscard]] bool empty() const noexcept { return bios_.empty(); }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] Bio* front() const noexcept { return bios_.front(); }
  void push_front(Bio& bio) noexcept {
    bios_.push_front(bio);
    ++count_;
  }
  void push_back(Bio& bio) noexcept {
    bios_.push_back(bio);
    ++count_;
  }
  [[nodiscard, gnu::always_inline]] Bio* pop_front() noexcept {
    Bio* const bio = bios_.pop_front();
    if (bio != nullptr) --count_;
    return bio;
  }
  [[nodiscard]] BioList take() noexcept {
    count_ = 0;
    return std::move(bios_);
  }

  /// Whether show() has something to do: bios wait, or other threads see some that no longer wait.
  [[nodiscard]] bool needs_show() const noexcept { return count_ != 0 || shown_count_.read() != 0; }
  /// Makes the present state visible to other threads.
  void show(QueueIndex queue, WaitReason reason) noexcept {
    const Bio* const first = bios_.front();
    if (first != seen_first_) forget_age();
    if (first != nullptr) {
      queue_.set(queue.value);
      reason_.set(reason);
      op_.set(first->op());
      sector_.set(first->sector());
      length_bytes_.set(first->length_bytes());
    }
    shown_count_.set(count_);
  }

  /// A timeout scan looks at the first bio. The time of the first scan that finds a bio at the head
  /// is the beginning of its age: no clock is read when a bio begins to wait.
  void see(std::uint32_t now_ms) noexcept {
    if (bios_.front() == seen_first_) return;
    seen_first_ = bios_.front();
    since_ms_.set(now_ms);
    has_age_.set(seen_first_ != nullptr);
  }

  /// Whether show() has made bios visible that wait for this reason.
  [[nodiscard]] bool shows(WaitReason reason) const noexcept {
    return shown_count_.read() != 0 && reason_.read() == reason;
  }

  /// What show() has made visible. None: no bio waited. Each field is read at a moment of its own,
  /// so that they may be of two bios while the context runs.
  /// Context: any.
  [[nodiscard]] std::optional<WaitingRow> row() const noexcept {
    const std::uint32_t count = shown_count_.read();
    if (count == 0) return std::nullopt;
    return WaitingRow{.queue = QueueIndex{queue_.read()},
                      .count = count,
                      .reason = reason_.read(),
                      .op = op_.read(),
                      .sector = sector_.read(),
                      .length_bytes = length_bytes_.read(),
                      .has_age = has_age_.is_set(),
                      .since_ms = since_ms_.read()};
  }

 private:
  /// Two halves, because not every machine has 64-bit atomics.
  class Number {
   public:
    void set(std::uint64_t value) noexcept {
      low_.set(static_cast<std::uint32_t>(value));
      high_.set(static_cast<std::uint32_t>(value >> 32));
    }
    [[nodiscard]] std::uint64_t read() const noexcept {
      return std::uint64_t{high_.read()} << 32 | low_.read();
    }

   private:
    RelaxedNumber<std::uint32_t> low_{0};
    RelaxedNumber<std::uint32_t> high_{0};
  };

  void forget_age() noexcept {
    seen_first_ = nullptr;
    has_age_.set(false);
  }

  BioList bios_;
  const Bio* seen_first_ = nullptr;  // by the last scan, and still the first when bios were shown
  std::uint32_t count_ = 0;
  RelaxedNumber<std::uint32_t> shown_count_{0};
  RelaxedNumber<std::uint32_t> queue_{0};
  RelaxedNumber<WaitReason> reason_{WaitReason::order};
  RelaxedNumber<Op> op_{Op::read};
  Number sector_;
  Number length_bytes_;
  RelaxedFlag has_age_;
  RelaxedNumber<std::uint32_t> since_ms_{0};
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
