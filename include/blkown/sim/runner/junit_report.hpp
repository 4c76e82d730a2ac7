// SPDX-License-Identifier: BSL-1.0
//
// JunitReport: the results of a program in the XML of JUnit, which CI servers read.

#ifndef BLKOWN_SIM_RUNNER_JUNIT_REPORT_HPP
#define BLKOWN_SIM_RUNNER_JUNIT_REPORT_HPP

#include <unistd.h>
#include <array>
#include <blkown/config.hpp>
#include <blkown/sim/runner/kit_file.hpp>
#include <blkown/sim/runner/seed_processes.hpp>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

namespace detail {

/// The number of bytes of the character of XML at the beginning of the text, or 0 if there is none.
/// Source: XML 1.0, section 2.2; RFC 3629, section 4.
[[nodiscard]] constexpr std::size_t xml_character(std::string_view text) noexcept {
  const auto byte = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned first = byte(0);
  if (first < 0x80) {
    return first >= 0x20 || first == '\t' || first == '\n' || first == '\r' ? 1 : 0;
  }
  const std::size_t size = first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
  if (size == 0 || text.size() < size) return 0;
  std::uint32_t value = first & (0x7FU >> size);
  for (std::size_t i = 1; i != size; ++i) {
    if (byte(i) >> 6 != 2) return 0;
    value = value << 6 | (byte(i) & 0x3FU);
  }
  constexpr std::array<std::uint32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = value >= 0xD800 && value < 0xE000;
  const bool is_allowed = value != 0xFFFE && value != 0xFFFF && value <= 0x10FFFF;
  return value >= least[size] && !is_surrogate && is_allowed ? size : 0;
}

/// The text for an element or an attribute of XML. A byte that XML cannot have becomes a question
/// mark.
[[nodiscard]] inline std::string xml_text(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t size = xml_character(text);
    switch (text.front()) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      case '\r': result += "&#13;"; break;
      default: result += size == 0 ? std::string_view{"?"} : text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return result;
}

}  // namespace detail

/// Collects results, and writes them as one test suite of a test case for each seed. The text of a
/// failure is the run's report.
/// Source: the schemas of Apache Ant's JUnit task and of Jenkins's xUnit plugin.
class JunitReport {
 public:
  /// `suite` names the program.
  explicit JunitReport(std::string suite) : suite_{std::move(suite)} {}

  /// Adds a result.
  void add(const SeedResult& result) { results_.push_back(result); }

  /// The report of a program that took this time. `note` is text for its readers.
  [[nodiscard]] std::string text(double seconds, std::string_view note) const {
    std::size_t failures = 0;
    std::size_t errors = 0;
    std::string cases;
    for (const SeedResult& result : results_) {
      cases += case_of(result);
      if (!result.crash.empty()) {
        ++errors;
      } else if (!result.has_passed) {
        ++failures;
      }
    }
    const std::string name = detail::xml_text(suite_);
    return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"" + name +
           "\" package=\"" + name + "\" id=\"0\" timestamp=\"" + timestamp() + "\" hostname=\"" +
           detail::xml_text(host_name()) + "\" tests=\"" + std::to_string(results_.size()) +
           "\" failures=\"" + std::to_string(failures) + "\" errors=\"" + std::to_string(errors) +
           "\" time=\"" + decimal(seconds) + "\">\n    <properties/>\n" + cases +
           "    <system-out>" + detail::xml_text(note) +
           "</system-out>\n    <system-err></system-err>\n  </testsuite>\n</testsuites>\n";
  }

  /// Writes the report.
  /// Errors: one line, or an empty text.
  [[nodiscard]] std::string write(const std::string& path, double seconds,
                                  std::string_view note) const {
    const std::string problem = detail::replace_whole(path, text(seconds, note));
    return problem.empty() ? problem : "--junit " + path + ": " + problem + "; name another file";
  }

 private:
  [[nodiscard]] std::string case_of(const SeedResult& result) const {
    std::string text = "    <testcase name=\"seed " + std::to_string(result.seed) +
                       "\" classname=\"" + detail::xml_text(suite_) + "\" time=\"" +
                       decimal(result.seconds) + '"';
    if (result.has_passed) return text + "/>\n";
    const bool has_crashed = !result.crash.empty();
    const std::string element = has_crashed ? "error" : "failure";
    const std::string message = has_crashed ? result.crash : first_finding(result.output);
    return text + ">\n      <" + element + " type=\"" + (has_crashed ? "crash" : "finding") +
           "\" message=\"" + detail::xml_text(message) + "\">" + detail::xml_text(result.output) +
           "</" + element + ">\n    </testcase>\n";
  }
  /// The first line of the report, behind what the driver has printed.
  [[nodiscard]] static std::string first_finding(std::string_view output) {
    std::size_t begin = output.starts_with("seed ") ? 0 : output.find("\nseed ");
    if (begin == std::string_view::npos) begin = 0;
    output.remove_prefix(begin);
    if (output.starts_with('\n')) output.remove_prefix(1);
    return std::string{output.substr(0, output.find('\n'))};
  }
  [[nodiscard]] static std::string decimal(double seconds) {
    // Without a locale, whose decimal point may be another one.
    const auto thousandths = static_cast<std::uint64_t>(seconds * 1000);
    const std::string digits = std::to_string(1000 + thousandths % 1000);
    return std::to_string(thousandths / 1000) + '.' + digits.substr(1);
  }
  [[nodiscard]] static std::string timestamp() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    std::array<char, 32> text;
    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    return text.data();
  }
  [[nodiscard]] static std::string host_name() {
    std::array<char, 256> name{};
    if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
    return name.data();
  }

  std::string suite_;
  std::vector<SeedResult> results_;
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
