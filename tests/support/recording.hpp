// SPDX-License-Identifier: BSL-1.0
//
// Recorders of ended I/Os and of reports.

#ifndef BLKOWN_TESTS_SUPPORT_RECORDING_HPP
#define BLKOWN_TESTS_SUPPORT_RECORDING_HPP

#include <blkown/check.hpp>
#include <blkown/ended.hpp>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <utility>
#include <vector>

namespace support {

/// The end of one I/O.
struct EndRecord {
  std::uint32_t queue = 0;
  std::uint32_t tag = 0;
  blkown::Status status = blkown::Status::ok;
  bool is_requeue = false;

  friend bool operator==(const EndRecord&, const EndRecord&) = default;
  friend std::ostream& operator<<(std::ostream& out, const EndRecord& record) {
    return out << "queue " << record.queue << " tag " << record.tag << ' '
               << to_string(record.status) << (record.is_requeue ? " requeue" : "");
  }
};

/// An end sink's target. Records every I/O, releases ended ones, and keeps requeued ones in
/// `requeued`.
template <class R>
class RecordingSink {
 public:
  void operator()(blkown::EndedList<R>&& list) {
    while (auto ended = list.pop_front()) {
      records_.push_back({.queue = ended->queue().value,
                          .tag = ended->tag().value,
                          .status = ended->status(),
                          .is_requeue = ended->is_requeue()});
      if (ended->is_requeue()) {
        requeued.push_back(std::move(*ended));
      } else {
        std::move(*ended).release();
      }
    }
  }

  [[nodiscard]] const std::vector<EndRecord>& records() const { return records_; }
  [[nodiscard]] std::size_t count() const { return records_.size(); }
  [[nodiscard]] const EndRecord& last() const { return records_.at(records_.size() - 1); }

  blkown::EndedList<R> requeued;

 private:
  std::vector<EndRecord> records_;
};

/// Records reports instead of printing them, until it is destroyed. One ReportLog at a time.
class ReportLog {
 public:
  struct Entry {
    blkown::Report report{};
    blkown::Incident incident;
  };

  ReportLog() : before_{blkown::set_report_handler(&add)} { log().clear(); }
  ReportLog(const ReportLog&) = delete;
  ReportLog& operator=(const ReportLog&) = delete;
  ~ReportLog() { blkown::set_report_handler(before_); }

  [[nodiscard]] const std::vector<Entry>& entries() const { return log(); }
  [[nodiscard]] std::size_t count() const { return log().size(); }
  [[nodiscard]] const Entry& last() const { return log().at(log().size() - 1); }

 private:
  [[nodiscard]] static std::vector<Entry>& log() {
    static std::vector<Entry> entries;
    return entries;
  }
  static void add(blkown::Report report, const blkown::Incident& incident) {
    log().push_back({report, incident});
  }

  blkown::ReportHandler before_;
};

}  // namespace support

#endif
