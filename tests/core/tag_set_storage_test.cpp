// SPDX-License-Identifier: BSL-1.0
//
// A TagSet's storage: its own memory or the caller's.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "support/driver.hpp"

using blkown::EndSink;
using blkown::QueueIndex;
using blkown::Tag;
using blkown::TagSetConfig;
using blkown::TagSetError;
using blkown::TagSetReason;
using support::Request;
using support::TagSet;

namespace {

constexpr TagSetConfig config = support::two_queues_of_eight;

/// Page-aligned storage, followed by a margin that must stay unchanged.
class Storage {
 public:
  explicit Storage(std::size_t bytes) : bytes_{bytes}, whole_(bytes + margin_bytes) {
    std::memset(whole_.begin(), 0xA5, whole_.size());
  }
  [[nodiscard]] std::span<std::byte> all() { return {whole_.begin(), bytes_}; }
  [[nodiscard]] bool margin_is_intact() const {
    for (std::size_t i = bytes_; i < whole_.size(); ++i) {
      if (whole_.begin()[i] != std::byte{0xA5}) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t margin_bytes = 256;

  class Aligned {
   public:
    explicit Aligned(std::size_t bytes)
        : bytes_{bytes}, begin_{static_cast<std::byte*>(::operator new(bytes, alignment))} {}
    Aligned(const Aligned&) = delete;
    Aligned& operator=(const Aligned&) = delete;
    ~Aligned() { ::operator delete(begin_, alignment); }
    [[nodiscard]] std::byte* begin() const { return begin_; }
    [[nodiscard]] std::size_t size() const { return bytes_; }

   private:
    static constexpr std::align_val_t alignment{4096};
    std::size_t bytes_;
    std::byte* begin_;
  };

  std::size_t bytes_;
  Aligned whole_;
};

void use_all(TagSet& set) {
  for (blkown::QueueIndex queue; queue.value != set.queue_count(); ++queue.value) {
    for (std::uint32_t tag = 0; tag < set.depth(); ++tag) {
      auto owned = set.allocate_tag(queue, Tag{tag}).value().start();
      owned.data().sectors = -1;
      std::move(owned).end_ok();
    }
  }
}

}  // namespace

TEST(TagSetStorage, OfTheCallerHoldsEverythingAndNothingBeyond) {
  Storage storage{TagSet::storage_bytes(config)};
  {
    auto set = TagSet::create_in(storage.all(), config, EndSink<Request>::freeing()).value();
    use_all(set);
    auto owned = set.allocate_tag(QueueIndex{1}, Tag{7}).value().start();
    const auto* const address = reinterpret_cast<const std::byte*>(&owned.data());
    EXPECT_GE(address, storage.all().data());
    EXPECT_LT(address, storage.all().data() + storage.all().size());
    std::move(owned).end_ok();
  }
  EXPECT_TRUE(storage.margin_is_intact());
}

TEST(TagSetStorage, OfTheCallerCanBeUsedAgain) {
  Storage storage{TagSet::storage_bytes(config)};
  for (int life = 0; life < 3; ++life) {
    auto set = TagSet::create_in(storage.all(), config, EndSink<Request>::freeing()).value();
    use_all(set);
  }
}

TEST(TagSetStorage, OfTheCallerMayBeLargerThanNeeded) {
  Storage storage{TagSet::storage_bytes(config) + 1000};
  auto set = TagSet::create_in(storage.all(), config, EndSink<Request>::freeing()).value();
  use_all(set);
}

TEST(TagSetStorage, ThatIsTooSmallIsRefused) {
  const std::size_t needed = TagSet::storage_bytes(config);
  Storage storage{needed};
  const auto refused =
      TagSet::create_in(storage.all().first(needed - 1), config, EndSink<Request>::freeing());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), (TagSetError{TagSetReason::storage_too_small, needed - 1, needed}));
}

TEST(TagSetStorage, ThatIsMisalignedIsRefused) {
  EXPECT_EQ(TagSet::storage_alignment_bytes(), 2 * blkown::cache_line_bytes);
  Storage storage{TagSet::storage_bytes(config) + blkown::cache_line_bytes};
  const std::span<std::byte> shifted = storage.all().subspan(blkown::cache_line_bytes);
  const auto refused = TagSet::create_in(shifted, config, EndSink<Request>::freeing());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), (TagSetError{TagSetReason::storage_misaligned,
                                          reinterpret_cast<std::uintptr_t>(shifted.data()),
                                          2 * blkown::cache_line_bytes}));
}

