// SPDX-License-Identifier: BSL-1.0
//
// Goal: each enumeration and value type of nvme has a text for streams.

#include <gtest/gtest.h>

#include <blkown/nvme/ostream.hpp>
#include <sstream>
#include <string>

namespace {

namespace nvme = blkown::nvme;

template <class T>
std::string streamed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

TEST(NvmeOstream, PrintsEachEnumeration) {
  EXPECT_EQ(streamed(nvme::AdminOpcode::identify), "identify");
  EXPECT_EQ(streamed(nvme::IoOpcode::flush), "flush");
  EXPECT_EQ(streamed(nvme::StatusType::media), "media");
  EXPECT_EQ(streamed(nvme::StatusCode::write_fault), "write_fault");
  EXPECT_EQ(streamed(nvme::ShutdownRequest::abrupt), "abrupt");
  EXPECT_EQ(streamed(nvme::ShutdownState::complete), "complete");
  EXPECT_EQ(streamed(nvme::ArbitrationMechanism::round_robin), "round_robin");
  EXPECT_EQ(streamed(nvme::FeatureId::arbitration), "arbitration");
  EXPECT_EQ(streamed(nvme::FeatureSelect::saved), "saved");
  EXPECT_EQ(streamed(nvme::LogPageId::smart), "smart");
  EXPECT_EQ(streamed(nvme::AsyncEventType::notice), "notice");
  EXPECT_EQ(streamed(nvme::Cns::uuid_list), "uuid_list");
  EXPECT_EQ(streamed(nvme::DeallocatedRead::zeroes), "zeroes");
  EXPECT_EQ(streamed(nvme::QueuePriority::low), "low");
  EXPECT_EQ(streamed(nvme::FirmwareAction::activate), "activate");
  EXPECT_EQ(streamed(nvme::FirmwareState::active), "active");
  EXPECT_EQ(streamed(nvme::ThresholdType::under), "under");
  EXPECT_EQ(streamed(nvme::NamespaceIdType::uuid), "uuid");
  EXPECT_EQ(streamed(nvme::PrpReason::misaligned), "misaligned");
}

TEST(NvmeOstream, PrintsAStatusFieldWithItsFlags) {
  using nvme::StatusCode;
  using nvme::StatusField;
  EXPECT_EQ(streamed(StatusField{}), "success");
  EXPECT_EQ(streamed(StatusField::of(StatusCode::namespace_not_ready, true, false, 1)),
            "namespace_not_ready, DNR, CRD 1");
  EXPECT_EQ(streamed(StatusField::of(static_cast<StatusCode>(0x7C0), false, true)),
            "type 7 code 0xc0, more");
}

TEST(NvmeOstream, PrintsEachValue) {
  EXPECT_EQ(streamed(nvme::Version::of(1, 4, 0)), "1.4.0");
  EXPECT_EQ(streamed(nvme::AsyncEvent{0x00040002}), "notice 0, log page changed_namespaces");
  EXPECT_EQ(streamed(nvme::PrpError{nvme::PrpReason::list_space, 0x1008}), "list_space: 0x1008");
}

}  // namespace
