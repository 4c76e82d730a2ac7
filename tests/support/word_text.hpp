// SPDX-License-Identifier: BSL-1.0
//
// The state of an ownership word as text, in the notation of the tables in ref_value.hpp: "0
// owned", "3 claimed", "2 finished".

#ifndef BLKOWN_TESTS_SUPPORT_WORD_TEXT_HPP
#define BLKOWN_TESTS_SUPPORT_WORD_TEXT_HPP

#include <blkown/detail/ref_value.hpp>
#include <blkown/request.hpp>
#include <memory>
#include <string>
#include <string_view>

namespace support {

/// The count and the flags of a value.
template <class W>
[[nodiscard]] std::string state_text(blkown::detail::RefValue<W> value) {
  std::string text = std::to_string(value.count());
  if (value.owned()) text += " owned";
  if (value.claimed()) text += " claimed";
  if (value.finished()) text += " finished";
  return text;
}

/// The value with this state: a count, or "limit" or "limit-2" for a count near count_limit, then
/// the flags.
template <class W>
[[nodiscard]] blkown::detail::RefValue<W> value_of(std::string_view state,
                                                   blkown::Generation generation) {
  using Value = blkown::detail::RefValue<W>;
  const std::string_view count = state.substr(0, state.find(' '));
  W bits = 0;
  for (const char letter : count) {
    if (letter >= '0' && letter <= '9') bits = bits * 10 + static_cast<W>(letter - '0');
  }
  if (count.starts_with("limit-")) {
    bits = Value::count_limit - bits;
  } else if (count.starts_with("limit")) {
    bits = Value::count_limit + bits;
  }
  if (state.find(" owned") != state.npos) bits |= Value::owned_flag;
  if (state.find(" claimed") != state.npos) bits |= Value::claimed_flag;
  if (state.find(" finished") != state.npos) bits |= Value::finished_flag;
  return Value::idle_at(generation).with_state(bits);
}

/// The present value of a request's word.
[[nodiscard]] inline blkown::detail::RefValue<blkown::Word> word_at(
    const blkown::RequestHeader& header) {
  return blkown::detail::HeaderAccess::word(const_cast<blkown::RequestHeader&>(header)).peek();
}
[[nodiscard]] inline std::string state_at(const blkown::RequestHeader& header) {
  return state_text(word_at(header));
}

/// Sets a request's word to a state that would take too long to reach. Existing handles do not
/// change, so the caller restores the state before they are destroyed.
inline void preset_word(const blkown::RequestHeader& header, std::string_view state) {
  const auto value = value_of<blkown::Word>(state, word_at(header).generation());
  auto& word = blkown::detail::HeaderAccess::word(const_cast<blkown::RequestHeader&>(header));
  std::construct_at(&word, value);
}

}  // namespace support

#endif
