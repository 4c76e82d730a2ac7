// SPDX-License-Identifier: BSL-1.0
//
// ZonedWorld: one run of a driver of a zoned disk behind a link that misbehaves.
//
// The host of tests/examples/null_block/zoned_host.hpp appends on all contexts, writes in order,
// reads, and manages zones. The link runs on a context of its own. At each step the seed chooses
// one piece of work among all that is ready. A second party quiesces or freezes the disk, stops its
// queues, and changes its limits. Zones wear out, and the power is cut. After every event:
//   the Oracle    judges the driver's lookups, as in the kit's other worlds
//   the checker   compares the ownership words with the handles that exist
//   the zones     are those of a plain reference, which executes each command that the disk does
//   the host      compares the results with what it has sent
// A reply that the driver cannot tell from a genuine one puts the host in doubt about the zone.

#ifndef BLKOWN_TESTS_SIM_ZONED_WORLD_HPP
#define BLKOWN_TESTS_SIM_ZONED_WORLD_HPP

#include <array>
#include <blkown/mq/mq.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <blkown/sim/harness/device_events.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/host.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/oracle.hpp>
#include <blkown/sim/harness/second_party.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "examples/null_block/zoned_host.hpp"
#include "examples/null_block/zones_reference.hpp"
#include "null_block/null_block.hpp"
#include "sim/zoned_device.hpp"
#include "sim/zoned_driver.hpp"

namespace zoned {

/// One run. Each world runs once.
class World {
 public:
  using Make = std::function<std::unique_ptr<Driver>(DriverHost&)>;

  [[nodiscard]] static constexpr sim::WorldFeatures features() noexcept {
    return {.has_block_layer = true, .has_fault = &has_fault};
  }
  /// The link has an abort, but no connections that are lost, no short transfers and no medium.
  [[nodiscard]] static constexpr bool has_fault(sim::FaultKind kind) noexcept {
    switch (kind) {
      case sim::FaultKind::abort_refused: return true;
      case sim::FaultKind::bad_range:
      case sim::FaultKind::half_reply:
      case sim::FaultKind::reset:
      case sim::FaultKind::short_transfer: return false;
      default: return sim::is_of_messages(kind);
    }
  }
  /// The first option of the kit that this world does not have, or null.
  [[nodiscard]] static const char* missing_option(const sim::WorldConfig& world) noexcept {
    const sim::FixedChoices& fixed = world.fixed;
    if (world.disk_count != 1) return "--disks";
    if (world.mix.has_value()) return "--mix";
    if (!world.sizes.empty()) return "--sizes";
    if (fixed.has_cache.has_value()) return "--cache";
    if (fixed.has_fua.has_value()) return "--fua";
    if (fixed.block_bytes.has_value()) return "--block-bytes";
    const sim::WorldConfig standard;
    if (world.fua_percent != standard.fua_percent) return "--fua-percent";
    if (world.preflush_percent.has_value()) return "--preflush-percent";
    if (world.ios_per_cut != standard.ios_per_cut) return "--ios-per-cut";
    return nullptr;
  }

