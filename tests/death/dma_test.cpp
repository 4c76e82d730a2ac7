// SPDX-License-Identifier: BSL-1.0
//
// Goal: these are violations: destroying a device or a list before its mapping, and using a mapping
// that was moved from. A mapping that is dropped without proof is reported.

#include <array>
#include <blkown/dma/dma.hpp>
#include <memory>
#include <optional>

#include "support/recording.hpp"
#include "violation_test.hpp"

namespace death {
namespace {

namespace dma = blkown::dma;

/// Maps all memory at its own address.
struct Flat {
  [[nodiscard]] static dma::DeviceLimits limits() { return {}; }
  static std::expected<std::uint64_t, dma::MapFailure> map(const blkown::Segment& memory,
                                                           dma::Direction, const blkown::Cookie&) {
    return reinterpret_cast<std::uintptr_t>(memory.data);
  }
  std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment&) {
    ++unmaps;
    if (is_stuck) return std::unexpected(dma::MapFailure::unmap_failed);
    return {};
  }
  static std::expected<void, dma::MapFailure> invalidate(std::span<const dma::IovaSegment>) {
    return {};
  }
  int unmaps = 0;
  bool is_stuck = false;
};
using MappedDevice = dma::Device<Flat>;
using Ring = dma::Coherent<Flat>;

/// A device, and mappings of the death tests' request with a list outside the request.
struct Mapped {
  [[nodiscard]] dma::PreparedMapping prepared(Claim& claim,
                                              blkown::Place where = blkown::Place::current()) {
    return *dma::map(claim, *mapped_device, std::array{blkown::Segment{memory, 8}},
                     dma::Direction::to_device, *list, where);
  }
  [[nodiscard]] dma::ActiveMapping active(Claim& claim) { return prepared(claim).activate(); }
  [[nodiscard]] Ring ring() { return *Ring::allocate(*mapped_device, 8); }

  std::byte memory[8]{};
  Flat backend;
  std::unique_ptr<MappedDevice> mapped_device = std::make_unique<MappedDevice>(backend);
  std::unique_ptr<dma::IovaList<1>> list = std::make_unique<dma::IovaList<1>>();
};

class DmaInUseDeathTest : public ViolationTest<blkown::Violation::object_in_use> {
 protected:
  static constexpr const char* unmap_first =
      "unmap the mappings, or stop and drain the device, first";
  Mapped mapped;
};

TEST_F(DmaInUseDeathTest, ADeviceIsNotDestroyedBeforeItsMappings) {
  prints("dma::Device destroyed while 1 mapping exists", unmap_first);
  dies("destruction of dma::Device", "", [&] {
    Claim claim = device.unpublished_claim();
    const auto prepared = mapped.prepared(claim);
    mapped.mapped_device.reset();
  });
  dies("destruction of dma::Device", "", [&] {
    Claim claim = device.unpublished_claim();
    const auto active = mapped.active(claim);
    mapped.mapped_device.reset();
  });
}

TEST_F(DmaInUseDeathTest, ADeviceCountsItsMappings) {
  prints("dma::Device destroyed while 2 mappings exist", unmap_first);
  dies("destruction of dma::Device", "", [&] {
    dma::IovaList<1> second_list;
    Claim claim = device.unpublished_claim();
    const auto first = mapped.active(claim);
    const auto second =
        dma::map(claim, *mapped.mapped_device, std::array{blkown::Segment{mapped.memory, 8}},
                 dma::Direction::to_device, second_list);
    mapped.mapped_device.reset();
  });
}

TEST_F(DmaInUseDeathTest, NorWithAMappingInQuarantine) {
  prints("dma::Device destroyed while 1 mapping exists", unmap_first);
  const support::ReportLog quiet;
  dies("destruction of dma::Device", "", [&] {
    Claim claim = device.unpublished_claim();
    use(mapped.active(claim));
    mapped.mapped_device.reset();
  });
}

TEST_F(DmaInUseDeathTest, NorWithCoherentMemory) {
  prints("dma::Device destroyed while 1 Coherent exists",
         "stop the device, then free each Coherent or drain the device");
  dies("destruction of dma::Device", "", [&] {
    const Ring ring = mapped.ring();
    mapped.mapped_device.reset();
  });
  dies("destruction of dma::Device", "", [&] {
    use(mapped.ring());
    mapped.mapped_device.reset();
  });
}

TEST_F(DmaInUseDeathTest, AfterADrainBothGo) {
  const support::ReportLog quiet;
  const auto drop = [&](Claim& claim) {
    use(mapped.active(claim));
    use(mapped.ring());
  };
  expect_silence([&] {
    Claim claim = device.unpublished_claim();
    drop(claim);
    mapped.mapped_device->drain(mapped.mapped_device->declare_stopped());
    mapped.mapped_device.reset();
    mapped.list.reset();
    std::move(claim).end_ok();
  });
  prints("dma::IovaList destroyed while its mapping is in quarantine",
         "stop and drain the device first");
  dies("destruction of dma::IovaList", "", [&] {
    Claim claim = device.unpublished_claim();
    drop(claim);
    mapped.list.reset();
  });
}

TEST_F(DmaInUseDeathTest, AListIsNotDestroyedBeforeItsMapping) {
  prints("dma::IovaList destroyed while its mapping exists",
         "unmap the mapping first; declare it after its list");
  dies("destruction of dma::IovaList", "", [&] {
    Claim claim = device.unpublished_claim();
    const auto active = mapped.active(claim);
    mapped.list.reset();
  });
}

class DmaMovedFromDeathTest : public ViolationTest<blkown::Violation::use_of_moved_from> {
 protected:
  /// Moves the handle on and ends it there. Returns the empty handle; the detour through the
  /// optional hides the move from typestate analysis.
  template <class Handle, class End>
  [[nodiscard]] static Handle moved_on(Handle handle, End end) {
    std::optional<Handle> slot{std::move(handle)};
    end(Handle{std::move(*slot)});
    return std::move(*slot);
  }
  [[nodiscard]] dma::PreparedMapping no_prepared() {
    Claim claim = device.unpublished_claim();
    auto none = moved_on(mapped.prepared(claim), [](dma::PreparedMapping) {});
    std::move(claim).end_ok();
    return none;
  }
  [[nodiscard]] dma::ActiveMapping no_active() {
    Claim claim = device.unpublished_claim();
    auto none = moved_on(mapped.active(claim), [&](dma::ActiveMapping mapping) {
      EXPECT_TRUE(std::move(mapping).cancel(claim).has_value());
    });
    std::move(claim).end_ok();
    return none;
  }
  [[nodiscard]] Ring no_ring() {
    return moved_on(mapped.ring(),
                    [&](Ring ring) { EXPECT_TRUE(std::move(ring).free(stop()).has_value()); });
  }
  [[nodiscard]] dma::EndProof stop() { return mapped.mapped_device->declare_stopped(); }
  Mapped mapped;
};

TEST_F(DmaMovedFromDeathTest, EveryMemberOfPreparedMappingNeedsAMapping) {
  dies_here("dma::PreparedMapping::segments", "", [&] { use(no_prepared().segments()); });
  dies_here("dma::PreparedMapping::activate", "", [&] { use(no_prepared().activate()); });
}

TEST_F(DmaMovedFromDeathTest, EveryMemberOfActiveMappingNeedsAMapping) {
  dies_here("dma::ActiveMapping::segments", "", [&] { use(no_active().segments()); });
  dies_here("dma::ActiveMapping::direction", "", [&] { use(no_active().direction()); });
  dies_here("dma::ActiveMapping::cookie", "", [&] { use(no_active().cookie()); });
  dies_here("dma::ActiveMapping::unmap", "", [&] { use(no_active().unmap(stop())); });
  Claim claim = std::move(*device.set->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{0}))
                    .start()
                    .into_claim();
  dies_here("dma::ActiveMapping::cancel", "", [&] { use(no_active().cancel(claim)); });
  dies_here("dma::ActiveMapping::renew", "", [&] { use(no_active().renew(stop(), claim)); });
  std::move(claim).end_ok();
  std::move(*device.list.pop_front()).release();
}