TEST(TagSetStorage, AlignsAsTheDataNeeds) {
  struct alignas(512) Page {
    std::byte bytes[512];
  };
  using Pages = blkown::TagSet<blkown::Request<Page>>;
  EXPECT_EQ(Pages::storage_alignment_bytes(), 512U);
  Storage storage{Pages::storage_bytes(config)};
  auto set =
      Pages::create_in(storage.all(), config, EndSink<blkown::Request<Page>>::freeing()).value();
  auto owned = set.allocate_tag(QueueIndex{1}, Tag{7}).value().start();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&owned.data()) % 512, 0U);
  std::move(owned).end_ok();
}

// Goal: contexts with queues of their own do not disturb each other, as they would in one pair of
// lines.
TEST(TagSetStorage, HasTheRequestsOfTwoQueuesInDifferentPairsOfLines) {
  constexpr std::uintptr_t pair_bytes = 2 * blkown::cache_line_bytes;
  const auto pair_of = [](const void* address) {
    return reinterpret_cast<std::uintptr_t>(address) / pair_bytes;
  };
  for (const std::uint32_t depth : {1U, 2U, 3U, 8U}) {
    auto odd = config;
    odd.depth = depth;
    Storage storage{TagSet::storage_bytes(odd)};
    {
      auto set = TagSet::create_in(storage.all(), odd, EndSink<Request>::freeing()).value();
      use_all(set);
      const std::byte* const begin =
          reinterpret_cast<const std::byte*>(&set.header(QueueIndex{0}, Tag{depth - 1}));
      EXPECT_LT(pair_of(begin + sizeof(Request) - 1), pair_of(&set.header(QueueIndex{1}, Tag{0})));
    }
    EXPECT_TRUE(storage.margin_is_intact()) << "depth " << depth;
  }
}

TEST(TagSetStorage, RefusesABadConfigurationBeforeItTouchesMemory) {
  Storage storage{64};
  auto bad = config;
  bad.depth = 0;
  const auto refused = TagSet::create_in(storage.all(), bad, EndSink<Request>::freeing());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, TagSetReason::no_depth);
  EXPECT_EQ(TagSet::create(bad, EndSink<Request>::freeing()).error().reason,
            TagSetReason::no_depth);
}

TEST(TagSetStorage, NeedsAnEndSink) {
  Storage storage{TagSet::storage_bytes(config)};
  EXPECT_EQ(TagSet::create_in(storage.all(), config, EndSink<Request>{}).error().reason,
            TagSetReason::no_end_sink);
  EXPECT_EQ(TagSet::create(config, EndSink<Request>{}).error().reason, TagSetReason::no_end_sink);
}

// Goal: sizes beyond any machine's memory are refused, sizes that overflow 64 bits included.
TEST(TagSetStorage, RefusesWhatNoMemoryCanHold) {
  constexpr blkown::CookieLayout wide{
      .width_bits = 64, .queue = {32, 17}, .tag = {0, 32}, .generation = {49, 8}, .user = {}};
  constexpr TagSetConfig huge{
      .queue_count = 65536, .depth = 1U << 31, .layout = wide, .first_generation = {}};

  using Large = blkown::Request<std::array<std::byte, 65536>>;  // 2^47 of these: beyond 2^63
  const auto large = blkown::TagSet<Large>::create(huge, EndSink<Large>::freeing());
  ASSERT_FALSE(large.has_value());
  EXPECT_EQ(large.error().reason, TagSetReason::out_of_memory);
  EXPECT_GT(large.error().limit, std::uint64_t{1} << 63);

  using Larger = blkown::Request<std::array<std::byte, 131'000>>;  // 2^17 with the header: 2^64
  ASSERT_EQ(sizeof(Larger), std::size_t{1} << 17);
  ASSERT_EQ(blkown::TagSet<Larger>::storage_bytes(huge), std::numeric_limits<std::size_t>::max());
  const auto larger = blkown::TagSet<Larger>::create(huge, EndSink<Larger>::freeing());
  ASSERT_FALSE(larger.has_value());
  EXPECT_EQ(larger.error().reason, TagSetReason::out_of_memory);
  Storage storage{4096};
  const auto in_place =
      blkown::TagSet<Larger>::create_in(storage.all(), huge, EndSink<Larger>::freeing());
  ASSERT_FALSE(in_place.has_value());
  EXPECT_EQ(in_place.error().reason, TagSetReason::storage_too_small);
}
