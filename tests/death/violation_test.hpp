// SPDX-License-Identifier: BSL-1.0
//
// The fixture of the death tests, with one suite for each Violation, and the text that a violation
// must print.

#ifndef BLKOWN_TESTS_DEATH_VIOLATION_TEST_HPP
#define BLKOWN_TESTS_DEATH_VIOLATION_TEST_HPP

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <string>

#include "device.hpp"

namespace death {

/// Uses a result, so that a nodiscard result is not discarded.
template <class T>
void use(const T&) {}

/// Uses the data of a handle, which has a name here: data() of a temporary does not compile.
template <class Handle>
void use_data_of(const Handle& handle, blkown::Place where = blkown::Place::current()) {
  use(handle.data(where));
}

/// Functions to publish with: take accepts every command, refuse refuses every command.
inline void take(const blkown::Cookie&) {}
[[nodiscard]] inline std::expected<void, int> refuse(const blkown::Cookie&) {
  return std::unexpected{1};
}

/// The queue, tag and generation that a violation prints, and `state`.
[[nodiscard]] inline std::string request_in(
    const std::string& state, blkown::Generation generation = Device::first_generation) {
  return ", queue " + std::to_string(Device::queue.value) + " tag " +
         std::to_string(Device::tag.value) + " generation " + std::to_string(generation.value) +
         " " + state;
}
/// The same text with the generation of the first publication.
[[nodiscard]] inline std::string published_in(const std::string& state) {
  return request_in(state, {Device::first_generation.value + 1});
}

/// A type-erased reference to a test's function, so that EXPECT_EXIT is compiled once and not once
/// for each test.
class Act {
 public:
  template <class F>
  Act(const F& act) noexcept
      : act_{&act}, call_{[](const void* called) { (*static_cast<const F*>(called))(); }} {}
  void operator()() const { call_(act_); }

 private:
  const void* act_;
  void (*call_)(const void*);
};

/// Checks that `act` prints exactly this text to stderr and aborts.
inline void expect_abort(const std::string& printed, const Act& act) {
  SCOPED_TRACE(printed);
  EXPECT_EXIT(act(), testing::KilledBySignal(SIGABRT), testing::Eq(printed));
}

/// Checks that `act` neither dies nor prints anything.
inline void expect_silence(const Act& act) {
  EXPECT_EXIT(
      {
        act();
        std::_Exit(0);
      },
      testing::ExitedWithCode(0), testing::Eq(std::string{}));
}

/// The lines that the default handlers print: "blkown: CHANNEL: PROBLEM: REMEDY" and the location.
[[nodiscard]] inline std::string lines_of(const std::string& channel, const std::string& problem,
                                          const std::string& remedy, const std::string& location) {
  return "blkown: " + channel + ": " + problem + ": " + remedy + "\nblkown:   in " + location +
         "\n";
}

template <blkown::Violation violation>
class ViolationTest : public testing::Test {
 protected:
  /// From here on `act` prints these texts in place of the violation's own.
  void prints(const std::string& problem, const std::string& remedy = remedy_of(violation)) {
    problem_ = problem;
    remedy_ = remedy;
  }

  /// `act` aborts with the problem, the remedy, the operation, and `about` its queue and request.
  /// The operation has no caller's place.
  void dies(const std::string& operation, const std::string& about, const Act& act) {
    expect_lines(operation + about, act);
  }
  /// The same, with the caller's place. `act` and this call are one line of code.
  void dies_here(const std::string& operation, const std::string& about, const Act& act,
                 blkown::Place here = blkown::Place::current()) {
    expect_lines(operation + " at " + here.file_name() + ":" + std::to_string(here.line()) + about,
                 act);
  }

  void TearDown() override { EXPECT_NE(deaths_, 0) << "a death test without a death"; }

  Device device;

 private:
  void expect_lines(const std::string& location, const Act& act) {
    ++deaths_;
    expect_abort(lines_of("violation", problem_, remedy_, location), [&] {
      blkown::set_violation_handler(&name_others);
      act();
    });
  }
  /// As the default handler, but names a violation that is not the suite's: an Incident with texts
  /// of its own hides which violation it is.
  static void name_others(blkown::Violation raised, const blkown::Incident& incident) {
    if (raised != violation) std::fprintf(stderr, "raised as: %s\n", to_string(raised));
    blkown::print_and_abort(raised, incident);
  }

  std::string problem_ = to_string(violation);
  std::string remedy_ = remedy_of(violation);
  int deaths_ = 0;
};

}  // namespace death

#endif
