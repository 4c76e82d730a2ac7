// SPDX-License-Identifier: BSL-1.0
//
// Uses the whole of blkown::dma except for Coherent, which allocates, and the backends of Linux.
// Compiled freestanding, the object file may have no undefined symbols except memcpy and similar
// functions. run_core.cpp runs the code.

#include "checks.hpp"
#include "core.hpp"

#include <blkown/dma/backend.hpp>
#include <blkown/dma/bounce_pool.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/identity_backend.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/iova_list.hpp>
#include <blkown/dma/mapping.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/dma/quarantine.hpp>
#include <blkown/dma/ring_word.hpp>

// The core comes second: the headers of dma include what they need of it.
#include <blkown/blkown.hpp>
#include <optional>

namespace {

namespace dma = blkown::dma;
using blkown::QueueIndex;
using blkown::Segment;
using blkown::Tag;
using dma::Direction;
using dma::EndProof;

struct Data {
  dma::IovaList<4> iovas;
  std::optional<dma::ActiveMapping> mapping;
};
using Request = blkown::Request<Data>;
using Claim = blkown::Claim<Request>;
using TagSet = blkown::TagSet<Request>;

alignas(4096) std::byte memory[2 * 4096];
alignas(4096) std::byte slots[2 * 4096];

/// A device behind an IOMMU that can get stuck. On the bus only the slots are within 16 bits.
struct Iommu : dma::IdentityBackend {
  using IdentityBackend::IdentityBackend;
  [[nodiscard]] std::uint64_t bus_address(const std::byte* data) const noexcept {
    const auto offset =
        reinterpret_cast<std::uintptr_t>(data) - reinterpret_cast<std::uintptr_t>(slots);
    return offset < sizeof slots ? 0x1000 + offset
                                 : reinterpret_cast<std::uintptr_t>(data) | 1U << 16;
  }
  std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment&) const noexcept {
    if (is_stuck) return std::unexpected(dma::MapFailure::unmap_failed);
    return {};
  }
  bool is_stuck = false;
};
using Device = dma::Device<Iommu>;

Claim start(TagSet& set, std::uint32_t tag) {
  return (*set.allocate_tag(QueueIndex{0}, Tag{tag})).start().into_claim();
}

/// Puts an I/O in flight with its mapping in its data.
std::uint64_t publish(TagSet& set, Device& device, Segment segment, Direction direction) {
  Claim claim = start(set, 1);
  const Segment segments[] = {segment};
  auto prepared = dma::map(claim, device, segments, direction, claim.data().iovas);
  EXPECT(prepared.has_value());
  if (!prepared.has_value()) return 0;
  EXPECT(prepared->segments().size() == 1);
  claim.data().mapping.emplace(std::move(*prepared).activate());
  std::uint64_t value = 0;
  static_cast<void>(
      std::move(claim).publish([&](const blkown::Cookie& cookie) { value = cookie.value; }));
  return value;
}
dma::ActiveMapping taken_out(Claim& claim) {
  dma::ActiveMapping mapping = *std::move(claim.data().mapping);
  claim.data().mapping.reset();
  return mapping;
}

void use_mapping(TagSet& set, Device& device) {
  const std::uint64_t value = publish(set, device, {memory, 512}, Direction::from_device);
  Claim claim = *set.claim(QueueIndex{0}, value);
  auto mapping = taken_out(claim);
  EXPECT(mapping.direction() == Direction::from_device && mapping.segments().size() == 1);
  EXPECT(mapping.renew(*EndProof::of(claim), claim));
  auto cancelled = std::move(mapping).cancel(claim);
  EXPECT(cancelled.has_value());
  constexpr std::byte constant[8]{};
  EXPECT(dma::map_to_device(claim, device, constant, claim.data().iovas).has_value());
  const Segment gap[] = {{memory, 8}, {memory + 4096, 8}};
  const auto refused = dma::map(claim, device, gap, Direction::to_device, claim.data().iovas);
  EXPECT(refused.error().reason == dma::MapFailure::gap);
  EXPECT(refused.error().status() == blkown::Status::invalid);
  std::move(claim).end_ok();
}

