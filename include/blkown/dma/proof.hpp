// SPDX-License-Identifier: BSL-1.0
//
// EndProof: the condition for unmapping memory that a device may have written to.

#ifndef BLKOWN_DMA_PROOF_HPP
#define BLKOWN_DMA_PROOF_HPP

#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/handle_base.hpp>
#include <cstdint>
#include <optional>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

namespace detail {
class DeviceState;
}  // namespace detail

/// Proof that a device no longer reaches certain memory: the device completed the I/O, refused the
/// I/O, or was stopped. A proof covers one publication of one request, or all memory that was
/// mapped for a device before the device was stopped. A small value. A proof of a stop that is kept
/// longer than its Device covers nothing of a later Device, whatever the address of that.
/// Precondition: a proof of a Claim is not used after the request's TagSet is destroyed.
///
/// A timeout, an abort that was sent and a cancellation that was asked for prove nothing: the
/// device may still write. Wait for the completion, or stop the device (Device::declare_stopped).
class [[nodiscard]] EndProof {
 public:
  /// The proof from a Claim that TagSet::claim returned for the device's completion, or that a
  /// refused publish returned.
  /// Precondition: the completion is the command's last, and the Claim is not released: a command
  /// with further completions has not ended.
  /// Errors: returns no proof for a Claim of a timeout, of a scan or of another pin (try_claim), or
  /// of an I/O that was not published.
  template <class R>
  [[nodiscard]] static std::optional<EndProof> of(const Claim<R>& claim) noexcept {
    if (!blkown::detail::includes(blkown::detail::HandleAccess::origin(claim),
                                  blkown::detail::ClaimOrigin::completed)) {
      return std::nullopt;
    }
    return EndProof{of_request(&claim.header()), claim.cookie().generation.value, true};
  }

  friend constexpr bool operator==(const EndProof&, const EndProof&) = default;

 private:
  friend class detail::DeviceState;

  EndProof(std::uintptr_t about, Word number, bool is_of_request) noexcept
      : about_{about}, number_{number}, is_of_request_{is_of_request} {}
  [[nodiscard]] static std::uintptr_t of_request(const void* header) noexcept {
    return reinterpret_cast<std::uintptr_t>(header);
  }

  std::uintptr_t about_;  // the address of the request's header, or the number of the device
  Word number_;           // the publication's generation, or the device's epoch
  bool is_of_request_;
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