TEST_F(DmaMovedFromDeathTest, EveryMemberOfCoherentNeedsMemory) {
  dies_here("dma::Coherent::data", "", [&] { use_data_of(no_ring()); });
  dies_here("dma::Coherent::segment", "", [&] { use(no_ring().segment()); });
  dies_here("dma::Coherent::free", "", [&] { use(no_ring().free(stop())); });
}

TEST_F(DmaMovedFromDeathTest, AMapNeedsAClaim) {
  const auto map = [&](Claim claim, blkown::Place where = blkown::Place::current()) {
    use(mapped.prepared(claim, where));
  };
  dies_here("Claim::next_cookie", "", [&] { map(device.no_claim()); });
}

/// Goal: the printed report of a dropped mapping has the request's present state. The Incident's
/// fields are tested in mapping_test.cpp.
TEST(PrintedMappingReportDeathTest, NamesProblemRemedyAndRequest) {
  constexpr blkown::Report report = blkown::Report::mapping_dropped;
  Device device;
  Mapped mapped;
  EXPECT_EXIT(
      {
        Claim claim = device.unpublished_claim();
        use(mapped.active(claim));
        std::_Exit(0);
      },
      testing::ExitedWithCode(0),
      testing::Eq(lines_of("report", to_string(report), remedy_of(report),
                           "drop of dma::ActiveMapping" + published_in("count 3 claimed"))));
}

/// Goal: the printed report of an unmap that has failed names the request.
TEST(PrintedUnmapReportDeathTest, NamesProblemRemedyAndRequest) {
  constexpr blkown::Report report = blkown::Report::unmap_failed;
  Device device;
  Mapped mapped;
  EXPECT_EXIT(
      {
        mapped.backend.is_stuck = true;
        Claim claim = device.unpublished_claim();
        use(mapped.active(claim).cancel(claim));
        std::_Exit(0);
      },
      testing::ExitedWithCode(0),
      testing::Eq(lines_of("report", to_string(report), remedy_of(report),
                           "unmap of a dma mapping" + published_in("count 3 claimed"))));
}

/// Goal: a report about coherent memory has no request.
TEST(PrintedUnmapReportDeathTest, OfCoherentMemoryNamesNoRequest) {
  constexpr blkown::Report report = blkown::Report::unmap_failed;
  Mapped mapped;
  EXPECT_EXIT(
      {
        Ring ring = mapped.ring();
        mapped.backend.is_stuck = true;
        use(std::move(ring).free(mapped.mapped_device->declare_stopped()));
        std::_Exit(0);
      },
      testing::ExitedWithCode(0),
      testing::Eq(
          lines_of("report", to_string(report), remedy_of(report), "unmap of a dma::Coherent")));
}

}  // namespace
}  // namespace death
