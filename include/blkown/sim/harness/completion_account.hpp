// SPDX-License-Identifier: BSL-1.0
//
// Whether what a driver took out of its completion rings is what it looked up.

#ifndef BLKOWN_SIM_HARNESS_COMPLETION_ACCOUNT_HPP
#define BLKOWN_SIM_HARNESS_COMPLETION_ACCOUNT_HPP

#include <algorithm>
#include <blkown/config.hpp>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// What a completion entry names: a cookie, on the queue that it came on.
struct Name {
  std::uint32_t queue = 0;
  std::uint64_t cookie = 0;
  friend bool operator==(const Name&, const Name&) = default;
};

/// Each entry that is taken out is looked up once, in whatever order.
class CompletionAccount {
 public:
  void take(const Name& name) { enter(taken_, looked_up_, name); }
  void look_up(const Name& name) { enter(looked_up_, taken_, name); }
  /// How many have the one and lack the other.
  [[nodiscard]] std::size_t open() const noexcept { return taken_.size() + looked_up_.size(); }
  void clear() noexcept {
    taken_.clear();
    looked_up_.clear();
  }

 private:
  static void enter(std::vector<Name>& side, std::vector<Name>& other, const Name& name) {
    const auto like = std::ranges::find(other, name);
    if (like != other.end()) {
      other.erase(like);
    } else {
      side.push_back(name);
    }
  }

  std::vector<Name> taken_;
  std::vector<Name> looked_up_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
