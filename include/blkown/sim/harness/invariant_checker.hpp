// SPDX-License-Identifier: BSL-1.0
//
// InvariantChecker: what has to hold between any two events, whatever a driver does and a device
// sends.

#ifndef BLKOWN_SIM_HARNESS_INVARIANT_CHECKER_HPP
#define BLKOWN_SIM_HARNESS_INVARIANT_CHECKER_HPP

#include <blkown/config.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/sim/device/controller.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/tag_set.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// What was found to be wrong, and with which request.
struct Finding {
  std::string what;
  bool has_request = false;
  QueueIndex queue;
  Tag tag;
};

/// Looks at every request after every event. With one context, and between events, nobody is in the
/// middle of anything, so that the word has to agree with the handles and mappings that exist:
/// one writer at most; a count of n >= 1 is one more than the Claim and the pins; at 0 there is no
/// pin; flags are clear where nobody has the request; a generation never goes back; a request with
/// a mapping has not ended, and is not used anew.
template <class R>
class InvariantChecker {
 public:
  InvariantChecker(TagSet<R>& tags, dma::Device<Iommu>& device, Iommu& iommu, History& history)
      : tags_{tags},
        device_{device},
        iommu_{iommu},
        history_{history},
        requests_(std::size_t{tags.queue_count()} * tags.depth()) {}

  /// True if all is well; else finding() says what is not.
  [[nodiscard]] bool after_event() {
    for (Seen& seen : requests_) seen.pins = 0;
    bool is_well = true;
    device_.for_each_mapping([&](const dma::Mapped& mapping) {
      Seen& seen = requests_[mapping.cookie.queue.value * tags_.depth() + mapping.cookie.tag.value];
      ++seen.pins;
      seen.mapped_generation = mapping.cookie.generation;
    });
    for (QueueIndex queue; queue.value != tags_.queue_count(); ++queue.value) {
      for (Tag tag; tag.value != tags_.depth(); ++tag.value) {
        is_well = look_at(queue, tag) && is_well;
      }
    }
    return is_well && look_at_device();
  }

  [[nodiscard]] const Finding& finding() const noexcept { return finding_; }

 private:
  struct Seen {
    bool is_taken = false;
    bool has_generation = false;  // it has been taken before
    RequestState state;
    std::uint32_t pins = 0;
    Generation mapped_generation;
  };

  bool look_at(QueueIndex queue, Tag tag) {
    Seen& before = requests_[queue.value * tags_.depth() + tag.value];
    const auto now = tags_.state_of(queue, tag);
    const bool is_taken = now.has_value();
    const RequestState state =
        is_taken ? *now : RequestState{.generation = before.state.generation};
    if (is_taken != before.is_taken || !is_same(state, before.state)) {
      history_.add(queue, tag, before.is_taken, before.state, is_taken, state);
      const bool goes_back =
          is_taken && before.has_generation &&
          static_cast<std::int32_t>((state.generation.value - before.state.generation.value) *
                                    (BLKOWN_WORD_BITS == 64 ? 1U : 65536U)) < 0;
      before.is_taken = is_taken;
      before.has_generation = before.has_generation || is_taken;
      before.state = state;
      if (goes_back) return fail("a generation went back", queue, tag);
    }
    const std::uint32_t pins = before.pins;
    if (!is_taken || (state.count == 0 && !state.owned)) {
      if (pins != 0) return fail("a request that is mapped is with the block layer", queue, tag);
      if (state.claimed || state.finished) return fail("flags are set at 0", queue, tag);
      return true;
    }
    if (state.owned) {
      if (state.count != 0 || state.claimed || state.finished) {
        return fail("owned, and more than that", queue, tag);
      }
      if (pins != 0) return fail("a pin exists beside the one owner", queue, tag);
      return true;
    }
    if (state.claimed && state.finished) return fail("claimed and finished", queue, tag);
    if (state.finished && pins != 0) {
      return fail("an I/O has ended while its memory is mapped", queue, tag);
    }
    const std::uint32_t holders = pins + (state.claimed ? 1 : 0);
    if (state.count != 1 + holders) {
      return fail("the count is " + std::to_string(state.count) + ", and " +
                      std::to_string(holders) + " handles and mappings exist",
                  queue, tag);
    }
    if (pins != 0 && !state.claimed && before.mapped_generation != state.generation) {
      return fail("published again with the mapping of an earlier publication", queue, tag);
    }
    return true;
  }

  bool look_at_device() {
    const IommuFaultCounts faults = iommu_.fault_counts();
    if (faults.not_forbidden != 0) {
      const auto log = iommu_.faults();
      for (const IommuFault& fault : log) {
        if (fault.is_forbidden) continue;
        return fail(std::string{"the device was kept from memory that its command names: "} +
                    to_string(fault.kind) + ", " + to_string(fault.direction) + ", cookie " +
                    std::to_string(fault.cookie));
      }
      return fail("the device was kept from memory that its command names");
    }
    if (iommu_.bad_unmaps() != 0) return fail("what was not mapped was unmapped");
    return true;
  }

  [[nodiscard]] static bool is_same(const RequestState& a, const RequestState& b) noexcept {
    return a.generation == b.generation && a.count == b.count && a.owned == b.owned &&
           a.claimed == b.claimed && a.finished == b.finished;
  }

  bool fail(std::string what) {
    if (finding_.what.empty()) finding_.what = std::move(what);
    return false;
  }
  bool fail(std::string what, QueueIndex queue, Tag tag) {
    if (finding_.what.empty()) {
      finding_ = {.what = std::move(what), .has_request = true, .queue = queue, .tag = tag};
    }
    return false;
  }

  TagSet<R>& tags_;
  dma::Device<Iommu>& device_;
  Iommu& iommu_;
  History& history_;
  std::vector<Seen> requests_;
  Finding finding_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
