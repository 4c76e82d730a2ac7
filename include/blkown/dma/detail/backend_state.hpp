// SPDX-License-Identifier: BSL-1.0
//
// BackendState: a device's state together with its backend and its bounce pool.

#ifndef BLKOWN_DMA_DETAIL_BACKEND_STATE_HPP
#define BLKOWN_DMA_DETAIL_BACKEND_STATE_HPP

#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/dma/bounce_pool.hpp>
#include <blkown/dma/detail/device_state.hpp>
#include <blkown/dma/detail/list_state.hpp>
#include <blkown/dma/iova.hpp>
#include <cstdint>
#include <cstring>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma::detail {

/// The inside of Device<B>.
template <class B>
class BackendState : public DeviceState {
 public:
  BackendState(B& backend, BouncePool* bounce_pool) noexcept
      : DeviceState{&BackendState::unmap_list},
        backend_{backend},
        bounce_pool_{bounce_pool},
        backend_user_{users_of(backend), "a dma::Device"},
        pool_user_{bounce_pool == nullptr ? nullptr : &bounce_pool->users(), "a dma::Device"} {}

  [[nodiscard]] B& backend() const noexcept { return backend_; }
  [[nodiscard]] BouncePool* bounce_pool() const noexcept { return bounce_pool_; }

  /// Unmaps the elements of a list, and copies bounced bytes back. The list stays taken.
  /// Errors: false if the backend has failed. The list keeps its elements and its slots, and a
  /// later call goes on with the element that failed.
  [[nodiscard]] bool unmap_elements(ListFields& list) noexcept {
    for (std::uint32_t i = list.unmapped; i != list.count; ++i) {
      if (backend_.unmap(list.segments[i]).has_value()) [[likely]]
        continue;
      list.unmapped = i;
      return false;
    }
    if (!backend_.invalidate(list.view()).has_value()) [[unlikely]] {
      list.unmapped = list.count;
      return false;
    }
    if (list.is_bounced) give_back_slots(list);
    list.count = 0;
    list.unmapped = 0;
    return true;
  }

 private:
  /// The list of a backend that has one, as the backends of this library do.
  [[nodiscard]] static blkown::detail::UserList* users_of(B& backend) noexcept {
    if constexpr (requires { static_cast<blkown::detail::UserList&>(backend.users()); }) {
      return &backend.users();
    } else {
      return nullptr;
    }
  }

  /// False if the backend could not unmap: the mapping is in quarantine then. The order matters.
  /// First the translations go, then every cached copy of them, so that the device writes no more.
  /// Then the bounced bytes are copied back. The pin is dropped last: the next owner of the tag may
  /// use the same memory.
  static bool unmap_list(DeviceState& device, ListFields& list) {
    if (!static_cast<BackendState&>(device).unmap_elements(list)) [[unlikely]] {
      device.keep_mapped(list);
      return false;
    }
    void* const request = list.request.get();
    const PinOperations& pin = *list.pin.get();
    list.holder.let_go();
    list.state.free(list.state.look().serial());
    pin.drop(request);
    return true;
  }

  void give_back_slots(ListFields& list) noexcept {
    for (std::uint32_t i = 0; i != list.count; ++i) {
      const Origin& origin = list.origins[i];
      if (origin.bounce == nullptr) continue;
      if (list.is_seen && device_writes(list.direction)) {
        std::memcpy(origin.data, origin.bounce,
                    static_cast<std::size_t>(list.segments[i].length_bytes));
      }
      bounce_pool_->give(origin.bounce);
    }
  }

  B& backend_;
  BouncePool* bounce_pool_;
  blkown::detail::User backend_user_;
  blkown::detail::User pool_user_;
};

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
