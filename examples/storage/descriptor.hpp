// SPDX-License-Identifier: BSL-1.0
//
// Descriptor: a file descriptor with an owner.

#ifndef STORAGE_DESCRIPTOR_HPP
#define STORAGE_DESCRIPTOR_HPP

#include <unistd.h>

#include <utility>

namespace storage {

/// A file descriptor that the destructor closes.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_{fd} {}
  Descriptor(Descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    Descriptor taken{std::move(other)};
    std::swap(fd_, taken.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace storage

#endif
