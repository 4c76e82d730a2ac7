// SPDX-License-Identifier: BSL-1.0
//
// operator<< for the enumerations and value types of sim: see blkown/ostream.hpp.

#ifndef BLKOWN_SIM_OSTREAM_HPP
#define BLKOWN_SIM_OSTREAM_HPP

#include <blkown/config.hpp>
#include <blkown/ostream.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/iommu_fault.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/harness/oracle.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

template <>
inline constexpr bool has_text<sim::DeviceStatus> = true;
template <>
inline constexpr bool has_text<sim::FaultKind> = true;
template <>
inline constexpr bool has_text<sim::FileMode> = true;
template <>
inline constexpr bool has_text<sim::Invalidation> = true;
template <>
inline constexpr bool has_text<sim::IommuFaultKind> = true;
template <>
inline constexpr bool has_text<sim::LookupTruth> = true;
template <>
inline constexpr bool has_text<sim::Opcode> = true;

}  // namespace detail

namespace sim {

using blkown::operator<<;

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
