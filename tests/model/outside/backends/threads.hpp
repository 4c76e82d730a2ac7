// SPDX-License-Identifier: BSL-1.0
//
// The backend without a checker: std::thread and std::atomic. This backend visits few schedules
// and, without ThreadSanitizer, finds no race. The test of this backend shows that the scenarios
// compile and that their end states are right.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_BACKENDS_THREADS_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_BACKENDS_THREADS_HPP

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace checker {

inline void require(bool condition, std::source_location place = std::source_location::current()) {
  if (condition) [[likely]]
    return;
  std::fprintf(stderr, "%s:%u: %s: required, and does not hold\n", place.file_name(),
               static_cast<unsigned>(place.line()), place.function_name());
  std::abort();
}

template <class T>
class Data {
 public:
  explicit Data(T value) : value_{value} {}
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  [[nodiscard]] T get() const { return value_; }
  void set(T value) { value_ = value; }

 private:
  T value_;
};

}  // namespace checker

#endif
