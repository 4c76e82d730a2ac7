// SPDX-License-Identifier: BSL-1.0
//
// Tests of uring_copy's files: sources that change during the copy, destinations of the wrong size,
// and the comparison of --check.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "uring_copy/compare.hpp"
#include "uring_copy/copier.hpp"
#include "uring_copy/destination.hpp"
#include "uring_copy/source.hpp"
#include "uring_copy/thread_device.hpp"

namespace uring_copy {
namespace {

class UringCopyFiles : public testing::Test {
 protected:
  UringCopyFiles() {
    std::string name = testing::TempDir() + "/uring_copy-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
  }
  ~UringCopyFiles() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ / name; }

  static std::string pattern(std::size_t bytes) {
    std::string text(bytes, '\0');
    std::uint32_t state = 1;
    for (char& byte : text) {
      state = state * 1664525 + 1013904223;
      byte = static_cast<char>(state >> 24);
    }
    return text;
  }
  std::string make(const std::string& name, const std::string& content) const {
    std::ofstream{path(name), std::ios::binary} << content;
    return path(name);
  }
  static std::string content(const std::string& file) {
    std::ifstream in{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  std::size_t file_count() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator{directory_}, {}));
  }

 private:
  std::filesystem::path directory_;
};

/// A ThreadDevice that calls `disturb` before it issues command number `at`.
class DisturbedDevice final : public Device {
 public:
  DisturbedDevice(int source_fd, int destination_fd, std::uint32_t at,
                  std::function<void()> disturb)
      : device_{source_fd, destination_fd}, at_{at}, disturb_{std::move(disturb)} {
    EXPECT_TRUE(device_.start(2).has_value());
  }

  std::expected<void, int> issue(const Command& command, std::uint64_t cookie) override {
    if (commands_++ == at_) disturb_();
    return device_.issue(command, cookie);
  }
  std::expected<void, int> cancel(std::uint64_t cookie) override { return device_.cancel(cookie); }
  std::expected<void, int> submit() override { return device_.submit(); }
  std::expected<std::span<const Completion>, int> reap() override { return device_.reap(); }
  std::size_t outstanding() const noexcept override { return device_.outstanding(); }

 private:
  ThreadDevice device_;
  std::uint32_t at_;
  std::uint32_t commands_ = 0;
  std::function<void()> disturb_;
};

std::optional<Failure> copy(const Source& source, const Destination& destination,
                            const std::function<void()>& disturb) {
  const auto buffers = Buffers::create(4, 512);
  Ledger ledger;
  auto requests = make_requests(*buffers, ledger);
  DisturbedDevice device{source.fd(), destination.fd(), 20, disturb};
  Copier copier{device, buffers->device(), *requests, ledger, source.size_bytes(), 0};
  return copier.run([] { return true; });
}

