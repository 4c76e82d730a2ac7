// SPDX-License-Identifier: BSL-1.0
//
// FixedArray: objects that cannot be moved, in one array.

#ifndef BLKOWN_SIM_DEVICE_FIXED_ARRAY_HPP
#define BLKOWN_SIM_DEVICE_FIXED_ARRAY_HPP

#include <blkown/config.hpp>
#include <cstddef>
#include <memory>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// An array with room for a number of objects, which are made one by one and stay in place. An
/// index costs less than that of a std::deque.
template <class T>
class FixedArray {
 public:
  explicit FixedArray(std::size_t capacity)
      : objects_{std::allocator<T>{}.allocate(capacity)}, capacity_{capacity} {}
  FixedArray(const FixedArray&) = delete;
  FixedArray& operator=(const FixedArray&) = delete;
  ~FixedArray() {
    std::destroy(begin(), end());
    std::allocator<T>{}.deallocate(objects_, capacity_);
  }

  /// Precondition: size() is less than the capacity.
  template <class... Arguments>
  T& emplace_back(Arguments&&... arguments) {
    T& made = *std::construct_at(objects_ + size_, std::forward<Arguments>(arguments)...);
    ++size_;
    return made;
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] T& operator[](std::size_t index) noexcept { return objects_[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return objects_[index]; }
  [[nodiscard]] T* begin() noexcept { return objects_; }
  [[nodiscard]] T* end() noexcept { return objects_ + size_; }

 private:
  T* objects_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
