// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/media/zeroed_memory.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#if BLKOWN_SIM_HAS_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace {

using blkown::sim::FileMedia;
using blkown::sim::Media;
using blkown::sim::MemoryMedia;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t capacity_bytes = 200'000;

/// The path of a file that the test removes at its end.
class FileName {
 public:
  FileName() {
    const int descriptor = mkstemp(name_.data());
    EXPECT_GE(descriptor, 0);
    close(descriptor);
  }
  FileName(const FileName&) = delete;
  FileName& operator=(const FileName&) = delete;
  ~FileName() { std::remove(c_str()); }
  [[nodiscard]] const char* c_str() const { return name_.c_str(); }

 private:
  std::string name_ = testing::TempDir() + "blkown_media_XXXXXX";
};

[[nodiscard]] Bytes read(Media& media, std::uint64_t offset, std::size_t length) {
  Bytes bytes(length, std::byte{0xEE});
  EXPECT_TRUE(media.read(offset, bytes));
  return bytes;
}

/// The behaviour that every medium has.
void check(Media& media) {
  ASSERT_EQ(media.capacity_bytes(), capacity_bytes);
  EXPECT_EQ(read(media, 0, capacity_bytes), Bytes(capacity_bytes)) << "a new one holds zeroes";

  const Bytes ones(70'000, std::byte{1});
  const Bytes twos(10, std::byte{2});
  ASSERT_TRUE(media.write(100'000, ones));
  ASSERT_TRUE(media.write(100'005, twos));
  Bytes expected(capacity_bytes);
  std::fill_n(expected.begin() + 100'000, 70'000, std::byte{1});
  std::fill_n(expected.begin() + 100'005, 10, std::byte{2});
  EXPECT_EQ(read(media, 0, capacity_bytes), expected);
  EXPECT_EQ(read(media, 100'004, 12).front(), std::byte{1});

  // More than the 65,536 bytes that zero() writes at once.
  ASSERT_TRUE(media.zero(100'001, 66'000));
  std::fill_n(expected.begin() + 100'001, 66'000, std::byte{0});
  EXPECT_EQ(read(media, 0, capacity_bytes), expected);

  ASSERT_TRUE(media.write(capacity_bytes - 10, twos)) << "up to the last byte";
  std::copy_n(twos.begin(), 10, expected.end() - 10);
  EXPECT_EQ(read(media, 0, capacity_bytes), expected);
  EXPECT_TRUE(media.flush());
}

TEST(MemoryMedia, ReturnsTheBytesWritten) {
  MemoryMedia media{capacity_bytes};
  check(media);
  EXPECT_EQ(media.bytes().size(), capacity_bytes);
  EXPECT_EQ(media.bytes()[100'000], std::byte{1});
}

TEST(FileMedia, ReturnsTheBytesWritten) {
  const FileName name;
  const auto media = FileMedia::create(name.c_str(), capacity_bytes);
  ASSERT_NE(media, nullptr);
  check(*media);
}

TEST(FileMedia, KeepsItsCapacityAndBytesInTheFile) {
  const FileName name;
  {
    const auto media = FileMedia::create(name.c_str(), capacity_bytes);
    ASSERT_NE(media, nullptr);
    ASSERT_TRUE(media->write(512, Bytes(512, std::byte{3})));
  }
  const auto media = FileMedia::open(name.c_str());
  ASSERT_NE(media, nullptr);
  EXPECT_EQ(media->capacity_bytes(), capacity_bytes) << "although most of it was never written";
  EXPECT_EQ(read(*media, 512, 512), Bytes(512, std::byte{3}));
  EXPECT_EQ(read(*media, 0, 512), Bytes(512));
  EXPECT_EQ(read(*media, capacity_bytes - 512, 512), Bytes(512)) << "a hole holds zeroes";
  ASSERT_TRUE(media->write(1024, Bytes(512, std::byte{6}))) << "opened for writing, too";
  EXPECT_TRUE(media->flush());
  EXPECT_EQ(read(*media, 1024, 512), Bytes(512, std::byte{6}));
}

TEST(FileMedia, ReadsZeroesBeyondATruncatedFile) {
  const FileName name;
  const auto media = FileMedia::create(name.c_str(), 4096);
  ASSERT_NE(media, nullptr);
  ASSERT_TRUE(media->write(0, Bytes(4096, std::byte{7})));
  ASSERT_TRUE(media->flush());
  ASSERT_EQ(truncate(name.c_str(), 100), 0);
  Bytes expected(200);
  std::fill_n(expected.begin(), 100, std::byte{7});
  EXPECT_EQ(read(*media, 0, 200), expected);
}

TEST(FileMedia, AFlushIsVisibleToOtherReadersOfTheFile) {
  const FileName name;
  const auto media = FileMedia::create(name.c_str(), 4096);
  ASSERT_NE(media, nullptr);
  ASSERT_TRUE(media->write(0, Bytes(16, std::byte{4})));
  ASSERT_TRUE(media->flush());
  const auto other = FileMedia::open(name.c_str());
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(read(*other, 0, 16), Bytes(16, std::byte{4}));
}

TEST(FileMedia, CreateEmptiesAnExistingFile) {
  const FileName name;
  {
    const auto media = FileMedia::create(name.c_str(), 4096);
    ASSERT_NE(media, nullptr);
    ASSERT_TRUE(media->write(0, Bytes(4096, std::byte{5})));
  }
  const auto media = FileMedia::create(name.c_str(), 1024);
  ASSERT_NE(media, nullptr);
  EXPECT_EQ(media->capacity_bytes(), 1024U);
  EXPECT_EQ(read(*media, 0, 1024), Bytes(1024));
}

TEST(FileMedia, OpensAnEmptyFile) {
  const FileName name;
  ASSERT_NE(FileMedia::create(name.c_str(), 0), nullptr);
  const auto media = FileMedia::open(name.c_str());
  ASSERT_NE(media, nullptr);
  EXPECT_EQ(media->capacity_bytes(), 0U);
}

TEST(FileMedia, IsNullForAMissingFile) {
  const FileName name;
  const std::string missing = std::string{name.c_str()} + "/missing";
  errno = 0;
  EXPECT_EQ(FileMedia::open(missing.c_str()), nullptr);
  EXPECT_NE(errno, 0);
  errno = 0;
  EXPECT_EQ(FileMedia::create(missing.c_str(), 4096), nullptr);
  EXPECT_NE(errno, 0);
}

TEST(FileMedia, ReportsAFailureOfTheMedium) {
  const auto media = FileMedia::create("/dev/full", 4096);
  ASSERT_NE(media, nullptr);
  EXPECT_FALSE(media->flush()) << "there is no space on this device";
  EXPECT_FALSE(media->write(0, Bytes(1'000'000)));
}

TEST(ZeroedMemory, IsAsLongAsSaidAlignedAndZero) {
  for (const std::size_t alignment : {16U, 512U, 4096U}) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{5000}, std::size_t{1} << 20}) {
      blkown::sim::detail::ZeroedMemory memory{size, alignment};
      ASSERT_EQ(memory.size(), size);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment, 0U);
      for (const std::byte one : memory.bytes()) ASSERT_EQ(one, std::byte{});
      std::memset(memory.data(), 7, size);  // all of it is the object's
      EXPECT_EQ(memory.bytes().back(), std::byte{7});
    }
  }
}

TEST(ZeroedMemory, MayBeEmpty) {
  for (const std::size_t alignment : {16U, 4096U}) {
    blkown::sim::detail::ZeroedMemory memory{0, alignment};
    EXPECT_NE(memory.data(), nullptr);
    EXPECT_TRUE(memory.bytes().empty());
  }
}

#if BLKOWN_SIM_HAS_ASAN
// Goal: AddressSanitizer reports a device that writes beyond its medium, or beyond the arena.
TEST(ZeroedMemoryDeathTest, AnOverrunIsReportedAtBothEnds) {
  for (const std::size_t alignment : {1U, 16U, 512U, 4096U}) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{4096}, std::size_t{5001}}) {
      blkown::sim::detail::ZeroedMemory memory{size, alignment};
      volatile std::byte* const begin = memory.data();
      for (const std::ptrdiff_t at : {static_cast<std::ptrdiff_t>(size), std::ptrdiff_t{-1}}) {
        EXPECT_NE(__asan_address_is_poisoned(const_cast<std::byte*>(begin) + at), 0)
            << alignment << " " << size << " " << at;
      }
    }
  }
  MemoryMedia media{4096};
  volatile std::byte* const begin = const_cast<std::byte*>(media.bytes().data());
  EXPECT_DEATH(begin[4096] = std::byte{1}, "heap-buffer-overflow");
  EXPECT_DEATH(begin[-1] = std::byte{1}, "heap-buffer-overflow");
}
#endif

}  // namespace