void use_bounce(TagSet& set, Device& device) {
  memory[4096 + 100] = std::byte{1};
  const std::uint64_t value =
      publish(set, device, {memory + 4096 + 100, 200}, Direction::bidirectional);
  Claim claim = *set.claim(QueueIndex{0}, value);
  auto mapping = taken_out(claim);
  auto* const slot = reinterpret_cast<std::byte*>(mapping.segments()[0].iova);
  EXPECT(slot == slots + 100 || slot == slots + 4096 + 100);
  EXPECT(*slot == std::byte{1});
  *slot = std::byte{2};
  EXPECT(std::move(mapping).unmap(*EndProof::of(claim)).has_value());
  EXPECT(memory[4096 + 100] == std::byte{2});
  std::move(claim).end_ok();
}

void use_quarantine(TagSet& set, Device& device) {
  std::uint64_t value = publish(set, device, {memory, 512}, Direction::to_device);
  {
    Claim claim = *set.claim(QueueIndex{0}, value);
    claim.data().mapping.reset();
    std::move(claim).end_ok();
  }
  EXPECT(reports == 1 && device.quarantined_count() == 1);
  EXPECT(device.drain(device.declare_stopped()) == 1);
  device.backend().is_stuck = true;
  value = publish(set, device, {memory, 512}, Direction::to_device);
  Claim claim = *set.claim(QueueIndex{0}, value);
  EXPECT(taken_out(claim).unmap(*EndProof::of(claim)).has_value());
  std::move(claim).end_ok();
  EXPECT(reports == 2 && device.quarantined_count() == 1);
  device.backend().is_stuck = false;
  device.for_each_quarantined([](const dma::Quarantined& one) {
    EXPECT(one.reason == dma::QuarantineReason::unmap_failed && *to_string(one.reason) == 'u');
  });
  device.for_each_mapping([](const dma::Mapped& one) { EXPECT(one.is_active); });
  EXPECT(device.drain(device.declare_stopped()) == 1);
}

void use_values() {
  EXPECT(*to_string(Direction::to_device) == 't' && *to_string(dma::MapFailure::gap) == 'g');
  std::uint32_t word = 0;
  dma::store_release(word, std::uint32_t{5});
  EXPECT(dma::load_acquire(word) == 5);
  dma::IdentityBackend linear{{}, 0x1000};
  const auto iova = linear.map({memory, 8}, Direction::to_device, {});
  EXPECT(*iova == reinterpret_cast<std::uintptr_t>(memory) + 0x1000);
  EXPECT(linear.unmap({*iova, 8}).has_value() && linear.invalidate({}).has_value());
}

}  // namespace

int CORE::use() {
  wrong_line = 0;
  reports = 0;
  const auto report_before = blkown::set_report_handler(&count_report);
  const auto violation_before = blkown::set_violation_handler(&ignore_violation);
  {
    // The tag set's memory is the caller's, as in core.cpp.
    alignas(TagSet::storage_alignment_bytes()) static std::byte storage[8192];
    auto set = TagSet::create_in(storage,
                                 {.queue_count = 1,
                                  .depth = 4,
                                  .layout = blkown::CookieLayout::nvme(),
                                  .first_generation = blkown::Generation{3}},
                                 blkown::EndSink<Request>::freeing());
    EXPECT(set.has_value());
    if (set.has_value()) {
      Iommu iommu{{.max_segment_bytes = 4096, .virt_boundary_mask = 4095, .min_align_mask = 4095}};
      dma::BouncePool pool{slots, 4096};
      EXPECT(pool.free_slots() == 2);
      Device device{iommu, &pool};
      use_mapping(*set, device);
      use_quarantine(*set, device);
      Iommu short_iommu{{.address_mask = 0xFFFF, .min_align_mask = 4095}};
      Device short_device{short_iommu, &pool};
      use_bounce(*set, short_device);
    }
  }
  use_values();
  blkown::set_report_handler(report_before);
  blkown::set_violation_handler(violation_before);
  return wrong_line;
}

#define TEXT_OF(macro) TEXT_OF_EXPANDED(macro)
#define TEXT_OF_EXPANDED(text) #text
const char* CORE::abi() { return TEXT_OF(BLKOWN_ABI); }