  World(const sim::WorldConfig& config, const Make& make)
      : config_{config},
        dice_{config.seed ^ 0x20'4ED0},
        faults_{config.is_scripted ? sim::FaultPlan{config.seed, config.script}
                                   : sim::FaultPlan{config.seed, config.rates}},
        runtime_{config.seed, submitters + 1},
        medium_{medium_config(dice_)},
        reference_{medium_.zones->layout()},
        link_{link_config(config), faults_},
        oracle_{link_},
        events_{oracle_,
                history_,
                0,
                config.depth,
                medium_.config.size / mq::sector_bytes,
                {.disk_sectors = medium_.config.size / mq::sector_bytes}},
        driver_{make(driver_host_)} {
    note_reference();
    link_.set_observer(&events_);
    history_.set_layout(config.layout());
    faults_.set_sink({[](void* self, const sim::FaultStrike& strike,
                         const std::optional<sim::FaultTarget>& target) {
                        of(self).events_.strike(strike, target);
                      },
                      this});
    link_.set_hooks(
        {.argument = this, .execute = &execute, .interrupt = &interrupt, .wake = [](void* self) {
           of(self).pump();
         }});
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() { link_.set_observer(&oracle_); }

  /// Runs until all I/Os have begun and few or none are left, then removes the disk.
  /// Errors: false if an invariant was broken. finding() returns the invariant.
  bool run() {
    bring_up();
    while (begun_ != config_.io_count || host_->in_flight() > left_at_removal_) {
      history_.begin_step(runtime_.now_ns());
      if (begun_ != config_.io_count && host_->begin()) ++begun_;
      const bool has_stepped = dice_.chance(1, 2) && step();
      if (!has_stepped && begun_ == config_.io_count && !step())
        return fail("no context has work left, but an I/O has not ended");
      party_->act();
      if (dice_.chance(1, 64)) disturb();
      if (!check_after_event()) return false;
      if (!check_limits()) return false;
    }
    return remove();
  }

  void add(sim::Finding finding) {
    if (finding.place.empty()) finding.place = history_.place();
    if (finding_.what.empty()) finding_ = std::move(finding);
  }
  [[nodiscard]] const sim::Finding& finding() const noexcept { return finding_; }
  [[nodiscard]] const sim::History& history() const noexcept { return history_; }
  [[nodiscard]] const sim::FaultPlan& faults() const noexcept { return faults_; }
  [[nodiscard]] const sim::LookupTally& lookups() const noexcept { return lookups_; }
  [[nodiscard]] std::uint64_t events() const noexcept { return history_.event() + link_.events(); }
  [[nodiscard]] std::uint64_t ended() const {
    return count_ended([](Status) { return true; });
  }
  [[nodiscard]] std::uint64_t ended_ok() const { return ended_with(Status::ok); }
  /// The I/Os that ended with the status.
  [[nodiscard]] std::uint64_t ended_with(Status status) const {
    return count_ended([&](Status its) { return its == status; });
  }
  /// The I/Os that had not ended when the disk's removal began.
  [[nodiscard]] unsigned in_flight_at_removal() const noexcept { return in_flight_at_removal_; }

 private:
  using Host = zoned_host::ZonedHost<Driver, sim::DeterministicRuntime>;
  using Rq = Driver::Rq;

  static constexpr std::uint32_t submitters = 4;
  static constexpr std::size_t zone_count = 8;

  struct ExpectedZone {
    std::uint64_t pointer = 0;
    mq::Zone::Condition condition{};
    null_block::ZoneState state{};
  };

  [[nodiscard]] static World& of(void* self) noexcept { return *static_cast<World*>(self); }

  // --- the parts --------------------------------------------------------------------------------

  [[nodiscard]] static null_block::Config medium_config(sim::Random& dice) {
    const auto one_of = [&](std::initializer_list<const char*> values) {
      return std::string{values.begin()[dice.below(values.size())]};
    };
    const std::string text =
        "size=256k,blocksize=512,memory_backed=1,zoned=1,zone_size=32k" +
        one_of({"", ",zone_capacity=24k"}) + one_of({"", ",zone_nr_conv=1"}) +
        one_of({"", ",zone_max_open=2", ",zone_max_open=3,zone_max_active=4"}) +
        one_of({"", ",cache_size=32k", ",cache_size=32k,fua=0"}) +
        one_of({",max_sectors=8", ",max_sectors=64"});
    const auto config = null_block::parse_config(text);
    if (!config.has_value()) std::abort();
    return *config;
  }
  [[nodiscard]] static sim::MessageConfig link_config(const sim::WorldConfig& config) {
    return {.queue_count = config.queue_count,
            .shortest_ns = config.shortest_ns,
            .longest_ns = config.longest_ns,
            .latency = config.latency,
            .late_ns = 3 * config.timeout_ns,
            .layout = config.layout(),
            .depth = config.depth,
            .seed = config.seed};
  }
  void bring_up() {
    auto pool = mq::TagPool<Driver>::create(
        {.queue_count = config_.queue_count,
         .depth = config_.depth,
         .reserved_depth = config_.reserved_depth,
         .layout = config_.layout(),
         // The generations wrap within the run with most seeds.
         .first_generation =
             blkown::Generation{std::uint32_t{0} - static_cast<std::uint32_t>(config_.seed % 64)}});
    if (!pool.has_value()) std::abort();
    pool_ = *std::move(pool);
    mq::DiskConfig disk = null_block::disk_config_of(medium_.config);
    disk.normal_queues = disk.max_normal_queues = config_.queue_count;
    disk.depth = config_.depth;
    disk.reserved_depth = config_.reserved_depth;
    disk.layout = config_.layout();
    disk.timeout_ms = static_cast<std::uint32_t>(config_.timeout_ns / 1'000'000);
    auto made = mq::Disk<Driver>::create(disk, *driver_, runtime_, {}, pool_.get());
    if (!made.has_value()) std::abort();
    disk_ = *std::move(made);
    disk_->set_trace({&on_trace, this});
    party_.emplace(config_.seed, *disk_, runtime_.context(submitters),
                   sim::PartyDuties{.changes_queue_count = config_.has_queue_changes});
    check_.emplace(pool_->tags(), history_);
    host_.emplace(*disk_, runtime_, config_.seed);
  }

  // --- the link ---------------------------------------------------------------------------------

  static Result execute(void* self, std::uint32_t queue, const Command& command,
                        std::span<std::byte> bytes) {
    World& world = of(self);
    world.history_.name_event({.name = "link"});
    world.latest_ = command;
    world.latest_queue_ = blkown::QueueIndex{queue};
    if (!world.is_latest_in_flight()) {
      world.add(world.of_latest("the device executes a " + std::string{to_string(command.op)} +
                                " whose I/O has ended"));
    }
    const std::uint64_t pointer =
        world.reference_.zone(command.sector / world.medium_.zones->layout().zone_sectors).pointer;
    const Result result = world.driver_->execute(command, bytes);
    const Status expected =
        world.reference_.execute(command.op, command.sector, command.length_sectors);
    world.note_reference();
    if (result.status != expected) {
      world.add(world.of_latest(std::string{"the disk answers "} + to_string(result.status) +
                                ", and the reference " + to_string(expected)));
    } else if (command.op == mq::Op::zone_append && expected == Status::ok &&
               result.sector != pointer) {
      world.add(world.of_latest("an append is not at the write pointer"));
    }
    return result;
  }
  [[nodiscard]] blkown::Tag latest_tag() const noexcept {
    return blkown::Tag{static_cast<std::uint32_t>(history_.layout().tag.get(latest_->cookie))};
  }
  /// Whether the I/O of the command that is executed now is the tag's present publication.
  [[nodiscard]] bool is_latest_in_flight() {
    const blkown::CookieField& generation = history_.layout().generation;
    const auto state = pool_->tags().state_of(latest_queue_, latest_tag());
    return state.has_value() && state->count != 0 && !state->owned &&
           generation.get(generation.put(state->generation.value)) ==
               generation.get(latest_->cookie);
  }
  static void interrupt(void* self, std::uint32_t queue) {
    World& world = of(self);
    const sim::History::Within within{
        world.history_, sim::Activity::of_queue("interrupt", blkown::QueueIndex{queue})};
    world.oracle_.note_interrupt(queue, world.history_.now_ns());
    world.driver_->interrupt(queue);
  }
  /// Has the link's context perform what is due.
  void pump() { runtime_.context(submitters).post(work_); }
  void run_link() {
    const std::uint64_t now_ns = runtime_.now_ns();
    if (link_.step(now_ns)) return pump();
    const auto next_ns = link_.next_ns();
    if (!next_ns.has_value()) return;
    alarm_.cancel();
    alarm_.arm(runtime_.context(submitters), *next_ns > now_ns ? *next_ns - now_ns : 0);
  }

  // --- events -----------------------------------------------------------------------------------

  bool step() {
    const bool has_stepped = runtime_.step();
    history_.name_event(
        {.name = "work", .of = sim::Activity::Of::context, .number = runtime_.latest_context()});
    return has_stepped;
  }
  /// What the device does of its own accord.
  void disturb() {
    if (dice_.chance(1, 2)) {
      medium_.store->power_off(dice_.next());
      medium_.store->power_on();
      return host_->note_power_cut();
    }
    host_->change_a_zone([&](const std::string& key, const std::string& zone) {
      const null_block::ZoneChange change = key == "zone_online" ? null_block::ZoneChange::online
                                            : key == "zone_offline"
                                                ? null_block::ZoneChange::offline
                                                : null_block::ZoneChange::readonly;
      const auto forget = [this](std::uint64_t sector, std::uint64_t sectors) {
        return medium_.forget(sector, sectors);
      };
      if (!medium_.zones->change(change, key, zone, forget).has_value())
        fail("a zone cannot be changed");
      const std::size_t index = std::stoul(zone);
      if (key == "zone_online") {
        reference_.bring_back(index);
      } else {
        reference_.retire(index, key == "zone_offline" ? null_block::ZoneState::offline
                                                       : null_block::ZoneState::read_only);
      }
      note_reference();
    });
  }
  static void on_trace(void* self, const mq::TraceEvent& event) {
    World& world = of(self);
    switch (event.step) {
      case mq::TraceStep::looked_up: return world.note_lookup(event);
      case mq::TraceStep::issued:
        world.history_.turn_to(sim::Activity::of_request("queue_rq", event.queue, event.tag));
        world.history_.describe(event.queue, event.tag,
                                {.operation = to_string(event.op),
                                 .sector = event.sector,
                                 .length_sectors = event.length_bytes / mq::sector_bytes});
        if (const char* const wrong = world.party_->judge_issue(event))
          world.add({.what = wrong, .has_request = true, .queue = event.queue, .tag = event.tag});
        return;
      case mq::TraceStep::timed_out:
        return world.history_.turn_to(
            sim::Activity::of_request("timeout hook", event.queue, event.tag));
      case mq::TraceStep::requeued: return world.history_.note(event.queue, event.tag, "requeued");
      case mq::TraceStep::ended:
        world.latest_end_ = {.what = {},
                             .has_request = true,
                             .queue = event.queue,
                             .tag = event.tag,
                             .io = world.history_.io_of(event.queue, event.tag)};
        world.history_.turn_to(sim::Activity::of_request("request end", event.queue, event.tag));
        return world.history_.note(event.queue, event.tag, "ended with ", to_string(event.status));
      default: return;
    }
  }
  void note_lookup(const mq::TraceEvent& event) {
    const bool is_accepted = event.reason == blkown::LookupReason::none;
    ++lookups_[static_cast<std::size_t>(event.reason)];
    const auto verdict = oracle_.note_lookup(event.queue.value, event.value, is_accepted);
    for (const Command& each : verdict.false_completions) {
      if (each.op != mq::Op::flush) host_->doubt(each.sector);
    }
    const std::uint64_t tag = history_.layout().tag.get(event.value);
    if (tag < config_.depth) {
      history_.note(
          event.queue, blkown::Tag{static_cast<std::uint32_t>(tag)},
          is_accepted ? "the driver's lookup succeeds" : "the driver's lookup is refused: ",
          is_accepted ? "" : to_string(event.reason), event.value);
    }
    if (verdict.truth == sim::LookupTruth::fits) return;
    sim::Finding finding{
        .what = verdict.truth == sim::LookupTruth::wrong_claim
                    ? "the driver accepted a completion of an I/O that the device does not have"
                    : "the driver refused the genuine completion of an I/O",
        .has_request = tag < config_.depth,
        .queue = event.queue,
        .tag = blkown::Tag{static_cast<std::uint32_t>(tag)},
        .cookie = event.value};
    add(std::move(finding));
  }

  // --- checks -----------------------------------------------------------------------------------

  bool check_after_event() {
    if (!check_->after_event()) add(check_->finding());
    if (oracle_.unaccounted() != 0) fail("the driver did not look up each reply once");
    compare_zones();
    if (!host_->failure().empty()) {
      latest_end_.what = host_->failure();
      add(latest_end_);
    }
    return finding_.what.empty();
  }
  /// False, with a finding, if the run has more events than it may have.
  bool check_limits() {
    if (config_.max_events != 0 && history_.event() > config_.max_events)
      return fail("the run was cut off at its limit of events");
    if (history_.event() > config_.io_count * 5000)
      return fail("the I/O did not end within the limit of events of a run");
    return true;
  }
  /// Notes what each zone must be from now on: the reference has executed something. The zones are
  /// compared far more often than that.
  void note_reference() {
    for (std::size_t i = 0; i != expected_.size(); ++i) {
      const null_block::ZoneEntry zone = reference_.zone(i);
      expected_[i] = {zone.pointer, null_block::condition_of(zone.state), zone.state};
    }
  }
  /// Compares each zone with the reference.
  void compare_zones() {
    std::array<mq::Zone, zone_count> zones;
    const unsigned count =
        is_removing_ ? report_of_driver(this, 0, zones) : disk_->report_zones(0, zones);
    if (count != zones.size()) {
      fail("the driver reports " + std::to_string(count) + " of " + std::to_string(zones.size()) +
           " zones");
      return;
    }
    for (std::size_t i = 0; i != zones.size(); ++i) {
      const ExpectedZone& expected = expected_[i];
      if (zones[i].write_pointer_sector == expected.pointer &&
          zones[i].condition == expected.condition) {
        continue;
      }
      add(of_latest("zone " + std::to_string(i) + " is " + to_string(zones[i].condition) +
                    " with its write pointer at " + std::to_string(zones[i].write_pointer_sector) +
                    ", and in the reference " + to_string(expected.state) + " at " +
                    std::to_string(expected.pointer)));
      return;
    }
  }
  /// A finding about the request that the present event is about, or else about the command that
  /// was executed last.
  [[nodiscard]] sim::Finding of_latest(std::string what) const {
    sim::Finding finding{.what = std::move(what)};
    if (const auto activity = history_.request_activity()) {
      finding.has_request = true;
      finding.queue = blkown::QueueIndex{activity->number};
      finding.tag = blkown::Tag{activity->tag};
      return finding;
    }
    if (!latest_.has_value()) return finding;
    finding.has_request = true;
    finding.queue = latest_queue_;
    finding.tag = latest_tag();
    finding.cookie = latest_->cookie;
    finding.io = io_of(*latest_, {});
    return finding;
  }
  bool fail(std::string what) {
    add({.what = std::move(what)});
    return false;
  }

  /// Removes the disk, in most runs while it has I/O: what is not executed ends with `offline`, and
  /// leaves the zones as they were. Late and duplicated replies come during the removal and after
  /// it.
  bool remove() {
    is_removing_ = true;
    in_flight_at_removal_ = host_->in_flight();
    host_->set_report(&report_of_driver, this);
    history_.begin_event("removal", runtime_.now_ns());
    disk_->remove(removal_);
    while (step()) {
      if (!check_after_event() || !check_limits()) return false;
      history_.begin_step(runtime_.now_ns());
    }
    if (!is_removed_) return fail("the disk is not removed");
    if (host_->in_flight() != 0) return fail("no context has work left, but an I/O has not ended");
    if (pool_->tags().in_flight() != 0)
      return fail("a request is in flight after the disk's removal");
    host_->check_all();
    if (!check_after_event()) return false;
    ended_ = host_->all_ended();
    host_.reset();
    disk_.reset();
    return true;
  }
  /// What the driver says of its zones. A disk that is being removed says nothing.
  static unsigned report_of_driver(void* self, std::uint64_t sector, std::span<mq::Zone> zones) {
    Driver::QueueData data;
    return of(self).driver_->report_zones(data, sector, zones.data(),
                                          static_cast<unsigned>(zones.size()));
  }
  template <class Predicate>
  [[nodiscard]] std::uint64_t count_ended(Predicate counts) const {
    std::uint64_t count = 0;
    for (const auto& [key, times] : host_.has_value() ? host_->all_ended() : ended_) {
      if (counts(key.second)) count += times;
    }
    return count;
  }

  sim::WorldConfig config_;
  sim::Random dice_;
  sim::FaultPlan faults_;
  sim::DeterministicRuntime runtime_;
  null_block::Device medium_;
  zones_reference::Reference reference_;
  std::array<ExpectedZone, zone_count> expected_{};
  Device link_;
  sim::OracleOf<Device> oracle_;
  sim::History history_;
  sim::detail::DeviceEvents<Command> events_;
  DriverHost driver_host_{link_, medium_};
  std::unique_ptr<Driver> driver_;
  mq::Work work_{[](void* self, mq::Work&) { of(self).run_link(); }, this};
  mq::Alarm alarm_{[](void* self, mq::Alarm&) { of(self).run_link(); }, this};
  std::unique_ptr<mq::TagPool<Driver>> pool_;
  std::unique_ptr<mq::Disk<Driver>> disk_;
  std::optional<sim::SecondParty<Driver>> party_;
  std::optional<sim::InvariantChecker<Rq>> check_;
  std::optional<Host> host_;
  std::optional<Command> latest_;  // that was executed, as the next
  blkown::QueueIndex latest_queue_;
  sim::Finding latest_end_;  // names the request that has ended last: the host is told at once
  sim::LookupTally lookups_{};
  sim::Finding finding_;
  const std::uint64_t left_at_removal_ = sim::Random{config_.seed ^ 0x4E30FE}.below(8);  // I/Os
  bool is_removing_ = false;
  bool is_removed_ = false;
  unsigned in_flight_at_removal_ = 0;
  mq::Control removal_{{[](void* self, mq::Control&) { of(self).is_removed_ = true; }, this}};
  std::uint64_t begun_ = 0;
  std::map<std::pair<mq::Op, Status>, std::uint64_t> ended_;  // when the host is gone
};

}  // namespace zoned

#endif
