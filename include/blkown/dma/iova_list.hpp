// SPDX-License-Identifier: BSL-1.0
//
// IovaList: memory of the caller in which a mapping keeps its scatter list.

#ifndef BLKOWN_DMA_IOVA_LIST_HPP
#define BLKOWN_DMA_IOVA_LIST_HPP

#include <blkown/config.hpp>
#include <blkown/dma/detail/device_state.hpp>  // IWYU pragma: keep (the destructor of ListState)
#include <blkown/dma/detail/list_state.hpp>
#include <blkown/dma/iova.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// A scatter list of up to N elements and the fields of its mapping, as part of the request's data,
/// so that an I/O allocates nothing. One mapping uses the list at a time. Members of the base:
///
///     std::span<const IovaSegment> segments() const;   // empty while the list is free
///     std::uint32_t capacity() const;                  // N
///     bool is_free() const;                            // no mapping uses the list
///
/// A list outlives the device that it was mapped for, or is free when it is destroyed. A member
/// ActiveMapping beside the list is declared after the list, so that it is destroyed first.
/// Violation: object_in_use, if the list is destroyed while a mapping uses it.
template <std::uint32_t N>
class IovaList : public detail::ListState {
 public:
  IovaList() noexcept : ListState{storage_, storage_of_origins_, N} {}

 private:
  IovaSegment storage_[N];
  detail::Origin storage_of_origins_[N];
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
