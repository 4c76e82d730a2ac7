// SPDX-License-Identifier: BSL-1.0
//
// operator<< for the enumerations and value types of nvme: see blkown/ostream.hpp. Hosted programs
// only.

#ifndef BLKOWN_NVME_OSTREAM_HPP
#define BLKOWN_NVME_OSTREAM_HPP

#include <blkown/config.hpp>
#include <blkown/nvme/features.hpp>
#include <blkown/nvme/firmware.hpp>
#include <blkown/nvme/identify.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/prp.hpp>
#include <blkown/nvme/registers.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/ostream.hpp>
#include <string>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

template <>
inline constexpr bool has_text<nvme::AdminOpcode> = true;
template <>
inline constexpr bool has_text<nvme::IoOpcode> = true;
template <>
inline constexpr bool has_text<nvme::StatusType> = true;
template <>
inline constexpr bool has_text<nvme::StatusCode> = true;
template <>
inline constexpr bool has_text<nvme::StatusField> = true;
template <>
inline constexpr bool has_text<nvme::ShutdownRequest> = true;
template <>
inline constexpr bool has_text<nvme::ShutdownState> = true;
template <>
inline constexpr bool has_text<nvme::ArbitrationMechanism> = true;
template <>
inline constexpr bool has_text<nvme::Version> = true;
template <>
inline constexpr bool has_text<nvme::FeatureId> = true;
template <>
inline constexpr bool has_text<nvme::FeatureSelect> = true;
template <>
inline constexpr bool has_text<nvme::LogPageId> = true;
template <>
inline constexpr bool has_text<nvme::AsyncEventType> = true;
template <>
inline constexpr bool has_text<nvme::AsyncEvent> = true;
template <>
inline constexpr bool has_text<nvme::Cns> = true;
template <>
inline constexpr bool has_text<nvme::DeallocatedRead> = true;
template <>
inline constexpr bool has_text<nvme::QueuePriority> = true;
template <>
inline constexpr bool has_text<nvme::FirmwareAction> = true;
template <>
inline constexpr bool has_text<nvme::FirmwareState> = true;
template <>
inline constexpr bool has_text<nvme::ThresholdType> = true;
template <>
inline constexpr bool has_text<nvme::NamespaceIdType> = true;
template <>
inline constexpr bool has_text<nvme::PrpReason> = true;
template <>
inline constexpr bool has_text<nvme::PrpError> = true;

}  // namespace detail

namespace nvme {

using blkown::operator<<;

/// "namespace_not_ready, DNR, CRD 1". The code is a number if it has no name: "type 7 code 0xc0".
[[nodiscard]] inline std::string to_string(StatusField field) {
  const auto code = static_cast<unsigned>(field.code());
  std::string text = to_string(field.code());
  if (text == "unknown status code") {
    text = "type " + std::to_string(code >> 8) + " code " + blkown::detail::hex_text(code & 0xFF);
  }
  if (field.more()) text += ", more";
  if (field.do_not_retry()) text += ", DNR";
  if (field.retry_delay_index() != 0) text += ", CRD " + std::to_string(field.retry_delay_index());
  return text;
}
/// "1.4.0".
[[nodiscard]] inline std::string to_string(Version version) {
  return std::to_string(version.major_number()) + "." + std::to_string(version.minor_number()) +
         "." + std::to_string(version.tertiary_number());
}
/// "notice 0, log page changed_namespaces".
[[nodiscard]] inline std::string to_string(AsyncEvent event) {
  return std::string{to_string(event.type())} + " " + std::to_string(event.information()) +
         ", log page " + to_string(event.log_page());
}
/// "misaligned: 0x1003".
[[nodiscard]] inline std::string to_string(const PrpError& error) {
  return std::string{to_string(error.reason)} + ": " + blkown::detail::hex_text(error.iova);
}

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
