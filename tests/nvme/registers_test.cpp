// SPDX-License-Identifier: BSL-1.0
//
// Goal: each register stands at the specification's offset, and each field at its bits.

#include <gtest/gtest.h>

#include <blkown/nvme/registers.hpp>
#include <cstdint>

#include "nvme/wire.hpp"

namespace {

namespace nvme = blkown::nvme;

TEST(Registers, StandAtTheSpecificationsOffsets) {
  EXPECT_EQ(nvme::reg::cap, 0x00U);
  EXPECT_EQ(nvme::reg::vs, 0x08U);
  EXPECT_EQ(nvme::reg::intms, 0x0CU);
  EXPECT_EQ(nvme::reg::intmc, 0x10U);
  EXPECT_EQ(nvme::reg::cc, 0x14U);
  EXPECT_EQ(nvme::reg::csts, 0x1CU);
  EXPECT_EQ(nvme::reg::nssr, 0x20U);
  EXPECT_EQ(nvme::reg::aqa, 0x24U);
  EXPECT_EQ(nvme::reg::asq, 0x28U);
  EXPECT_EQ(nvme::reg::acq, 0x30U);
  EXPECT_EQ(nvme::nssr_reset, 0x4E564D65U);
}

TEST(Registers, TheDoorbellsOfAQueueStandByTheStride) {
  EXPECT_EQ(nvme::doorbell_offset(0, false, 0), 0x1000U);
  EXPECT_EQ(nvme::doorbell_offset(0, true, 0), 0x1004U);
  EXPECT_EQ(nvme::doorbell_offset(1, false, 0), 0x1008U);
  EXPECT_EQ(nvme::doorbell_offset(3, true, 0), 0x101CU);
  EXPECT_EQ(nvme::doorbell_offset(3, true, 2), 0x1000U + 7 * 16);
  // The largest queue and stride do not overflow.
  EXPECT_EQ(nvme::doorbell_offset(0xFFFF, true, 15), 0x1000U + 0x1FFFFULL * 0x20000);
}

TEST(Registers, CapHasItsFields) {
  // MQES 03FFh, CQR, AMS 01b, TO 0Ah, DSTRD 2, NSSRS, CSS bit 0, MPSMIN 0, MPSMAX 4.
  constexpr nvme::Cap cap{0x0040'0032'0A03'03FF};
  EXPECT_EQ(cap.max_queue_entries(), 1024U);
  EXPECT_TRUE(cap.contiguous_queues_required());
  EXPECT_TRUE(cap.supports_weighted_round_robin());
  EXPECT_EQ(cap.ready_timeout_ms(), 5000U);
  EXPECT_EQ(cap.doorbell_stride_exponent(), 2U);
  EXPECT_TRUE(cap.supports_subsystem_reset());
  EXPECT_TRUE(cap.supports_nvm_command_set());
  EXPECT_EQ(cap.min_page_bytes(), 4096U);
  EXPECT_EQ(cap.max_page_bytes(), 65536U);
}

TEST(Registers, CapOfZeroesHasTheLeastValues) {
  constexpr nvme::Cap cap;
  EXPECT_EQ(cap.max_queue_entries(), 1U);
  EXPECT_FALSE(cap.contiguous_queues_required());
  EXPECT_FALSE(cap.supports_weighted_round_robin());
  EXPECT_EQ(cap.ready_timeout_ms(), 0U);
  EXPECT_EQ(cap.doorbell_stride_exponent(), 0U);
  EXPECT_FALSE(cap.supports_subsystem_reset());
  EXPECT_FALSE(cap.supports_nvm_command_set());
  EXPECT_EQ(cap.min_page_bytes(), 4096U);
}

TEST(Registers, AFieldOfCapDependsOnItsOwnBitsAlone) {
  const auto without = [](unsigned first, unsigned count) {
    return nvme::Cap{~(((std::uint64_t{1} << count) - 1) << first)};
  };
  EXPECT_EQ(without(0, 16).max_queue_entries(), 1U);
  EXPECT_FALSE(without(16, 1).contiguous_queues_required());
  EXPECT_FALSE(without(17, 2).supports_weighted_round_robin());
  EXPECT_EQ(without(24, 8).ready_timeout_ms(), 0U);
  EXPECT_EQ(without(32, 4).doorbell_stride_exponent(), 0U);
  EXPECT_FALSE(without(36, 1).supports_subsystem_reset());
  EXPECT_FALSE(without(37, 8).supports_nvm_command_set());
  EXPECT_EQ(without(48, 4).min_page_bytes(), 4096U);
  EXPECT_EQ(without(52, 4).max_page_bytes(), 4096U);
  EXPECT_EQ(nvme::Cap{std::uint64_t{1} << 48}.min_page_bytes(), 8192U);
}

TEST(Registers, CapIsBuiltFieldByField) {
  nvme::Cap cap;
  cap.set_max_queue_entries(65536);
  EXPECT_EQ(cap.value, 0xFFFFU);
  cap.set_max_queue_entries(1024);
  EXPECT_EQ(cap.value, 0x3FFU);
  cap.set_contiguous_queues_required(true);
  cap.set_supports_weighted_round_robin(true);
  cap.set_ready_timeout_ms(4501);
  cap.set_doorbell_stride_exponent(2);
  cap.set_supports_subsystem_reset(true);
  cap.set_supports_nvm_command_set(true);
  cap.set_min_page_bytes(4096);
  cap.set_max_page_bytes(65536);
  EXPECT_EQ(cap.value, 0x0040'0032'0A03'03FFU);
  EXPECT_EQ(cap, nvme::Cap{0x0040'0032'0A03'03FF});
}

TEST(Registers, CapOfOnesIsReadWithoutOverflow) {
  constexpr nvme::Cap cap{~std::uint64_t{0}};
  EXPECT_EQ(cap.max_queue_entries(), 65536U);
  EXPECT_EQ(cap.ready_timeout_ms(), 127500U);
  EXPECT_EQ(cap.max_page_bytes(), 4096U << 15);
}

TEST(Registers, AVersionHasThreeNumbers) {
  constexpr nvme::Version version{0x00010400};
  EXPECT_EQ(version.major_number(), 1U);
  EXPECT_EQ(version.minor_number(), 4U);
  EXPECT_EQ(version.tertiary_number(), 0U);
  EXPECT_EQ(nvme::Version::of(1, 2, 1).value, 0x00010201U);
  EXPECT_EQ(nvme::Version::of(1, 4, 0), version);
}

TEST(Registers, CcHasItsFields) {
  // EN, CSS 0, MPS 1, AMS 1, SHN 2, IOSQES 6, IOCQES 4.
  constexpr nvme::Cc cc{0x0046'8881};
  EXPECT_TRUE(cc.is_enabled());
  EXPECT_EQ(cc.command_set(), 0U);
  EXPECT_EQ(cc.page_bytes(), 8192U);
  EXPECT_EQ(cc.arbitration(), nvme::ArbitrationMechanism::weighted_round_robin);
  EXPECT_EQ(cc.shutdown(), nvme::ShutdownRequest::abrupt);
  EXPECT_EQ(cc.submission_entry_exponent(), 6U);
  EXPECT_EQ(cc.completion_entry_exponent(), 4U);
}

TEST(Registers, CcIsBuiltFieldByField) {
  nvme::Cc cc;
  cc.set_enabled(true);
  cc.set_command_set(0);
  cc.set_page_bytes(8192);
  cc.set_arbitration(nvme::ArbitrationMechanism::weighted_round_robin);
  cc.set_shutdown(nvme::ShutdownRequest::abrupt);
  cc.set_submission_entry_exponent(6);
  cc.set_completion_entry_exponent(4);
  EXPECT_EQ(cc.value, 0x0046'8881U);
  cc.set_command_set(6);
  EXPECT_EQ(cc.value, 0x0046'88E1U);
  cc.set_command_set(0);
  cc.set_enabled(false);
  cc.set_shutdown(nvme::ShutdownRequest::normal);
  EXPECT_EQ(cc.value, 0x0046'4880U);
}

TEST(Registers, CstsHasItsFields) {
  constexpr nvme::Csts csts{0x0000'0019};  // RDY, SHST 2, NSSRO
  EXPECT_TRUE(csts.is_ready());
  EXPECT_FALSE(csts.is_fatal());
  EXPECT_EQ(csts.shutdown(), nvme::ShutdownState::complete);
  EXPECT_TRUE(csts.subsystem_reset_occurred());
  EXPECT_FALSE(csts.is_paused());
  EXPECT_FALSE(csts.is_gone());
  EXPECT_TRUE(nvme::Csts{2}.is_fatal());
  EXPECT_TRUE(nvme::Csts{0x20}.is_paused());
}

TEST(Registers, CstsIsBuiltFieldByField) {
  nvme::Csts csts;
  csts.set_ready(true);
  csts.set_shutdown(nvme::ShutdownState::complete);
  csts.set_subsystem_reset_occurred(true);
  EXPECT_EQ(csts.value, 0x19U);
  csts.set_ready(false);
  csts.set_fatal(true);
  csts.set_paused(true);
  csts.set_subsystem_reset_occurred(false);
  csts.set_shutdown(nvme::ShutdownState::in_progress);
  EXPECT_EQ(csts.value, 0x26U);
}

TEST(Registers, CstsOfADeviceThatIsGoneIsAllOnes) {
  EXPECT_TRUE(nvme::Csts{0xFFFFFFFF}.is_gone());
  EXPECT_FALSE(nvme::Csts{0x7FFFFFFF}.is_gone());
}

TEST(Registers, AqaHasTheSizesOfBothQueues) {
  constexpr nvme::Aqa aqa{0x003F'001F};
  EXPECT_EQ(aqa.submission_entries(), 32U);
  EXPECT_EQ(aqa.completion_entries(), 64U);
  EXPECT_EQ(nvme::Aqa::of(32, 64), aqa);
  EXPECT_EQ(nvme::Aqa::of(4096, 4096).value, 0x0FFF'0FFFU);
  // Reserved bits of a register's value.
  EXPECT_EQ(nvme::Aqa{0xFFFF'FFFF}.submission_entries(), 4096U);
  EXPECT_EQ(nvme::Aqa{0xFFFF'FFFF}.completion_entries(), 4096U);
}

/// `clear` and `set` change the bits of `mask` in the register, and no others.
template <class Register, class Mask, class Clear, class Set>
void expect_bits(Mask mask, Clear clear, Set set) {
  Register ones{static_cast<Mask>(~Mask{0})};
  clear(ones);
  EXPECT_EQ(ones.value, static_cast<Mask>(~mask));
  Register zeroes{};
  set(zeroes);
  EXPECT_EQ(zeroes.value, mask);
}

TEST(Registers, ASetterOfCapLeavesTheOtherFields) {
  using Cap = nvme::Cap;
  constexpr auto bit = [](unsigned n) { return std::uint64_t{1} << n; };
  expect_bits<Cap>(
      bit(16) - 1, [](Cap& c) { c.set_max_queue_entries(1); },
      [](Cap& c) { c.set_max_queue_entries(65536); });
  expect_bits<Cap>(
      bit(16), [](Cap& c) { c.set_contiguous_queues_required(false); },
      [](Cap& c) { c.set_contiguous_queues_required(true); });
  expect_bits<Cap>(
      255 * bit(24), [](Cap& c) { c.set_ready_timeout_ms(0); },
      [](Cap& c) { c.set_ready_timeout_ms(127'500); });
  expect_bits<Cap>(
      15 * bit(32), [](Cap& c) { c.set_doorbell_stride_exponent(0); },
      [](Cap& c) { c.set_doorbell_stride_exponent(15); });
  expect_bits<Cap>(
      bit(36), [](Cap& c) { c.set_supports_subsystem_reset(false); },
      [](Cap& c) { c.set_supports_subsystem_reset(true); });
  expect_bits<Cap>(
      bit(37), [](Cap& c) { c.set_supports_nvm_command_set(false); },
      [](Cap& c) { c.set_supports_nvm_command_set(true); });
  expect_bits<Cap>(
      15 * bit(48), [](Cap& c) { c.set_min_page_bytes(4096); },
      [](Cap& c) { c.set_min_page_bytes(4096U << 15); });
  expect_bits<Cap>(
      15 * bit(52), [](Cap& c) { c.set_max_page_bytes(4096); },
      [](Cap& c) { c.set_max_page_bytes(4096U << 15); });
}

TEST(Registers, ASetterOfCcLeavesTheOtherFields) {
  using Cc = nvme::Cc;
  expect_bits<Cc>(0x1U, [](Cc& c) { c.set_enabled(false); }, [](Cc& c) { c.set_enabled(true); });
  expect_bits<Cc>(0x70U, [](Cc& c) { c.set_command_set(0); }, [](Cc& c) { c.set_command_set(7); });
  expect_bits<Cc>(
      0x780U, [](Cc& c) { c.set_page_bytes(4096); }, [](Cc& c) { c.set_page_bytes(4096U << 15); });
  expect_bits<Cc>(
      0x3800U, [](Cc& c) { c.set_arbitration(nvme::ArbitrationMechanism::round_robin); },
      [](Cc& c) { c.set_arbitration(nvme::ArbitrationMechanism::vendor_specific); });
  expect_bits<Cc>(
      0xC000U, [](Cc& c) { c.set_shutdown(nvme::ShutdownRequest::none); },
      [](Cc& c) { c.set_shutdown(nvme::ShutdownRequest{3}); });
  expect_bits<Cc>(
      0xF0000U, [](Cc& c) { c.set_submission_entry_exponent(0); },
      [](Cc& c) { c.set_submission_entry_exponent(15); });
  expect_bits<Cc>(
      0xF00000U, [](Cc& c) { c.set_completion_entry_exponent(0); },
      [](Cc& c) { c.set_completion_entry_exponent(15); });
}

TEST(Registers, ASetterOfCstsLeavesTheOtherFields) {
  using Csts = nvme::Csts;
  expect_bits<Csts>(0x1U, [](Csts& c) { c.set_ready(false); }, [](Csts& c) { c.set_ready(true); });
  expect_bits<Csts>(0x2U, [](Csts& c) { c.set_fatal(false); }, [](Csts& c) { c.set_fatal(true); });
  expect_bits<Csts>(
      0xCU, [](Csts& c) { c.set_shutdown(nvme::ShutdownState::none); },
      [](Csts& c) { c.set_shutdown(nvme::ShutdownState{3}); });
  expect_bits<Csts>(
      0x10U, [](Csts& c) { c.set_subsystem_reset_occurred(false); },
      [](Csts& c) { c.set_subsystem_reset_occurred(true); });
  expect_bits<Csts>(
      0x20U, [](Csts& c) { c.set_paused(false); }, [](Csts& c) { c.set_paused(true); });
}

TEST(Registers, EachStateHasAName) {
  wire::expect_names<nvme::ShutdownRequest>({{0, "none"}, {1, "normal"}, {2, "abrupt"}}, 255,
                                            "unknown shutdown request");
  wire::expect_names<nvme::ShutdownState>({{0, "none"}, {1, "in_progress"}, {2, "complete"}}, 255,
                                          "unknown shutdown state");
  wire::expect_names<nvme::ArbitrationMechanism>(
      {{0, "round_robin"}, {1, "weighted_round_robin"}, {7, "vendor_specific"}}, 255,
      "unknown arbitration mechanism");
}

TEST(Registers, EachPartDependsOnItsOwnBitsAlone) {
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::max_queue_entries), 0xFFFFU);
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::contiguous_queues_required), 0x1'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::supports_weighted_round_robin), 0x2'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::ready_timeout_ms), 0xFF00'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::doorbell_stride_exponent), 0xF'0000'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::supports_subsystem_reset),
            0x10'0000'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::supports_nvm_command_set),
            0x20'0000'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::min_page_bytes), 0xF'0000'0000'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cap::value, &nvme::Cap::max_page_bytes), 0xF0'0000'0000'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Version::value, &nvme::Version::major_number), 0xFFFF'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Version::value, &nvme::Version::minor_number), 0xFF00U);
  EXPECT_EQ(wire::bits_of(&nvme::Version::value, &nvme::Version::tertiary_number), 0xFFU);
  EXPECT_EQ(wire::bits_of(&nvme::Cc::value, &nvme::Cc::is_enabled), 1U);
  EXPECT_EQ(wire::bits_of(&nvme::Cc::value, &nvme::Cc::command_set), 0x70U);
  EXPECT_EQ(wire::bits_of(&nvme::Cc::value, &nvme::Cc::page_bytes), 0x780U);
  EXPECT_EQ(wire::bits_of(&nvme::Cc::value, &nvme::Cc::arbitration), 0x3800U);
  EXPECT_EQ(wire::bits_of(&nvme::Cc::value, &nvme::Cc::shutdown), 0xC000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cc::value, &nvme::Cc::submission_entry_exponent), 0xF'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Cc::value, &nvme::Cc::completion_entry_exponent), 0xF0'0000U);
  EXPECT_EQ(wire::bits_of(&nvme::Csts::value, &nvme::Csts::is_ready), 1U);
  EXPECT_EQ(wire::bits_of(&nvme::Csts::value, &nvme::Csts::is_fatal), 2U);
  EXPECT_EQ(wire::bits_of(&nvme::Csts::value, &nvme::Csts::shutdown), 0xCU);
  EXPECT_EQ(wire::bits_of(&nvme::Csts::value, &nvme::Csts::subsystem_reset_occurred), 0x10U);
  EXPECT_EQ(wire::bits_of(&nvme::Csts::value, &nvme::Csts::is_paused), 0x20U);
  EXPECT_EQ(wire::bits_of(&nvme::Aqa::value, &nvme::Aqa::submission_entries), 0xFFFU);
  EXPECT_EQ(wire::bits_of(&nvme::Aqa::value, &nvme::Aqa::completion_entries), 0xFFF'0000U);
}

TEST(Registers, SettingWeightedRoundRobinClearsTheVendorsMechanism) {
  nvme::Cap cap{~std::uint64_t{0}};
  cap.set_supports_weighted_round_robin(false);
  EXPECT_EQ(~cap.value, 0x6'0000U);
  cap.set_supports_weighted_round_robin(true);
  EXPECT_EQ(~cap.value, 0x4'0000U);
}

}  // namespace
