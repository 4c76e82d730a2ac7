// SPDX-License-Identifier: BSL-1.0
//
// The output of a successful copy: progress on a terminal, and one line at the end.

#ifndef URING_COPY_REPORT_HPP
#define URING_COPY_REPORT_HPP

#include <unistd.h>

#include <array>
#include <blkown/tag.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "copier.hpp"

namespace uring_copy {

using Clock = std::chrono::steady_clock;

/// A size for humans, such as "12.3 MiB".
[[nodiscard]] inline std::string human_bytes(double bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 != units.size()) {
    bytes /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text.data();
}

/// A progress line, written to stderr a few times a second if stderr is a terminal.
class Progress {
 public:
  explicit Progress(bool wanted) : shown_{wanted && isatty(STDERR_FILENO) == 1} {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  void show(const char* what, std::uint64_t done_bytes, std::uint64_t size_bytes) {
    if (!shown_ || size_bytes == 0) return;
    const Clock::time_point now = Clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds{200};
    const auto done = static_cast<double>(done_bytes);
    const auto size = static_cast<double>(size_bytes);
    std::fprintf(stderr, "\r\033[K%s %3.0f%%, %s of %s", what, 100 * done / size,
                 human_bytes(done).c_str(), human_bytes(size).c_str());
    is_dirty_ = true;
  }

  void clear() {
    if (is_dirty_) std::fputs("\r\033[K", stderr);
    is_dirty_ = false;
  }

 private:
  bool shown_;
  bool is_dirty_ = false;
  Clock::time_point next_{};
};

/// The numbers of refused lookups, by reason.
[[nodiscard]] inline std::string rejected_text(const Copier::Counters& counters) {
  std::string text;
  for (std::size_t i = 0; i != counters.rejected.size(); ++i) {
    if (counters.rejected[i] == 0) continue;
    text += text.empty() ? " " : ", ";
    text += to_string(static_cast<blkown::LookupReason>(i));
    text += ' ';
    text += std::to_string(counters.rejected[i]);
  }
  return "rejected lookups:" + (text.empty() ? " none" : text);
}

/// The line at the end. The time includes writing the bytes to the medium.
[[nodiscard]] inline std::string summary(const Ledger& ledger, const Copier::Counters& counters,
                                         Clock::duration elapsed) {
  const double seconds = std::chrono::duration<double>{elapsed}.count();
  std::array<char, 32> seconds_text{};
  std::snprintf(seconds_text.data(), seconds_text.size(), "%.3f", seconds);
  std::string text = "copied " + std::to_string(ledger.copied_bytes) + " bytes in " +
                     std::to_string(ledger.requests) + " requests, " + seconds_text.data() + " s";
  if (seconds > 0) {
    text += ", " + human_bytes(static_cast<double>(ledger.copied_bytes) / seconds) + "/s";
  }
  if (counters.short_transfers != 0) {
    text += "; short transfers: " + std::to_string(counters.short_transfers);
  }
  if (counters.cancelled != 0) text += "; cancelled: " + std::to_string(counters.cancelled);
  if (counters.came_first != 0) {
    text += "; time limits and cancels before their I/O: " + std::to_string(counters.came_first);
  }
  return text + "; " + rejected_text(counters);
}

}  // namespace uring_copy

#endif
