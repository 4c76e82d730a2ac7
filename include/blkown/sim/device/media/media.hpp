// SPDX-License-Identifier: BSL-1.0
//
// Media: the storage behind a simulated controller, in memory or in a file.

#ifndef BLKOWN_SIM_DEVICE_MEDIA_MEDIA_HPP
#define BLKOWN_SIM_DEVICE_MEDIA_MEDIA_HPP

#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/sim/device/media/zeroed_memory.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Storage addressed by byte offset.
/// Precondition: every range lies within capacity_bytes().
/// Errors: a function returns false if the medium failed.
/// Context: one at a time, but see has_ranges().
class Media {
 public:
  Media() = default;
  Media(const Media&) = delete;
  Media& operator=(const Media&) = delete;
  /// Violation: object_in_use, if a controller uses the medium.
  virtual ~Media() {
    users_.check_unused("destruction of sim::Media", "sim::Media", "destroy that object first");
  }

  /// The size of the storage.
  [[nodiscard]] virtual std::uint64_t capacity_bytes() const = 0;
  /// Copies the bytes from `offset_bytes` on to memory.
  [[nodiscard]] virtual bool read(std::uint64_t offset_bytes, std::span<std::byte> to) = 0;
  /// The `length_bytes` bytes from `offset_bytes` on, for a read without a copy: those that read()
  /// copies, until the next write. Empty: the medium has no view. One whose read() can fail has
  /// none, because a view cannot fail.
  /// Context: no other context writes to the range while the view is used. A medium that several
  /// contexts write to has no view.
  [[nodiscard]] virtual std::span<const std::byte> view(
      [[maybe_unused]] std::uint64_t offset_bytes, [[maybe_unused]] std::uint64_t length_bytes) {
    return {};
  }
  /// Copies bytes from memory to the storage, from `offset_bytes` on.
  [[nodiscard]] virtual bool write(std::uint64_t offset_bytes, std::span<const std::byte> from) = 0;
  /// Sets `length_bytes` bytes from `offset_bytes` on to zero.
  [[nodiscard]] virtual bool zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) = 0;
  /// Makes all earlier writes durable.
  [[nodiscard]] virtual bool flush() = 0;
  /// Makes all earlier writes to a range durable. May do the same for others.
  [[nodiscard]] virtual bool flush_range(std::uint64_t, std::uint64_t) { return flush(); }
  /// Whether contexts may access disjoint ranges at the same time, but for flush(), which is alone.
  [[nodiscard]] virtual bool has_ranges() const noexcept { return false; }

  /// The controllers that use the medium.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }

 private:
  blkown::detail::UserList users_;
};

/// Storage in memory, all zeroes at first. No access fails.
class MemoryMedia : public Media {
 public:
  /// `capacity`: bytes.
  explicit MemoryMedia(std::uint64_t capacity) : bytes_(static_cast<std::size_t>(capacity)) {}

  [[nodiscard]] std::uint64_t capacity_bytes() const override { return bytes_.size(); }
  [[nodiscard]] bool read(std::uint64_t offset_bytes, std::span<std::byte> to) override {
    std::memcpy(to.data(), bytes_.data() + offset_bytes, to.size());
    return true;
  }
  [[nodiscard]] bool write(std::uint64_t offset_bytes, std::span<const std::byte> from) override {
    std::memcpy(bytes_.data() + offset_bytes, from.data(), from.size());
    return true;
  }
  [[nodiscard]] bool zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    std::memset(bytes_.data() + offset_bytes, 0, static_cast<std::size_t>(length_bytes));
    return true;
  }
  [[nodiscard]] bool flush() override { return true; }
  [[nodiscard]] bool flush_range(std::uint64_t, std::uint64_t) override { return true; }
  [[nodiscard]] bool has_ranges() const noexcept override { return true; }

  /// The content.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_.bytes(); }

 private:
  detail::ZeroedMemory bytes_;
};

enum class FileMode : std::uint8_t { read_only, read_write };

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(FileMode mode) noexcept {
  switch (mode) {
    case FileMode::read_only: return "read_only";
    case FileMode::read_write: return "read_write";
  }
  return "unknown mode";
}

/// Storage in a file. A new file has holes where nothing was written.
class FileMedia : public Media {
 public:
  /// Opens an existing file. The capacity is the file's size.
  /// Errors: null if the file cannot be opened in this mode; errno has the reason.
  [[nodiscard]] static std::unique_ptr<FileMedia> open(const char* path,
                                                       FileMode mode = FileMode::read_write) {
    auto media = make(std::fopen(path, mode == FileMode::read_only ? "rb" : "r+b"));
    if (media == nullptr || std::fseek(media->file_.get(), 0, SEEK_END) != 0) return nullptr;
    const long end = std::ftell(media->file_.get());
    if (end < 0) return nullptr;
    media->capacity_bytes_ = static_cast<std::uint64_t>(end);
    return media;
  }
  /// Creates a file of this capacity. An existing file is emptied first.
  /// Errors: null if the file cannot be created; errno has the reason.
  [[nodiscard]] static std::unique_ptr<FileMedia> create(const char* path, std::uint64_t capacity) {
    auto media = make(std::fopen(path, "w+b"));
    if (media == nullptr) return nullptr;
    media->capacity_bytes_ = capacity;
    const std::byte last{};
    if (capacity != 0 && !media->write(capacity - 1, {&last, 1})) return nullptr;
    return media;
  }

  [[nodiscard]] std::uint64_t capacity_bytes() const override { return capacity_bytes_; }
  [[nodiscard]] bool read(std::uint64_t offset_bytes, std::span<std::byte> to) override {
    if (!seek(offset_bytes)) return false;
    const std::size_t got = std::fread(to.data(), 1, to.size(), file_.get());
    if (std::ferror(file_.get()) != 0) return false;
    // The file may have been truncated. Bytes beyond its end are zeroes, as in a hole.
    std::memset(to.data() + got, 0, to.size() - got);
    return true;
  }
  [[nodiscard]] bool write(std::uint64_t offset_bytes, std::span<const std::byte> from) override {
    return seek(offset_bytes) &&
           std::fwrite(from.data(), 1, from.size(), file_.get()) == from.size();
  }
  [[nodiscard]] bool zero(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    const std::vector<std::byte> zeroes(65536);
    while (length_bytes != 0) {
      const std::uint64_t part = length_bytes < zeroes.size() ? length_bytes : zeroes.size();
      if (!write(offset_bytes, {zeroes.data(), static_cast<std::size_t>(part)})) return false;
      offset_bytes += part;
      length_bytes -= part;
    }
    return true;
  }
  [[nodiscard]] bool flush() override { return std::fflush(file_.get()) == 0; }

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };

  explicit FileMedia(std::FILE* file) : file_{file} {}

  [[nodiscard]] static std::unique_ptr<FileMedia> make(std::FILE* file) {
    return file == nullptr ? nullptr : std::unique_ptr<FileMedia>{new FileMedia{file}};
  }
  [[nodiscard]] bool seek(std::uint64_t offset_bytes) {
    return std::fseek(file_.get(), static_cast<long>(offset_bytes), SEEK_SET) == 0;
  }

  std::unique_ptr<std::FILE, Close> file_;
  std::uint64_t capacity_bytes_ = 0;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
