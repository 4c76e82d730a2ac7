// SPDX-License-Identifier: BSL-1.0
//
// Goal: zoned null block disks with each pair of values of two parameters keep their write pointers
// while parameters change, blocks are bad, zones wear out, and the power is cut.
// Method: the host of zoned_host.hpp, which knows what each zone must hold, in an order
// that a seed chooses.

#include <gtest/gtest.h>

#include <algorithm>
#include <blkown/mq/mq.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "choices.hpp"
#include "matrix.hpp"
#include "null_block/null_block.hpp"
#include "stress/effort.hpp"
#include "zoned_host.hpp"

namespace {

/// One row of the matrix.
class ZonedRow {
 public:
  using Runtime = blkown::sim::DeterministicRuntime;
  using Disk = null_block::NullDisk<Runtime>;
  using Status = blkown::Status;
  using Op = blkown::mq::Op;

  ZonedRow(std::string_view text, std::uint64_t seed, null_block::TagPool* pool)
      : runtime_{seed, 3}, dice_{seed} {
    const auto config = null_block::parse_config(text);
    if (!config) {
      ADD_FAILURE() << config.error().text;
      return;
    }
    auto made = Disk::create(*config, runtime_, pool);
    if (!made) {
      ADD_FAILURE() << made.error().text;
      return;
    }
    disk_ = *std::move(made);
    host_ = std::make_unique<Host>(
        disk_->disk(), runtime_, seed,
        zoned_host::HostOptions{.block_sectors = config->blocksize / blkown::mq::sector_bytes,
                                .has_data = config->memory_backed != 0,
                                .polled_percent = config->poll_queues != 0 ? 30U : 0U});
  }

  void run(std::uint64_t count) {
    if (host_ == nullptr) return;
    use(count, true);
    if (testing::Test::HasFailure()) return;
    expect_progress();
    for (const auto& [ended, times] : host_->all_ended()) {
      EXPECT_TRUE(has_cause(ended.first, ended.second))
          << times << " of " << to_string(ended.first) << ": " << to_string(ended.second);
    }
  }
  void add_to(std::map<std::pair<Op, Status>, std::uint64_t>& sum) const {
    for (const auto& [ended, times] : host_->all_ended()) sum[ended] += times;
  }

 private:
  using Host = zoned_host::ZonedHost<null_block::Driver, Runtime>;

  /// Begins this many I/Os, and waits for their ends.
  void use(std::uint64_t count, bool disturbs) {
    for (std::uint64_t begun = 0; begun != count;) {
      if (host_->begin()) ++begun;
      if (dice_() % 2 == 0) step();
      if (disturbs && dice_() % 64 == 0) disturb();
      ASSERT_EQ(host_->failure(), "") << "I/O " << begun;
      ASSERT_FALSE(testing::Test::HasFailure()) << "I/O " << begun;
    }
    while (host_->in_flight() != 0) ASSERT_TRUE(step()) << "an I/O never ends";
    host_->check_all();
    ASSERT_EQ(host_->failure(), "");
  }
  /// When nothing is broken or forbidden any more, reads, appends and resets end well again.
  void expect_progress() {
    host_->repair_zones([&](const char* key, const std::string& zone) {
      EXPECT_TRUE(disk_->set(key, zone).has_value());
    });
    if (is_bad_) change_bad_blocks();
    for (const auto& [key, value] : {std::pair{"read_only", "0"},
                                     {"memory_limit", "0"},
                                     {"zone_append_max_sectors", "65536"},
                                     {"timeout_probability", "0"},
                                     {"requeue_probability", "0"}}) {
      const auto set = disk_->set(key, value);
      EXPECT_TRUE(set.has_value()) << set.error().text;
    }
    const auto before = host_->all_ended();
    use(500, false);
    for (const Op op : {Op::read, Op::zone_append, Op::zone_reset}) {
      const auto ended = before.find({op, Status::ok});
      EXPECT_GT(host_->ended(op, Status::ok), ended == before.end() ? 0 : ended->second)
          << "no " << to_string(op) << " ends well";
    }
  }
  /// Runs one piece of work, and ends what poll queues have.
  bool step() {
    const bool has_stepped = runtime_.step();
    bool has_polled = false;
    for (std::uint32_t i = 0; i != runtime_.context_count(); ++i) {
      has_polled = disk_->disk().poll(runtime_.context(i)) != 0 || has_polled;
    }
    return has_stepped || has_polled;
  }

