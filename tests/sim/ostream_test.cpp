// SPDX-License-Identifier: BSL-1.0
//
// Goal: each enumeration and value type of dma and sim has a text for streams.

#include <gtest/gtest.h>
#include <blkown/dma/ostream.hpp>
#include <blkown/sim/ostream.hpp>

#include <sstream>
#include <string>

namespace {

namespace dma = blkown::dma;
namespace sim = blkown::sim;

template <class T>
std::string streamed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

TEST(Ostream, PrintsTheValuesOfDma) {
  EXPECT_EQ(streamed(dma::Direction::bidirectional), "bidirectional");
  EXPECT_EQ(streamed(dma::QuarantineReason::leaked), "leaked");
  EXPECT_EQ(streamed(dma::MapFailure::no_iova), to_string(dma::MapFailure::no_iova));
  EXPECT_EQ(streamed(dma::IovaSegment{0x10000, 4096}), "4096 bytes at 0x10000");
  const dma::MapError error{
      .reason = dma::MapFailure::too_few_bounce_slots, .segment = 3, .limit = 8, .given = 9};
  EXPECT_EQ(streamed(error), std::string{to_string(dma::MapFailure::too_few_bounce_slots)} +
                                 ": segment 3, given 9, limit 8");
}

TEST(Ostream, PrintsTheEnumerationsOfTheSimulation) {
  EXPECT_EQ(streamed(sim::DeviceStatus::invalid_command), "invalid_command");
  EXPECT_EQ(streamed(sim::FaultKind{}), to_string(sim::FaultKind{}));
  EXPECT_EQ(streamed(sim::FileMode::read_write), "read_write");
  EXPECT_EQ(streamed(sim::Invalidation::lazy), "lazy");
  EXPECT_EQ(streamed(sim::IommuFaultKind{}), to_string(sim::IommuFaultKind{}));
  EXPECT_EQ(streamed(sim::LookupTruth::refused_genuine), "refused_genuine");
  EXPECT_EQ(streamed(sim::Opcode::compare), "compare");
}

}  // namespace
