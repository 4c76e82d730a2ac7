// SPDX-License-Identifier: BSL-1.0
//
// operator<< for the enumerations and value types of mq: see blkown/ostream.hpp.

#ifndef BLKOWN_MQ_OSTREAM_HPP
#define BLKOWN_MQ_OSTREAM_HPP

#include <blkown/config.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/trace.hpp>
#include <blkown/ostream.hpp>
#include <string>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

template <>
inline constexpr bool has_text<mq::CompletionMode> = true;
template <>
inline constexpr bool has_text<mq::DiskReason> = true;
template <>
inline constexpr bool has_text<mq::Op> = true;
template <>
inline constexpr bool has_text<mq::QueueType> = true;
template <>
inline constexpr bool has_text<mq::TimeoutAction> = true;
template <>
inline constexpr bool has_text<mq::TraceStep> = true;
template <>
inline constexpr bool has_text<mq::Zone::Condition> = true;
template <>
inline constexpr bool has_text<mq::DiskError> = true;

}  // namespace detail

namespace mq {

using blkown::operator<<;

/// "depth: too large: given 70000, limit 65536".
[[nodiscard]] inline std::string to_string(const DiskError& error) {
  return std::string{error.field} + ": " + to_string(error.reason) + ": given " +
         std::to_string(error.given) + ", limit " + std::to_string(error.limit);
}

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
