// SPDX-License-Identifier: BSL-1.0
//
// Notes: what a context's side of a disk has to do when the outermost Entry ends.

#ifndef BLKOWN_MQ_DETAIL_NOTES_HPP
#define BLKOWN_MQ_DETAIL_NOTES_HPP

#include <bit>
#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// One word, because each submit tests all of them. Belongs to its context.
struct alignas(4) Notes {
  bool may_be_busy = false;        ///< A lane may be busy, so that a retry must be pending.
  std::uint8_t control_steps = 0;  ///< The answers that are due (ControlPart).
  bool resume_pending = false;     ///< settle() resumes the lanes.
  bool unused = false;             ///< So that each bit of the word is a member's.

  [[nodiscard]] bool is_any() const noexcept { return std::bit_cast<std::uint32_t>(*this) != 0; }
  [[nodiscard]] bool is_any_but_resume() const noexcept {
    return may_be_busy || control_steps != 0;
  }
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