  void disturb() {
    switch (dice_() % 5) {
      case 0: return change_bad_blocks();
      case 1:
        return host_->change_a_zone([&](const char* key, const std::string& zone) {
          EXPECT_TRUE(disk_->set(key, zone).has_value());
        });
      case 2:
        disk_->power_off(dice_());
        disk_->power_on();
        return host_->note_power_cut();
      default: change_parameter();
    }
  }
  /// With bad blocks, and badblocks_partial_io, an append that fails may have written something.
  void change_bad_blocks() {
    while (is_bad_ && host_->in_flight() != 0) ASSERT_TRUE(step());
    host_->let_write_in_part(!is_bad_);
    const std::uint64_t sectors = disk_->config().size / blkown::mq::sector_bytes;
    is_bad_ = !is_bad_;
    const std::uint64_t first = is_bad_ ? dice_() % sectors : 0;
    const std::uint64_t last = is_bad_ ? first + dice_() % 20 : sectors;
    const std::string range = std::to_string(first) + "-" + std::to_string(last);
    EXPECT_TRUE(disk_->set("badblocks", (is_bad_ ? "+" : "-") + range).has_value());
  }
  void change_parameter() {
    const auto& choices = null_world::choices(true);
    const null_world::Choice& choice = choices[dice_() % choices.size()];
    if (null_block::find_parameter(choice.key)->change == null_block::Change::never) return;
    // A change waits for the I/O in flight, and nobody polls then.
    while (disk_->config().poll_queues != 0 && host_->in_flight() != 0) ASSERT_TRUE(step());
    // The new value may contradict another parameter. Nothing changes then.
    static_cast<void>(disk_->set(choice.key, choice.values[dice_() % choice.values.size()]));
  }

  /// A write that is not at the write pointer or exceeds the zone, or one to a zone that cannot be
  /// written, is an io_error. The parameters that change in a row are no cause that is looked at.
  [[nodiscard]] bool has_cause(Op op, Status status) {
    const null_block::Config& config = disk_->config();
    const bool is_append = op == Op::zone_append;
    switch (status) {
      case Status::ok:
      case Status::io_error:
      case Status::timed_out: return true;
      case Status::no_space: return config.memory_backed != 0 && (is_append || op == Op::write);
      case Status::not_supported: return blkown::mq::is_write(op);
      case Status::invalid: return is_append;  // longer than an append may be
      case Status::zone_open_resource: return config.zone_max_open != 0 && op != Op::read;
      case Status::zone_active_resource: return config.zone_max_active != 0 && op != Op::read;
      default: return false;
    }
  }

  Runtime runtime_;
  std::mt19937_64 dice_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<Host> host_;
  bool is_bad_ = false;
};

/// The host's operations succeed, and each kind of error has come.
void expect_presence(std::map<std::pair<ZonedRow::Op, ZonedRow::Status>, std::uint64_t>& sum) {
  for (const ZonedRow::Op op :
       {ZonedRow::Op::read, ZonedRow::Op::write, ZonedRow::Op::zone_append, ZonedRow::Op::zone_open,
        ZonedRow::Op::zone_finish, ZonedRow::Op::zone_reset}) {
    EXPECT_NE((sum[{op, ZonedRow::Status::ok}]), 0U) << to_string(op);
  }
  for (const ZonedRow::Status status :
       {ZonedRow::Status::io_error, ZonedRow::Status::timed_out, ZonedRow::Status::no_space,
        ZonedRow::Status::not_supported, ZonedRow::Status::invalid,
        ZonedRow::Status::zone_open_resource, ZonedRow::Status::zone_active_resource}) {
    EXPECT_TRUE(std::ranges::any_of(sum, [&](const auto& each) {
      return each.first.second == status && each.second != 0;
    })) << to_string(status);
  }
}

TEST(NullBlockZonedMatrix, EachRowKeepsItsWritePointers) {
  const null_world::Matrix& matrix = null_world::matrix(true);
  const std::uint64_t count = null_world::ios_of_row(1000, 1000);
  const std::uint64_t seed = stress::seed();
  auto pool = null_block::TagPool::create(
      {.queue_count = 1, .depth = 7, .layout = blkown::CookieLayout::nbd()});
  ASSERT_TRUE(pool.has_value());
  std::map<std::pair<ZonedRow::Op, ZonedRow::Status>, std::uint64_t> sum;
  for (const auto& row : matrix.rows()) {
    const std::string text = matrix.text(row);
    SCOPED_TRACE(text);
    const bool shares = text.find("shared_tags=1") != text.npos;
    ZonedRow host{text, seed, shares ? pool->get() : nullptr};
    host.run(count);
    if (HasFailure()) return;
    host.add_to(sum);
  }
  // Fewer need not have each.
  if (count >= 1000) expect_presence(sum);
  RecordProperty("rows", static_cast<int>(matrix.rows().size()));
  RecordProperty("ios", static_cast<int>(matrix.rows().size() * count));
}

}  // namespace
