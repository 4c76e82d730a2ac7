// SPDX-License-Identifier: BSL-1.0
//
// The amount of work of a stress test, and the source of its random choices. The environment sets
// both:
//
//     BLKOWN_TEST_SCALE   multiplies every count; default 1.
//     BLKOWN_TEST_SEED    the seed of every random choice; by default each run has a new one. The
//                         seed does not repeat the choices of the scheduler.

#ifndef BLKOWN_TESTS_STRESS_EFFORT_HPP
#define BLKOWN_TESTS_STRESS_EFFORT_HPP

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace stress {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool under_sanitizer = true;
#elif defined(__has_feature)
inline constexpr bool under_sanitizer =
    __has_feature(thread_sanitizer) || __has_feature(address_sanitizer);
#else
inline constexpr bool under_sanitizer = false;
#endif

/// Ends the program, because a test with other numbers than the requested ones would prove
/// something else.
[[noreturn]] inline void bad_environment(const char* variable, const char* value,
                                         const char* wanted) {
  std::fprintf(stderr, "%s=%s: not %s\n", variable, value, wanted);
  std::exit(2);
}

[[nodiscard]] inline double scale() {
  static const double value = [] {
    const char* const text = std::getenv("BLKOWN_TEST_SCALE");
    if (text == nullptr) return 1.0;
    char* end = nullptr;
    const double number = std::strtod(text, &end);
    if (end == text || *end != '\0' || !(number > 0 && number <= 1e6)) {
      bad_environment("BLKOWN_TEST_SCALE", text, "a factor above 0, 1000000 at most");
    }
    return number;
  }();
  return value;
}

/// A count, scaled, and at least 1. With a sanitizer an access takes up to ten times as long, so a
/// test states a second count for it.
[[nodiscard]] inline std::uint64_t scaled(std::uint64_t count, std::uint64_t count_with_sanitizer) {
  const double product =
      static_cast<double>(under_sanitizer ? count_with_sanitizer : count) * scale();
  return product < 1 ? 1 : static_cast<std::uint64_t>(product);
}

/// The seed of this run. The first call prints the seed.
[[nodiscard]] inline std::uint64_t seed() {
  static const std::uint64_t value = [] {
    const char* const text = std::getenv("BLKOWN_TEST_SEED");
    std::uint64_t number = 0;
    if (text == nullptr) {
      std::random_device device;
      number = (std::uint64_t{device()} << 32) | device();
    } else {
      char* end = nullptr;
      errno = 0;
      number = std::strtoull(text, &end, 0);
      if (end == text || *end != '\0' || errno != 0) {
        bad_environment("BLKOWN_TEST_SEED", text, "a number of 64 bits");
      }
    }
    std::printf("BLKOWN_TEST_SEED=%llu\n", static_cast<unsigned long long>(number));
    std::fflush(stdout);
    return number;
  }();
  return value;
}

/// SplitMix64 (Steele, Lea, Flood 2014). Any two streams of one seed differ.
class Random {
 public:
  /// The stream with this number under the seed of the run.
  explicit Random(std::uint64_t stream) noexcept : state_{mix(seed() + mix(stream))} {}

  [[nodiscard]] std::uint64_t bits() noexcept { return mix(state_ += increment); }
  /// 0 to limit - 1. The bias of the multiplication does not matter here.
  [[nodiscard]] std::uint32_t below(std::uint32_t limit) noexcept {
    return static_cast<std::uint32_t>(((bits() >> 32) * limit) >> 32);
  }
  [[nodiscard]] bool one_in(std::uint32_t n) noexcept { return below(n) == 0; }

 private:
  static constexpr std::uint64_t increment = 0x9e37'79b9'7f4a'7c15U;

  [[nodiscard]] static std::uint64_t mix(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9U;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11ebU;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

}  // namespace stress

#endif
