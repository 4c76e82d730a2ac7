// SPDX-License-Identifier: BSL-1.0
//
// Goal: the opt-in headers give the library's values the forms that C++ and POSIX programs expect:
// text, errno values, error codes, iovecs, durations.

#include <gtest/gtest.h>

#include <array>
#include <blkown/blkown.hpp>
#include <blkown/duration.hpp>
#include <blkown/error_code.hpp>
#include <blkown/iovec.hpp>
#include <blkown/ostream.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#ifdef __cpp_lib_format
#include <blkown/format.hpp>
#include <format>
#endif

namespace {

template <class T>
std::string streamed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

TEST(Ostream, PrintsEachValueType) {
  const blkown::Cookie cookie{
      .value = 0x6500000005, .generation = {101}, .tag = {5}, .queue = blkown::QueueIndex{2}};
  EXPECT_EQ(streamed(blkown::Tag{5}), "tag 5");
  EXPECT_EQ(streamed(blkown::QueueIndex{2}), "queue 2");
  EXPECT_EQ(streamed(blkown::Generation{101}), "generation 101");
  EXPECT_EQ(streamed(cookie), "cookie 0x6500000005 (queue 2 tag 5 generation 101)");
  EXPECT_EQ(streamed(blkown::CookieLayout::nvme()),
            "16 bits: queue none, tag 12 bits at 0, generation 4 bits at 12, user none");
  EXPECT_EQ(streamed(blkown::TagSetError{blkown::TagSetReason::too_deep, 70000, 65536}),
            "too many requests: given 70000, limit 65536");
  EXPECT_EQ(streamed(blkown::Segment{reinterpret_cast<std::byte*>(std::uintptr_t{0x1000}), 512}),
            "512 bytes at 0x1000");
}

TEST(Ostream, PrintsEachEnumeration) {
  EXPECT_EQ(streamed(blkown::Status::medium_error), "medium_error");
  EXPECT_EQ(streamed(blkown::LookupReason::early), "early");
  EXPECT_EQ(streamed(blkown::TagSetReason::no_depth), "a queue needs at least one request");
  EXPECT_EQ(streamed(blkown::Violation{}), to_string(blkown::Violation{}));
  EXPECT_EQ(streamed(blkown::Report{}), to_string(blkown::Report{}));
}

TEST(Ostream, PrintsTheGenerationsOfALookupThatCameToARequest) {
  blkown::LookupError error{.reason = blkown::LookupReason::stale_generation,
                            .queue = blkown::QueueIndex{0},
                            .tag = {5},
                            .expected_generation = {3},
                            .seen_generation = {4}};
  EXPECT_EQ(streamed(error),
            "stale_generation: queue 0 tag 5, id has generation 3, request has generation 4");
  error.reason = blkown::LookupReason::no_such_tag;
  EXPECT_EQ(streamed(error), "no_such_tag: queue 0 tag 5");
}

#ifdef __cpp_lib_format
TEST(Format, FormatsAValueAsAString) {
  EXPECT_EQ(std::format("[{:>8}] {}", blkown::Tag{5}, blkown::Status::offline),
            "[   tag 5] offline");
}
#endif

TEST(ErrorCode, EachStatusHasAnErrnoValueOfItsOwn) {
  std::set<int> seen;
  for (std::size_t i = 0; i != blkown::status_count; ++i) {
    const auto status = static_cast<blkown::Status>(i);
    const int error = to_errno(status);
    EXPECT_TRUE(seen.insert(error).second) << status;
    EXPECT_EQ(blkown::status_of_errno(error), status) << status;
    EXPECT_EQ(blkown::status_of_errno(-error), status) << status;
  }
}

// The kernel's blk_errors table.
TEST(ErrorCode, TheErrnoValuesAreThoseOfTheKernel) {
  using enum blkown::Status;
  EXPECT_EQ(to_errno(ok), 0);
  // A value read at compile time outside an array would be an error.
  static_assert(to_errno(static_cast<blkown::Status>(blkown::status_count)) == EIO);
  EXPECT_EQ(to_errno(io_error), EIO);
  EXPECT_EQ(to_errno(not_supported), EOPNOTSUPP);
  EXPECT_EQ(to_errno(timed_out), ETIMEDOUT);
  EXPECT_EQ(to_errno(no_space), ENOSPC);
  EXPECT_EQ(to_errno(transport_error), ENOLINK);
  EXPECT_EQ(to_errno(target_error), EREMOTEIO);
  EXPECT_EQ(to_errno(reservation_conflict), EBADE);
  EXPECT_EQ(to_errno(medium_error), ENODATA);
  EXPECT_EQ(to_errno(protection_error), EILSEQ);
  EXPECT_EQ(to_errno(resource), ENOMEM);
  EXPECT_EQ(to_errno(device_resource), EBUSY);
  EXPECT_EQ(to_errno(again), EAGAIN);
  EXPECT_EQ(to_errno(zone_open_resource), ETOOMANYREFS);
  EXPECT_EQ(to_errno(zone_active_resource), EOVERFLOW);
  EXPECT_EQ(to_errno(offline), ENODEV);
  EXPECT_EQ(to_errno(invalid), EINVAL);
  EXPECT_EQ(to_errno(aborted), ECANCELED);
}

TEST(ErrorCode, AnUnknownValueIsAnIoError) {
  EXPECT_EQ(blkown::status_of_errno(EPIPE), blkown::Status::io_error);
  EXPECT_EQ(blkown::status_of_errno(std::numeric_limits<int>::max()), blkown::Status::io_error);
  EXPECT_EQ(blkown::status_of_errno(std::numeric_limits<int>::min()), blkown::Status::io_error);
  EXPECT_EQ(to_errno(static_cast<blkown::Status>(200)), EIO);
}

TEST(ErrorCode, AStatusIsACodeThatEqualsItsErrc) {
  const std::error_code code = blkown::Status::no_space;
  EXPECT_TRUE(code);
  EXPECT_FALSE(std::error_code{blkown::Status::ok});
  EXPECT_EQ(code, std::errc::no_space_on_device);
  EXPECT_NE(code, std::errc::io_error);
  EXPECT_STREQ(code.category().name(), "blkown");
  EXPECT_EQ(code.message(), "no_space");
}

// The values that a Status would take for ok, or for another status, are outside its enumerators.
TEST(ErrorCode, ACodeWithoutAStatusIsAnIoError) {
  for (const int value : {-1, -256, static_cast<int>(blkown::status_count), 256, 256 + 3}) {
    const std::error_code code{value, blkown::status_category()};
    EXPECT_EQ(code, std::errc::io_error) << value;
    EXPECT_EQ(code.message(), "unknown status") << value;
  }
}

TEST(Iovec, HasTheMemoryOfTheSegment) {
  std::array<std::byte, 8> memory{};
  const blkown::Segment segment{memory.data() + 2, 5};
  const ::iovec vector = blkown::to_iovec(segment);
  EXPECT_EQ(vector.iov_base, memory.data() + 2);
  EXPECT_EQ(vector.iov_len, 5U);
  EXPECT_EQ(blkown::to_segment(vector), segment);
}

TEST(Duration, IsRoundedUp) {
  using namespace std::chrono_literals;
  EXPECT_EQ(blkown::to_ns(3ms), 3'000'000U);
  EXPECT_EQ(blkown::to_ms(3ms), 3U);
  EXPECT_EQ(blkown::to_ms(3'000'001ns), 4U);
  EXPECT_EQ(blkown::to_ns(1.5us), 1'500U);
  EXPECT_EQ(blkown::to_ms(0.25ms), 1U);
  EXPECT_EQ(blkown::to_ns(std::chrono::duration<int, std::pico>{1'001}), 2U);
  EXPECT_EQ(blkown::to_ns(std::chrono::duration<std::int64_t, std::atto>{INT64_MAX}),
            9'223'372'037U);
  EXPECT_EQ(blkown::to_ns(std::chrono::duration<int, std::ratio<1, 3>>{2}), 666'666'667U);
}

TEST(Duration, SaturatesAtBothEnds) {
  using namespace std::chrono_literals;
  EXPECT_EQ(blkown::to_ns(-1ns), 0U);
  EXPECT_EQ(blkown::to_ns(std::chrono::nanoseconds::min()), 0U);
  EXPECT_EQ(blkown::to_ns(std::chrono::hours::max()), UINT64_MAX);
  EXPECT_EQ(blkown::to_ns(std::chrono::years{600}), UINT64_MAX);
  EXPECT_EQ(blkown::to_ms(std::chrono::years{600}), UINT32_MAX);
  EXPECT_EQ(blkown::to_ns(std::chrono::nanoseconds::max()), std::uint64_t{INT64_MAX});
  EXPECT_EQ(blkown::to_ns(std::chrono::duration<double>{1e300}), UINT64_MAX);
  EXPECT_EQ(blkown::to_ns(std::chrono::duration<double>{std::numeric_limits<double>::quiet_NaN()}),
            0U);
}

TEST(Duration, IsExactForAnyPeriod) {
  using Most = std::chrono::duration<std::int64_t, std::ratio<INT64_MAX, 100'000'000'003>>;
  EXPECT_EQ(blkown::to_ns(Most{1}), 92233720365780747U);
  EXPECT_EQ(blkown::to_ns(Most{7}), 645636042560465226U);
  EXPECT_EQ(blkown::to_ns(Most{INT64_MAX}), UINT64_MAX);
  EXPECT_EQ(blkown::to_ms(Most{0}), 0U);
  using Least = std::chrono::duration<std::int64_t, std::ratio<1, 100'000'000'003>>;
  EXPECT_EQ(blkown::to_ns(Least{100'000'000'003}), 1'000'000'000U);
  EXPECT_EQ(blkown::to_ns(Least{100'000'000'002}), 1'000'000'000U);
  EXPECT_EQ(blkown::to_ns(Least{99'000'000'000}), 990000000U);
  using Long = std::chrono::duration<std::int64_t, std::ratio<INT64_MAX, 5>>;
  EXPECT_EQ(blkown::to_ns(Long{1}), UINT64_MAX);
  EXPECT_EQ(blkown::to_ms(Long{1}), UINT32_MAX);
}

TEST(CookieLayout, NamesTheQueueOfAValue) {
  const blkown::CookieLayout layout = blkown::CookieLayout::io_uring();
  const std::uint64_t value =
      layout.encode(blkown::QueueIndex{7}, blkown::Tag{300}, blkown::Generation{9});
  EXPECT_EQ(layout.queue_of(value), blkown::QueueIndex{7});
  EXPECT_EQ(layout.queue_of(layout.with_user(value, 3)), blkown::QueueIndex{7});
  EXPECT_EQ(blkown::CookieLayout::nvme().queue_of(0xFFFF), blkown::QueueIndex{0});
}

// --- saturating arithmetic -----------------------------------------------------------------------

TEST(Saturating, ASumOrProductThatFitsIsExact) {
  using blkown::detail::never_ns;
  using blkown::detail::saturating_add;
  using blkown::detail::saturating_multiply;
  EXPECT_EQ(saturating_add(never_ns - 1, 1), never_ns);
  EXPECT_EQ(saturating_add(never_ns - 2, 1), never_ns - 1);
  EXPECT_EQ(saturating_add(never_ns - 1, 2), never_ns);
  EXPECT_EQ(saturating_add(never_ns, never_ns), never_ns);
  EXPECT_EQ(saturating_multiply(never_ns / 2, 2), never_ns - 1);
  EXPECT_EQ(saturating_multiply(never_ns / 2 + 1, 2), never_ns);
  EXPECT_EQ(saturating_multiply(never_ns, 1), never_ns);
  EXPECT_EQ(saturating_multiply(never_ns, 0), 0U);
  EXPECT_EQ(saturating_multiply(0, never_ns), 0U);
}

TEST(Saturating, AQuotientIsThatOfTheExactProduct) {
  using blkown::detail::multiply_divide;
  for (std::uint64_t a = 0; a != 24; ++a) {
    for (std::uint64_t b = 0; b != 24; ++b) {
      for (std::uint64_t divisor = 1; divisor != 12; ++divisor) {
        const auto quotient = multiply_divide(a, b, divisor);
        ASSERT_EQ(quotient.whole, a * b / divisor) << a << ' ' << b << ' ' << divisor;
        ASSERT_EQ(quotient.rest, a * b % divisor) << a << ' ' << b << ' ' << divisor;
      }
    }
  }
  constexpr std::uint64_t large = (std::uint64_t{1} << 63) - 1;
  EXPECT_EQ(multiply_divide(large, large, large).whole, large);
  EXPECT_EQ(multiply_divide(large, large, large).rest, 0U);
  EXPECT_EQ(multiply_divide(blkown::detail::never_ns, 3, 2).whole, blkown::detail::never_ns);
}

}  // namespace