TEST_F(UringCopyFiles, ASourceThatShrinksEndsTheCopy) {
  const auto source = Source::open(make("source", pattern(100'000)));
  const auto destination = Destination::create(path("copy"), *source);
  const auto failure =
      copy(*source, *destination, [&] { EXPECT_EQ(truncate(source->path().c_str(), 50'000), 0); });
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, Cause::source_ended);
  EXPECT_GE(failure->offset_bytes, 50'000U);
}

TEST_F(UringCopyFiles, ASourceThatGrowsIsReportedAfterTheCopy) {
  const auto source = Source::open(make("source", pattern(100'000)));
  auto destination = Destination::create(path("copy"), *source);
  const auto failure = copy(*source, *destination, [&] {
    EXPECT_TRUE(source->check_not_grown().has_value());
    std::ofstream{source->path(), std::ios::app} << 'x';
  });
  EXPECT_FALSE(failure.has_value());
  const auto same = source->check_not_grown();
  ASSERT_FALSE(same.has_value());
  EXPECT_NE(same.error().text.find("more than the 100000 bytes"), std::string::npos);
}

TEST_F(UringCopyFiles, TheDestinationIsUntouchedUntilTheCopyTakesItsName) {
  make("copy", "old");
  const auto source = Source::open(make("source", pattern(10'000)));
  {
    auto destination = Destination::create(path("copy"), *source);
    EXPECT_FALSE(copy(*source, *destination, [] {}).has_value());
    EXPECT_TRUE(destination->finish(10'000).has_value());
    EXPECT_EQ(content(path("copy")), "old");
    EXPECT_EQ(file_count(), 3U);
  }
  EXPECT_EQ(content(path("copy")), "old");
  EXPECT_EQ(file_count(), 2U);
  {
    auto destination = Destination::create(path("copy"), *source);
    EXPECT_FALSE(copy(*source, *destination, [] {}).has_value());
    EXPECT_TRUE(destination->finish(10'000).has_value());
    EXPECT_TRUE(destination->take_name().has_value());
  }
  EXPECT_EQ(content(path("copy")), pattern(10'000));
  EXPECT_EQ(file_count(), 2U);
}

TEST_F(UringCopyFiles, ACopyOfTheWrongSizeIsNotFinished) {
  const auto source = Source::open(make("source", pattern(10'000)));
  auto destination = Destination::create(path("copy"), *source);
  EXPECT_FALSE(copy(*source, *destination, [] {}).has_value());
  for (const off_t size_bytes : {9'999, 10'001}) {
    EXPECT_EQ(ftruncate(destination->fd(), size_bytes), 0);
    const auto finished = destination->finish(10'000);
    ASSERT_FALSE(finished.has_value());
    EXPECT_NE(finished.error().text.find("instead of 10000"), std::string::npos);
  }
}

class UringCopyCompare : public UringCopyFiles {
 protected:
  /// The error of --check for two files with these contents. Empty if they are equal.
  std::string difference(const std::string& source, const std::string& copy) const {
    const auto same = compare(make("source", source), make("copy", copy), "COPY", source.size(),
                              [](std::uint64_t) { return true; });
    return same ? "" : same.error().text;
  }
};

TEST_F(UringCopyCompare, EqualFilesAreEqual) {
  for (const std::size_t bytes : {0U, 1U, 4'095U, 1U << 20, (1U << 20) + 1, 3U << 20}) {
    EXPECT_EQ(difference(pattern(bytes), pattern(bytes)), "") << bytes;
  }
}

TEST_F(UringCopyCompare, TheErrorNamesTheFirstByteThatDiffers) {
  const std::string source = pattern((1 << 20) * 2 + 77);
  for (const std::size_t at : {std::size_t{0}, std::size_t{4'096}, std::size_t{(1 << 20) - 1},
                               std::size_t{1 << 20}, source.size() - 1}) {
    std::string copy = source;
    copy[at] = static_cast<char>(copy[at] ^ 1);
    copy.back() = static_cast<char>(source.back() ^ 2);
    EXPECT_NE(difference(source, copy).find("first at byte " + std::to_string(at) + ";"),
              std::string::npos)
        << at;
  }
}

TEST_F(UringCopyCompare, MissingAndAdditionalBytesAreDifferences) {
  for (const std::size_t bytes : {std::size_t{5'000}, std::size_t{1 << 20}}) {
    const std::string source = pattern(bytes);
    EXPECT_NE(difference(source, source + 'x').find("byte " + std::to_string(bytes) + ";"),
              std::string::npos);
    EXPECT_NE(difference(source, source.substr(0, bytes - 1))
                  .find("byte " + std::to_string(bytes - 1) + ";"),
              std::string::npos);
  }
  // The source has become shorter than the copy.
  const auto same = compare(make("source", pattern(4'999)), make("copy", pattern(5'000)), "COPY",
                            5'000, [](std::uint64_t) { return true; });
  ASSERT_FALSE(same.has_value());
  EXPECT_NE(same.error().text.find("byte 4999;"), std::string::npos);
}

TEST_F(UringCopyCompare, CanBeInterrupted) {
  const auto same = compare(make("source", pattern(3 << 20)), make("copy", pattern(3 << 20)),
                            "COPY", 3 << 20, [](std::uint64_t) { return false; });
  ASSERT_FALSE(same.has_value());
  EXPECT_EQ(same.error().exit_status, exit_interrupted);
}

}  // namespace
}  // namespace uring_copy
