// SPDX-License-Identifier: BSL-1.0
//
// DurabilityJudge: decides which contents a disk may have after a power cut.
//
// The harness reports each I/O before its submit (begin) and at its end (end). The order of these
// reports is the judge's time. From them follows what the disk has promised:
//   - A write is durable if it ended well with FUA, or if it ended well before the begin of a flush
//     that ended well. A preflush is a flush that begins with its bio.
//   - A durable write replaces the writes that ended before it began, and the content before them.
//     Everything else may be found after a power cut: writes in flight, failed writes, acknowledged
//     writes that are not durable, and what they are to replace.
//   - If the data of a bio with a preflush is found, then the preflush was carried out.
// The judge knows nothing of the device: it compares the promise with the content that is found.

#ifndef BLKOWN_SIM_HARNESS_DURABILITY_JUDGE_HPP
#define BLKOWN_SIM_HARNESS_DURABILITY_JUDGE_HPP

#include <blkown/config.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/media/sector_contents.hpp>
#include <blkown/sim/device/media/sector_set.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// An I/O as the judge sees it.
struct DurableIo {
  std::uint64_t sector = 0;
  std::span<const std::byte> data;  ///< What is written, whole sectors. Empty: nothing is.
  bool is_fua = false;              ///< The data is durable at the end.
  bool is_flush = false;            ///< A flush, or a bio with a preflush.
};

/// The promises of one disk. Memory grows with the number of I/Os.
/// Context: one at a time.
class DurabilityJudge {
 public:
  /// Names an I/O.
  enum class Id : std::size_t {};

  /// Makes the judge of a disk whose durable content is zeroes.
  explicit DurabilityJudge(std::uint64_t sector_count)
      : ios_(1),
        sectors_(static_cast<std::size_t>(sector_count)),
        durable_by_fua_(static_cast<std::size_t>(sector_count)),
        unsettled_(sector_count) {
    ios_.front().ended = 0;
    unsettled_.add_all();
    static constexpr detail::SectorContents::Content zeroes{};
    static_cast<void>(contents_.add(zeroes.data()));  // at the place no_version
  }

  /// Reports an I/O that is about to be submitted. The judge copies the data.
  Id begin(const DurableIo& io) {
    const std::size_t index = ios_.size();
    const std::size_t count = io.data.size() / detail::bytes_in_sector;
    ios_.push_back({.begun = ++now_,
                    .sector = static_cast<std::size_t>(io.sector),
                    .sector_count = count,
                    .is_fua = io.is_fua,
                    .is_flush = io.is_flush});
    if (io.is_flush && count != 0) preflushes_.push_back(index);
    for (std::size_t i = 0; i != count; ++i) {
      Sector& sector = sectors_[ios_.back().sector + i];
      const std::uint32_t version = contents_.add(io.data.data() + i * detail::bytes_in_sector);
      if (version == versions_.size()) versions_.emplace_back();
      versions_[version] = {.io = index, .next = sector.versions};
      sector.versions = version;
    }
    return Id{index};
  }
  /// Reports the end of an I/O. An I/O whose end is never reported stays in flight.
  void end(Id id, bool is_ok) {
    Io& io = ios_[static_cast<std::size_t>(id)];
    io.ended = ++now_;
    if (!is_ok) return;
    if (std::exchange(io.is_flush, false)) note_flush(io.begun);
    if (io.is_fua) {
      make_durable(io);
    } else if (io.sector_count != 0) {
      cached_.push_back(static_cast<std::size_t>(id));
    }
  }
  /// The flushes in flight promise nothing: a false completion of a flush was accepted, which the
  /// driver could not tell from a genuine one.
  void distrust_flushes() noexcept {
    for (Io& io : ios_) {
      if (io.ended != never) continue;
      io.is_flush = false;
      io.is_fua = false;
    }
  }

