// SPDX-License-Identifier: BSL-1.0
//
// EndProof: what has to be shown before memory that a device may write to is given back.

#ifndef BLKOWN_DMA_PROOF_HPP
#define BLKOWN_DMA_PROOF_HPP

#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <blkown/request.hpp>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

namespace detail {
class DeviceState;
class ListState;
}  // namespace detail

/// Proof that a device does not touch certain memory any more: because it has completed the I/O,
/// has refused it, or is stopped. A small value, valid for what it is about and nothing else: one
/// publication of one request, or all that was mapped for a device before it was stopped.
///
/// A timeout, an abort that was sent, a cancel that was asked for prove nothing: there the device
/// has the last word, or has to be stopped.
class [[nodiscard]] EndProof {
 public:
  /// From the Claim that the I/O's completion gave (TagSet::claim with the device's value), or that
  /// a refused publish gave back. None from another Claim: of a timeout, a scan, or an I/O that was
  /// not published.
  /// Precondition: the completion is the command's last; a Claim that will be released is no proof.
  template <class R>
  [[nodiscard]] static std::optional<EndProof> of(const Claim<R>& claim) noexcept {
    if (!blkown::detail::includes(blkown::detail::HandleAccess::origin(claim),
                                  blkown::detail::ClaimOrigin::completed)) {
      return std::nullopt;
    }
    return EndProof{&claim.header(), claim.cookie().generation.value, true};
  }

  friend constexpr bool operator==(const EndProof&, const EndProof&) = default;

 private:
  friend class detail::DeviceState;
  friend class detail::ListState;

  EndProof(const void* about, Word number, bool is_of_request) noexcept
      : about_{about}, number_{number}, is_of_request_{is_of_request} {}

  const void* about_;  // the request's header, or the device
  Word number_;        // the publication's generation, or the device's epoch
  bool is_of_request_;
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
