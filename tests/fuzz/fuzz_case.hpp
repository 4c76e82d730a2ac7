// SPDX-License-Identifier: BSL-1.0
//
// A fuzz target is a function from bytes to the first disagreement between the library and a
// reference. Every input is a case. A fuzzer, the corpus and a generator of random bytes all run
// the same function.

#ifndef BLKOWN_TESTS_FUZZ_FUZZ_CASE_HPP
#define BLKOWN_TESTS_FUZZ_FUZZ_CASE_HPP

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace fuzz {

using Bytes = std::span<const std::uint8_t>;

/// Takes choices from the input, front to back. An exhausted input gives zeros.
class Input {
 public:
  explicit Input(Bytes bytes) noexcept : bytes_{bytes} {}

  [[nodiscard]] bool exhausted() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::uint8_t byte() noexcept {
    if (bytes_.empty()) return 0;
    const std::uint8_t first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }
  /// Returns 0 to limit - 1; limit is at most 256.
  [[nodiscard]] std::uint32_t below(std::uint32_t limit) noexcept { return byte() % limit; }
  [[nodiscard]] bool flag() noexcept { return (byte() & 1) != 0; }
  /// Returns `count` bytes, the lowest first.
  [[nodiscard]] std::uint64_t bits(unsigned count) noexcept {
    std::uint64_t value = 0;
    for (unsigned i = 0; i != count; ++i) value |= std::uint64_t{byte()} << (8 * i);
    return value;
  }

 private:
  Bytes bytes_;
};

/// The result of a case: the first thing on which library and reference disagree.
class Verdict {
 public:
  /// Notes a disagreement, unless `agreed`.
  void expect(bool agreed, std::string_view about) {
    if (agreed || !first_.empty()) return;
    first_ = about;
    // Printed at once: on a broken library a violation may end the program before the case returns.
    std::fprintf(stderr, "library and reference disagree: %s\n", first_.c_str());
  }
  [[nodiscard]] bool clean() const noexcept { return first_.empty(); }
  [[nodiscard]] const std::string& first() const noexcept { return first_; }

 private:
  std::string first_;
};

/// The function of this target. Returns an empty string if library and reference agree. One
/// translation unit of each target defines this function.
[[nodiscard]] std::string run_case(Bytes bytes);

}  // namespace fuzz

#endif