  /// Whether the sector may have this content after a power cut now.
  [[nodiscard]] bool admits(std::uint64_t sector, std::span<const std::byte> content) const {
    const Sector& its = sectors_[static_cast<std::size_t>(sector)];
    if (its.may_be_zero && is_same(no_version, content)) return true;
    std::uint32_t version = its.versions;
    while (version != no_version && !is_same(version, content)) version = versions_[version].next;
    return version != no_version;
  }
  /// What made the sector's data durable: a write with FUA rather than a flush.
  [[nodiscard]] bool is_durable_by_fua(std::uint64_t sector) const noexcept {
    return durable_by_fua_[static_cast<std::size_t>(sector)];
  }
  /// Compares the content of the whole disk after a power cut now.
  /// Errors: returns the first sector whose content breaks a promise.
  [[nodiscard]] std::optional<std::uint64_t> first_broken(std::span<const std::byte> content) {
    return first_broken_of([&](std::size_t sector) {
      return content.subspan(sector * detail::bytes_in_sector, detail::bytes_in_sector);
    });
  }
  /// The same. `content_of(sector)` returns the content of one sector, as a span.
  template <class ContentOf>
  [[nodiscard]] std::optional<std::uint64_t> first_broken_of(ContentOf content_of) {
    unsettled_.add_all();
    return first_broken_of(content_of, unsettled_);
  }
  /// The same. A sector that is not among the changed ones has the content of the call before. It
  /// was admitted then, and is compared again only if fewer contents are admitted now.
  /// Precondition: `changed` is for as many sectors as the judge.
  template <class ContentOf>
  [[nodiscard]] std::optional<std::uint64_t> first_broken_of(ContentOf content_of,
                                                             const detail::SectorSet& changed) {
    note_preflushes(content_of);
    const auto broken = unsettled_.first_of_union(changed, [&](std::size_t sector) {
      if (!admits(sector, content_of(sector))) return true;
      unsettled_.remove(sector);
      return false;
    });
    if (broken.has_value()) unsettled_.add_all();
    return broken;
  }

 private:
  static constexpr std::uint64_t never = ~std::uint64_t{0};

  struct Io {
    std::uint64_t begun = 0;
    std::uint64_t ended = never;
    std::size_t sector = 0;
    std::size_t sector_count = 0;
    bool is_fua = false;
    bool is_flush = false;
  };
  static constexpr std::uint32_t no_version = 0;
  /// A content that a sector may have.
  struct Version {
    std::size_t io = 0;
    std::uint32_t next = no_version;  // of the sector
  };
  struct Sector {
    std::uint32_t versions = no_version;  // the latest one
    bool may_be_zero = true;              // as at the beginning
  };

  /// `no_version` has the content of every sector at the beginning.
  [[nodiscard]] bool is_same(std::uint32_t version, std::span<const std::byte> content) const {
    return std::memcmp(contents_[version].data(), content.data(), detail::bytes_in_sector) == 0;
  }
  /// A flush that began at this time was carried out.
  void note_flush(std::uint64_t begun) {
    std::erase_if(cached_, [&](std::size_t index) {
      if (ios_[index].ended > begun) return false;
      make_durable(ios_[index]);
      return true;
    });
  }
  void make_durable(const Io& io) {
    for (std::size_t i = 0; i != io.sector_count; ++i) {
      durable_by_fua_[io.sector + i] = io.is_fua;
      Sector& sector = sectors_[io.sector + i];
      if (std::exchange(sector.may_be_zero, false)) unsettled_.add(io.sector + i);
      for (std::uint32_t* link = &sector.versions; *link != no_version;) {
        Version& version = versions_[*link];
        if (ios_[version.io].ended >= io.begun) {
          link = &version.next;
          continue;
        }
        contents_.remove(*link);
        *link = version.next;
        unsettled_.add(io.sector + i);
      }
    }
  }
  /// Finds the bios with a preflush whose data the content shows.
  template <class ContentOf>
  void note_preflushes(ContentOf content_of) {
    std::erase_if(preflushes_, [&](std::size_t index) {
      Io& io = ios_[index];
      for (std::size_t i = 0; i != io.sector_count && io.is_flush; ++i) {
        if (!is_only_in(io.sector + i, index, content_of(io.sector + i))) continue;
        note_flush(io.begun);
        io.is_flush = false;
      }
      return !io.is_flush;
    });
  }
  /// Whether the content of the sector is that of this I/O, and of no other one.
  [[nodiscard]] bool is_only_in(std::size_t sector, std::size_t io,
                                std::span<const std::byte> content) const {
    if (sectors_[sector].may_be_zero && is_same(no_version, content)) return false;
    bool is_found = false;
    for (std::uint32_t version = sectors_[sector].versions; version != no_version;
         version = versions_[version].next) {
      if (!is_same(version, content)) continue;
      if (versions_[version].io != io) return false;
      is_found = true;
    }
    return is_found;
  }

  std::vector<Io> ios_;  // the first one is the content at the beginning
  std::vector<Sector> sectors_;
  std::vector<bool> durable_by_fua_;     // by sector
  detail::SectorSet unsettled_;          // not admitted yet, or fewer contents are admitted since
  std::vector<std::size_t> cached_;      // acknowledged writes that no flush covers yet
  std::vector<std::size_t> preflushes_;  // bios with data of which no preflush was noted
  std::vector<Version> versions_{1};     // by place in contents_
  detail::SectorContents contents_;
  std::uint64_t now_ = 0;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
