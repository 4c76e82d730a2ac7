// SPDX-License-Identifier: BSL-1.0
//
// WorldBaseOf: the common parts of CoreWorld and MqWorld.

#ifndef BLKOWN_SIM_HARNESS_WORLD_BASE_HPP
#define BLKOWN_SIM_HARNESS_WORLD_BASE_HPP

#include <algorithm>
#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/cookie_codec.hpp>
#include <blkown/detail/first_generation.hpp>
#include <blkown/detail/saturating.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/nvme/dsm.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <blkown/place.hpp>
#include <blkown/sim/device/command.hpp>
#include <blkown/sim/device/fault_plan.hpp>
#include <blkown/sim/device/iommu.hpp>
#include <blkown/sim/device/iommu_fault.hpp>
#include <blkown/sim/device/media/cached_media.hpp>
#include <blkown/sim/device/media/media.hpp>
#include <blkown/sim/device/message.hpp>
#include <blkown/sim/device/message_config.hpp>
#include <blkown/sim/device/nvme/config.hpp>
#include <blkown/sim/device/nvme/controller.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/device_events.hpp>
#include <blkown/sim/harness/disk_media.hpp>
#include <blkown/sim/harness/durability_judge.hpp>
#include <blkown/sim/harness/history.hpp>
#include <blkown/sim/harness/host.hpp>
#include <blkown/sim/harness/invariant_checker.hpp>
#include <blkown/sim/harness/oracle.hpp>
#include <blkown/sim/harness/workload.hpp>
#include <blkown/sim/harness/world_config.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set.hpp>
#include <blkown/tag_set_config.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Everything of one run but the driver and its callers: the simulated device, the faults, the
/// workload, the Oracle, and the first finding. Device is an NvmeController or a MessageDevice.
///
/// Context: one thread.
template <class Device>
class WorldBaseOf {
 public:
  static constexpr bool is_nvme = std::is_same_v<Device, NvmeController>;

  WorldBaseOf(const WorldBaseOf&) = delete;
  WorldBaseOf& operator=(const WorldBaseOf&) = delete;

  /// Adds what the present event has broken and no check has found yet, so that a later finding
  /// does not hide it.
  virtual void note_early_finding() = 0;
  /// The request's ownership word. None: it is not allocated, or does not exist.
  [[nodiscard]] virtual std::optional<RequestState> request_state(QueueIndex queue, Tag tag) = 0;
  /// The places of the request's holders.
  [[nodiscard]] virtual std::vector<Place> request_holders(QueueIndex queue, Tag tag) = 0;
  /// Adds a finding from outside the world, such as a report of the library. The first finding is
  /// kept, and ends the run.
  [[gnu::cold, gnu::noinline]] void add(Finding finding) {
    if (!std::exchange(is_adding_, true)) {
      note_early_finding();
      is_adding_ = false;
    }
    if (finding.place.empty()) {
      finding.place =
          finding.has_request ? history_.place(finding.queue, finding.tag) : history_.place();
    }
    if (finding_.what.empty()) {
      finding_ = std::move(finding);
      name_request();
    } else if (finding.what != finding_.what && later_findings_++ < max_later_findings) {
      std::string text = "then, in " + finding.place + ": " + finding.what;
      for (const std::string& detail : finding.details) text += "; " + detail;
      finding_.details.push_back(std::move(text));
    }
  }
  /// The first finding, whose text is empty if no invariant was broken.
  [[nodiscard]] const Finding& finding() const noexcept { return finding_; }
  /// The transitions of the requests.
  [[nodiscard]] const History& history() const noexcept { return history_; }
  /// The faults, with their strikes so far.
  [[nodiscard]] const FaultPlan& faults() const noexcept { return faults_; }
  /// The driver's lookups by reason.
  [[nodiscard]] const LookupTally& lookups() const noexcept { return lookups_; }
  /// The number of I/Os that ended.
  [[nodiscard]] std::uint64_t ended() const noexcept { return ended_; }
  /// The number of I/Os that ended as they would without faults: with Status::ok, or, for a compare
  /// with other data than the medium's, with an error.
  [[nodiscard]] std::uint64_t ended_ok() const noexcept { return ended_ok_; }
  /// The number of events of the world and of the controller.
  [[nodiscard]] std::uint64_t events() { return history_.event() + controller_.events(); }
  /// The faults of the IOMMU.
  [[nodiscard]] IommuFaultCounts iommu_faults() {
    return iommu_.has_value() ? iommu_->fault_counts() : IommuFaultCounts{};
  }

 protected:
  /// The device, its memory and the workload of one run.
  explicit WorldBaseOf(const WorldConfig& config)
      : config_{config},
        dice_{config.seed},
        faults_{config.is_scripted ? FaultPlan{config.seed, config.script}
                                   : FaultPlan{config.seed, config.rates}},
        workload_{slots_per_disk(config) * config.disk_count, config.workload()},
        slots_per_disk_{slots_per_disk(config)},
        disk_place_{.nsid = config.nsid,
                    .block_sectors = config.block_sectors(),
                    .disk_count = config.disk_count,
                    .disk_sectors = disk_bytes() / detail::bytes_in_sector},
        media_{config.disk_count, disk_bytes(), config.cache()},
        other_media_{is_nvme ? disk_bytes() : detail::bytes_in_sector},
        iommu_(make_iommu()),
        device_(make_device()),
        controller_(make_controller()),
        judged_(workload_.slot_count()),
        cut_dice_{~config.seed} {
    if (iommu_.has_value()) iommu_->add_memory(workload_.arena(), std::uint64_t{1} << 32);
    controller_.set_observer(&device_events_);
    faults_.set_sink({&on_strike, this});
    if (!is_nvme) history_.set_layout(config.layout());
    oracle_.set_fetch_sink({&on_fetched, this});
  }
  virtual ~WorldBaseOf() = default;

  /// The parameters with a namespace of an NvmeController, which the seed chooses.
  [[nodiscard]] static WorldConfig with_namespace(WorldConfig config) noexcept {
    config.block_bytes = config.fixed.block_bytes.value_or(config.seed % 4 == 3 ? 4096 : 512);
    config.nsid = 1 + static_cast<std::uint32_t>(config.seed / 4 % (config.disk_count + 1));
    return config;
  }

  /// The tags of a run. The first generation of one tag is close to the largest one, so that the
  /// tag's generation wraps within the run with most seeds.
  [[nodiscard]] static TagSetConfig tag_config(const WorldConfig& config) noexcept {
    const auto choice = static_cast<std::uint32_t>(config.seed % 512);
    // Tags that every run uses, if the world has them.
    const Tag tag{2 + choice / 2 % 4};
    const Generation before_wrap{std::uint32_t{0} - choice / 8};
    const Generation first = blkown::detail::begin_for(before_wrap, QueueIndex{choice % 2}, tag);
    return {.queue_count = config.queue_count,
            .depth = config.depth,
            .reserved_depth = config.reserved_depth,
            .layout = is_nvme ? CookieLayout::nvme() : config.layout(),
            .first_generation = first};
  }

  /// The slots of one disk. Slots and sectors are numbered over all disks, one after another.
  [[nodiscard]] static std::uint32_t slots_per_disk(const WorldConfig& config) noexcept {
    return 2 * config.queue_count * config.depth;
  }
  /// The capacity of one disk.
  [[nodiscard]] std::uint64_t disk_bytes() const noexcept {
    return workload_.capacity_bytes() / config_.disk_count;
  }
  /// The same in sectors.
  [[nodiscard]] std::uint64_t disk_sectors() const noexcept { return disk_place_.disk_sectors; }
  /// The disk of a slot.
  [[nodiscard]] std::uint32_t disk_of_slot(std::uint32_t slot) const noexcept {
    return config_.disk_count == 1 ? 0 : slot / slots_per_disk_;
  }
  /// The first sector of the slot's I/O, on its disk.
  [[nodiscard]] std::uint64_t sector_on_disk(std::uint32_t slot) const noexcept {
    return workload_.sector_of(slot) - disk_of_slot(slot) * disk_sectors();
  }
  /// The namespaces and the sectors of the disks.
  [[nodiscard]] const detail::DiskPlace& disk_place() const noexcept { return disk_place_; }

  /// Runs the controller until it has nothing due at `now_ns`.
  void run_controller(std::uint64_t now_ns) {
    while (controller_.step(now_ns)) {
    }
  }

  /// Has the Oracle judge one lookup of the driver.
  template <class R>
  void note_lookup(const TagSet<R>& tags, QueueIndex queue, std::uint64_t value,
                   LookupReason reason) {
    ++lookups_[static_cast<std::size_t>(reason)];
    // Queue 0 of an NvmeController is the admin queue.
    const std::uint32_t its_queue = queue.value + (is_nvme ? 1 : 0);
    const auto verdict = oracle_.note_lookup(its_queue, value, reason == LookupReason::none);
    for (const auto& entry : verdict.false_completions) distrust(entry);
    if (verdict.failed_for_good.has_value()) {
      if (auto* const sends = sends_of(its_queue, *verdict.failed_for_good)) *sends = sent_no_more;
    }
    note_lookup_in_history(queue, value, reason);
    switch (verdict.truth) {
      case LookupTruth::fits: break;
      case LookupTruth::wrong_claim:
        fail_lookup("the driver accepted a completion of an I/O that the device does not have",
                    tags, queue, value);
        break;
      case LookupTruth::refused_genuine:
        fail_lookup("the driver refused the genuine completion of an I/O", tags, queue, value);
        break;
    }
  }
  /// Has the Oracle judge one lookup in the admin queue of an NvmeController's driver.
  void note_admin_lookup(std::uint64_t command_id, bool was_accepted) {
    switch (oracle_.note_lookup(0, command_id, was_accepted).truth) {
      case LookupTruth::fits: break;
      case LookupTruth::wrong_claim:
        fail("the driver accepted a completion of an admin command that the device does not have");
        break;
      case LookupTruth::refused_genuine:
        fail("the driver refused the genuine completion of an admin command");
        break;
    }
  }
  /// The driver has accepted a false completion of the command.
  void distrust(const Message& message) {
    if (message.disk >= config_.disk_count) return;
    if (message.opcode == Opcode::flush) return durability_[message.disk].distrust_flushes();
    const auto sector = sector_of(message, disk_place());
    if (sector.has_value()) workload_.taint(*sector);
  }
  /// The same.
  void distrust(const nvme::SubmissionEntry& entry) {
    if (entry.io_opcode() == nvme::IoOpcode::flush) {
      for (std::uint32_t disk = 0; disk != config_.disk_count; ++disk) {
        if (flushes_disk(entry, disk_place(), disk)) durability_[disk].distrust_flushes();
      }
      return;
    }
    std::uint64_t block = entry.slba();
    if (entry.io_opcode() == nvme::IoOpcode::dataset_management) {
      // The request has not ended yet, so its memory still has the range.
      nvme::DsmRange range;
      if (!iommu_->read(entry.prp1, std::as_writable_bytes(std::span{&range, 1}),
                        {.cookie = entry.command_id, .is_forbidden = true})) {
        return;
      }
      block = range.slba;
    }
    const auto sector = disk_place().sector_of(entry.nsid, block);
    if (sector.has_value()) workload_.taint(*sector);
  }
  /// Notes the publication whose completion the driver has accepted. The word names it: a cookie
  /// may have fewer bits of the generation, and name several publications of one tag.
  template <class R>
  void note_accepted(const TagSet<R>& tags, QueueIndex queue, std::uint64_t value) {
    const Tag tag{static_cast<std::uint32_t>(tags.layout().tag.get(value))};
    const auto state = tags.state_of(queue, tag);
    if (state.has_value()) accepted_[index_of(queue, tag)] = state->generation;
  }
  /// Whether the driver has accepted the completion of this publication, which must then not be in
  /// flight.
  [[nodiscard]] bool was_accepted(QueueIndex queue, Tag tag, Generation generation) const noexcept {
    return accepted_[index_of(queue, tag)] == generation;
  }
  /// The request's place in a table of all requests.
  [[nodiscard]] std::size_t index_of(QueueIndex queue, Tag tag) const noexcept {
    return std::size_t{queue.value} * config_.depth + tag.value;
  }

  /// Reports the slot's I/O, which is about to be submitted, to the judge of durability.
  void begin_durability(std::uint32_t slot, bool is_fua, bool has_preflush) {
    const Workload::Slot& io = workload_.slot(slot);
    std::fill_n(sends_.begin() + std::ptrdiff_t{slot} * Workload::slot_sectors,
                Workload::slot_sectors, std::uint16_t{0});
    judged_[slot] =
        judge_of(slot).begin({.sector = sector_on_disk(slot),
                              .data = workload_.written(slot),
                              .is_fua = is_fua || config_.cache() != CacheMode::write_back,
                              .is_flush = has_preflush || io.opcode == Opcode::flush});
  }
  /// Ends the slot's I/O in the workload. The second form names the request of the I/O.
  void end_io(std::uint32_t slot, Status status) {
    if (const char* const wrong = note_end(slot, status)) fail_data(wrong);
  }
  /// An I/O of the workload has ended: checks it, and writes it into the history.
  template <class R>
  void end_io(std::uint32_t slot, Status status, const TagSet<R>& tags, QueueIndex queue, Tag tag) {
    if (const char* const wrong = note_end(slot, status)) fail_data(wrong, tags, queue, tag);
  }
  /// Which entries the driver must look up.
  enum class Entries : std::uint8_t {
    looked_up,  ///< Each one.
    late,       ///< The genuine ones: the driver has no queue any more for the others.
  };
  /// Checks all invariants after an event. False if there is a finding.
  template <class R>
  bool check_after_event(InvariantChecker<R>& check, Entries entries = Entries::looked_up) {
    if (!check.after_event(oracle_.stops(), is_stopped())) add(check.finding());
    if (entries == Entries::looked_up
            ? oracle_.unaccounted() != 0
            : oracle_.has_ignored() || oracle_.lookups_without_entry() != 0) {
      fail_unaccounted();
    }
    check_left_entries();
    if (oracle_.has_misused_doorbell()) {
      fail("the driver wrote a value to a doorbell that is no index of its queue");
    }
    if (std::exchange(is_cut_due_, false)) check_durability();
    return finding_.what.empty();
  }
  /// Whether the device accesses no memory.
  [[nodiscard]] bool is_stopped() {
    if constexpr (is_nvme) return controller_.is_stopped();
    return false;
  }
  /// Notes that the driver gets the interrupt of a vector of the device.
  void note_interrupt(std::uint32_t vector) {
    for (std::uint32_t queue = 0; queue != controller_.queue_count(); ++queue) {
      if constexpr (is_nvme) {
        if (controller_.vector_of(queue) != vector) continue;
      } else {
        if (queue != vector) continue;
      }
      oracle_.note_interrupt(queue, history_.now_ns());
    }
  }
  /// Checks the invariants of a stopped driver. False if there is a finding.
  bool check_after_stop() {
    if (is_nvme) {
      iommu_->flush();
      if (iommu_->mapped_pages() != 0) return fail_mapped();
    }
    if (!is_zero(other_media_.bytes())) {
      add(finding_of_command("the driver wrote to the namespace of another disk",
                             device_events_.latest_elsewhere()));
    }
    if (const char* const wrong = workload_.compare(media_)) fail_data(wrong);
    check_durability();
    // A command that takes longer than the timeout may fail without a fault, and so may one that an
    // administrator's reset ends.
    const bool may_fail =
        !faults_.struck().empty() || config_.has_resets || config_.longest_ns >= config_.timeout_ns;
    if (ended_ok_ == 0 && failed_ != 0 && !may_fail) {
      fail("no fault was injected, and no I/O has ended ok");
    }
    return finding_.what.empty();
  }

  /// False, with a finding, if the run has more events than it may have.
  template <class R>
  bool check_limits(const TagSet<R>& tags, std::uint64_t max_events) {
    if (config_.max_events != 0 && history_.event() > config_.max_events) {
      return fail("the run was cut off at its limit of events");
    }
    if (history_.event() <= max_events) return true;
    return fail_with_first("the I/O did not end within the limit of events of a run", tags);
  }
  /// Keeps the first finding. Returns false.
  [[gnu::cold, gnu::noinline]] bool fail(std::string what) {
    add({.what = std::move(what)});
    return false;
  }
  /// The same, with the request, whose history and holders are printed.
  template <class R>
  [[gnu::cold, gnu::noinline]] bool fail(std::string what, const TagSet<R>& tags, QueueIndex queue,
                                         Tag tag) {
    add(finding_of_request(std::move(what), tags, queue, tag));
    return false;
  }
  /// The same, with the first request that is not idle, if there is one.
  template <class R>
  [[gnu::cold, gnu::noinline]] bool fail_with_first(std::string what, const TagSet<R>& tags) {
    for (QueueIndex queue; queue.value != tags.queue_count(); ++queue.value) {
      for (Tag tag; tag.value != tags.depth(); ++tag.value) {
        const auto state = tags.state_of(queue, tag);
        const bool is_idle = !state.has_value() || (state->count == 0 && !state->owned);
        if (!is_idle) return fail(std::move(what), tags, queue, tag);
      }
    }
    return fail(std::move(what));
  }

  /// A finding about a request.
  template <class R>
  [[nodiscard]] static Finding finding_of_request(std::string what, const TagSet<R>& tags,
                                                  QueueIndex queue, Tag tag) {
    return {.what = std::move(what),
            .has_request = true,
            .queue = queue,
            .tag = tag,
            .state = tags.state_of(queue, tag),
            .holders = holders_of(tags.header(queue, tag))};
  }
  /// A finding about a lookup, with the request that the value names, if there is such a request.
  template <class R>
  [[gnu::cold, gnu::noinline]] void fail_lookup(const char* what, const TagSet<R>& tags,
                                                QueueIndex queue, std::uint64_t value) {
    const std::uint64_t tag = blkown::detail::CookieCodec{tags.layout()}.tag(value);
    if (queue.value >= tags.queue_count() || tag >= tags.depth()) {
      add({.what = what, .cookie = value});
    } else {
      const Tag its_tag{static_cast<std::uint32_t>(tag)};
      Finding finding = finding_of_request(what, tags, queue, its_tag);
      finding.cookie = value;
      add(std::move(finding));
    }
  }

  WorldConfig config_;
  Random dice_;
  FaultPlan faults_;
  Workload workload_;
  std::uint32_t slots_per_disk_;
  detail::DiskPlace disk_place_;
  DiskMedia media_;
  MemoryMedia other_media_;     // of the namespace that the workload does not use, if there is one
  std::optional<Iommu> iommu_;  // none of a MessageDevice, as the next
  std::optional<dma::Device<Iommu>> device_;
  Device controller_;
  OracleOf<Device> oracle_{controller_};
  History history_;
  detail::DeviceEvents<typename Device::Entry> device_events_{
      oracle_,
      history_,
      is_nvme ? 1U : 0U,
      config_.depth,
      workload_.capacity_bytes() / detail::bytes_in_sector,
      disk_place()};
  std::uint64_t in_flight_ = 0;  // I/Os that were submitted and have not ended

 private:
  [[nodiscard]] static bool is_zero(std::span<const std::byte> bytes) noexcept {
    // Each byte is the same as the one before it.
    return bytes.front() == std::byte{} &&
           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
  }
  [[nodiscard]] static IommuConfig iommu_config(const WorldConfig& config) {
    IommuConfig iommu;
    iommu.invalidation = config.seed % 2 == 0 ? Invalidation::strict : Invalidation::lazy;
    iommu.limits.max_segments = 8;
    iommu.limits.max_segment_bytes = config.seed % 3 == 0 ? 4096 : 65536;
    // PRP entries are pages, and know no other boundary.
    iommu.limits.virt_boundary_mask = 4095;
    iommu.is_single_threaded = true;
    return iommu;
  }
  [[nodiscard]] static MessageConfig message_config(const WorldConfig& config) {
    return {.queue_count = config.queue_count,
            .block_sectors = config.block_sectors(),
            .shortest_ns = config.shortest_ns,
            .longest_ns = config.longest_ns,
            .latency = config.latency,
            .late_ns = blkown::detail::saturating_multiply(3, config.timeout_ns),
            .layout = config.layout(),
            .depth = config.depth,
            .seed = config.seed,
            .is_single_threaded = true};
  }

  [[nodiscard]] static NvmeConfig nvme_config(const WorldConfig& config) {
    NvmeConfig controller;
    controller.io_queues = static_cast<std::uint16_t>(config.queue_count);
    controller.max_queue_entries = config.max_queue_entries();
    controller.has_volatile_cache = config.cache() == CacheMode::write_back;
    controller.shortest_ns = config.shortest_ns;
    controller.longest_ns = config.longest_ns;
    controller.latency = config.latency;
    controller.late_ns = blkown::detail::saturating_multiply(3, config.timeout_ns);
    controller.depth = config.depth;
    controller.seed = config.seed;
    controller.is_single_threaded = true;
    return controller;
  }

  [[nodiscard]] std::optional<Iommu> make_iommu() const {
    if constexpr (!is_nvme) return std::nullopt;
    return std::optional<Iommu>{std::in_place, iommu_config(config_)};
  }
  [[nodiscard]] std::optional<dma::Device<Iommu>> make_device() {
    if constexpr (!is_nvme) return std::nullopt;
    return std::optional<dma::Device<Iommu>>{std::in_place, *iommu_};
  }
  [[nodiscard]] Device make_controller() {
    if constexpr (is_nvme) {
      std::vector<NvmeNamespace> namespaces(config_.disk_count + 1,
                                            {&other_media_, detail::bytes_in_sector});
      for (std::uint32_t i = 0; i != config_.disk_count; ++i) {
        namespaces[disk_place().nsid_of(i) - 1] = {&media_.disk(i), config_.block_bytes};
      }
      return Device{nvme_config(config_), *iommu_, namespaces, &faults_};
    } else {
      std::vector<Media*> media;
      for (std::uint32_t i = 0; i != config_.disk_count; ++i) media.push_back(&media_.disk(i));
      return Device{message_config(config_), media, &faults_};
    }
  }

  // --- retries ----------------------------------------------------------------------------------

  /// How often the command of the slot's present I/O was sent that begins with this sector. Null:
  /// the command has no range, or not one of the workload's.
  [[nodiscard]] std::uint16_t* sends_of(std::uint32_t, const Message& message) {
    const auto sector = sector_of(message, disk_place());
    const bool has_range = message.opcode != Opcode::flush && sector.has_value();
    return has_range ? &sends_[static_cast<std::size_t>(*sector)] : nullptr;
  }
  [[nodiscard]] std::uint16_t* sends_of(std::uint32_t queue, const nvme::SubmissionEntry& entry) {
    const nvme::IoOpcode opcode = entry.io_opcode();
    const auto sector = disk_place().sector_of(entry.nsid, entry.slba());
    if (queue == 0 || !sector.has_value() || opcode == nvme::IoOpcode::flush ||
        opcode == nvme::IoOpcode::dataset_management) {
      return nullptr;
    }
    return &sends_[static_cast<std::size_t>(*sector)];
  }
  static void on_fetched(void* self, std::uint32_t queue, const typename Device::Entry& entry) {
    WorldBaseOf& world = *static_cast<WorldBaseOf*>(self);
    if (!is_nvme || queue != 0) {
      if (world.check_publication(queue, detail::cookie_of(entry))) {
        world.check_command(queue, entry);
      }
    }
    std::uint16_t* const sends = world.sends_of(queue, entry);
    if (sends == nullptr) return;
    if (*sends == sent_no_more) {
      world.fail_cookie("the driver sent a command again that had failed for good", queue,
                        detail::cookie_of(entry));
    } else if (++*sends > world.max_sends()) {
      world.fail_cookie("the driver sent the command of an I/O " +
                            std::to_string(world.max_sends()) + " times: its retries do not end",
                        queue, detail::cookie_of(entry));
    }
  }
  /// The device must get the command of a publication only. False: this one is none.
  bool check_publication(std::uint32_t queue, std::uint64_t cookie) {
    const CookieLayout& layout = history_.layout();
    const QueueIndex its_queue{queue - (is_nvme ? 1 : 0)};
    const Tag tag{static_cast<std::uint32_t>(layout.tag.get(cookie))};
    const auto state = request_state(its_queue, tag);
    if (state.has_value() && state->count != 0 && !state->owned &&
        layout.generation.get(layout.generation.put(state->generation.value)) ==
            layout.generation.get(cookie)) {
      return true;
    }
    fail_cookie("the device got a command that no I/O in flight has", queue, cookie);
    return false;
  }

  /// The command of an I/O goes to its disk, and only to its sectors: a driver may send it in
  /// parts. A command of the driver's own has no place.
  void check_command(std::uint32_t queue, const typename Device::Entry& entry) {
    const std::uint64_t cookie = detail::cookie_of(entry);
    const QueueIndex its_queue{queue - (is_nvme ? 1 : 0)};
    const Tag tag{static_cast<std::uint32_t>(history_.layout().tag.get(cookie))};
    const IoText io = history_.io_of(its_queue, tag);
    const IoText sent = detail::io_of(entry, disk_place());
    const bool has_place = *io.operation != '\0' && !io.is_private;
    if ((has_place && sent.is_elsewhere) ||
        (io.disk.has_value() && sent.disk.value_or(*io.disk) != *io.disk)) {
      fail_cookie("the driver sent the command of an I/O to another disk", queue, cookie,
                  {"the command is a " + to_string(sent)});
    } else if (io.length_sectors != 0 && sent.length_sectors != 0 &&
               // Without sums, which could wrap: the values are the driver's.
               (sent.sector < io.sector || sent.length_sectors > io.length_sectors ||
                sent.sector - io.sector > io.length_sectors - sent.length_sectors)) {
      fail_cookie("the driver sent a command for other sectors than those of its I/O", queue,
                  cookie, {"the command is a " + to_string(sent)});
    }
  }

  /// A driver may take an entry later than within its interrupt, but long before a timeout would
  /// make it look.
  void check_left_entries() {
    const std::uint64_t patience_ns = config_.timeout_ns / 2;
    if (history_.now_ns() < left_check_ns_) return;
    left_check_ns_ =
        blkown::detail::saturating_add(oracle_.first_announced_ns(history_.now_ns()), patience_ns);
    if (history_.now_ns() < patience_ns) return;
    for (std::uint32_t queue = 0; queue != controller_.queue_count(); ++queue) {
      const auto cookie = oracle_.left_entry(queue, history_.now_ns() - patience_ns);
      if (!cookie.has_value()) continue;
      fail_cookie("the driver left an entry in its ring after the interrupt, and no other one came",
                  queue, *cookie);
    }
  }

  void note_lookup_in_history(QueueIndex queue, std::uint64_t value, LookupReason reason) {
    const std::uint64_t tag = history_.layout().tag.get(value);
    if (queue.value >= config_.queue_count || tag >= config_.depth) return;
    const Tag its_tag{static_cast<std::uint32_t>(tag)};
    if (reason == LookupReason::none) {
      history_.note(queue, its_tag, "the driver's lookup succeeds", "", value);
    } else {
      history_.note(queue, its_tag, "the driver's lookup is refused: ", to_string(reason), value);
    }
  }
  static void on_strike(void* self, const FaultStrike& strike,
                        const std::optional<FaultTarget>& target) {
    static_cast<WorldBaseOf*>(self)->device_events_.strike(strike, target);
  }

  // --- findings that name more than their text
  // ----------------------------------------------------

  static constexpr std::uint32_t max_later_findings = 3;

  /// The request of a finding that has only a cookie: the queue is that of the latest command.
  void name_request() {
    if (finding_.has_request || !finding_.cookie.has_value()) return;
    const auto queue = device_events_.queue_of(*finding_.cookie);
    if (!queue.has_value()) return;
    finding_.has_request = true;
    finding_.queue = *queue;
    finding_.tag = Tag{static_cast<std::uint32_t>(history_.layout().tag.get(*finding_.cookie))};
    finding_.state = history_.state_of(finding_.queue, finding_.tag);
  }
  [[gnu::cold, gnu::noinline]] void fail_unaccounted() {
    const auto open = oracle_.first_unaccounted();
    const bool is_kept = is_nvme && oracle_.has_kept_entry();
    fail_cookie(is_kept
                    ? "the driver looked up an entry and left it in the ring, without the doorbell"
                    : "the driver did not look up each completion entry once, with its own "
                      "cookie and queue",
                open.queue, open.cookie, {"the entry " + open.what});
  }
  /// A finding about a command or an entry of the device's queue, with the request that the cookie
  /// names, if there is such a request.
  [[gnu::cold, gnu::noinline]] void fail_cookie(std::string what, std::uint32_t queue,
                                                std::uint64_t cookie,
                                                std::vector<std::string> details = {}) {
    Finding finding{.what = std::move(what), .cookie = cookie, .details = std::move(details)};
    const std::uint64_t tag = history_.layout().tag.get(cookie);
    const std::uint32_t first_queue = is_nvme ? 1 : 0;
    if (queue >= first_queue && tag < config_.depth) {
      finding.has_request = true;
      finding.queue = QueueIndex{queue - first_queue};
      finding.tag = Tag{static_cast<std::uint32_t>(tag)};
      finding.state = history_.state_of(finding.queue, finding.tag);
      finding.holders = request_holders(finding.queue, finding.tag);
    }
    add(std::move(finding));
  }
  /// A finding about a command that the device has fetched, if there was one.
  template <class Fetched>
  [[nodiscard]] Finding finding_of_command(std::string what,
                                           const std::optional<Fetched>& command) const {
    Finding finding{.what = std::move(what)};
    if (command.has_value()) {
      finding.has_request = true;
      finding.queue = command->queue;
      finding.tag = Tag{static_cast<std::uint32_t>(history_.layout().tag.get(command->cookie))};
      finding.cookie = command->cookie;
      finding.io = command->io;
      finding.first_event = command->event;
      finding.state = history_.state_of(finding.queue, finding.tag);
    }
    return finding;
  }
  /// A finding about the latest write to the sector.
  [[nodiscard]] Finding finding_of_sector(std::string what, std::uint64_t sector) const {
    const auto& writer = device_events_.writer_of(sector);
    return finding_of_command(
        std::move(what),
        writer.has_value() ? writer : device_events_.writer_elsewhere_of(sector % disk_sectors()));
  }
  /// Wrong data in the workload's wrong sector.
  [[gnu::cold, gnu::noinline]] void fail_data(const char* what) {
    const auto sector = workload_.wrong_sector();
    Finding finding = sector.has_value() ? finding_of_sector(what, *sector) : Finding{.what = what};
    if (sector.has_value()) describe_sector(finding, *sector);
    add(std::move(finding));
  }
  /// The same, in the data of this request.
  template <class R>
  [[gnu::cold, gnu::noinline]] void fail_data(const char* what, const TagSet<R>& tags,
                                              QueueIndex queue, Tag tag) {
    Finding finding = finding_of_request(what, tags, queue, tag);
    const auto sector = workload_.wrong_sector();
    if (sector.has_value()) describe_sector(finding, *sector);
    add(std::move(finding));
  }
  bool fail_mapped() {
    Finding finding{.what = "memory is mapped after the driver was stopped"};
    device_->for_each_mapping([&](const dma::Mapped& mapping) {
      if (finding.has_request) return;
      finding.has_request = true;
      finding.queue = mapping.cookie.queue;
      finding.tag = mapping.cookie.tag;
      finding.cookie = mapping.cookie.value;
    });
    if (!finding.has_request) {
      finding.details.push_back("no I/O has it mapped: it is coherent memory that was not freed");
    }
    finding.details.push_back(std::to_string(iommu_->mapped_pages()) + " pages are mapped");
    add(std::move(finding));
    return false;
  }
  template <class Fetched>
  [[nodiscard]] std::string text_of(const Fetched& command) const {
    std::string text = to_string(command.io) + ", fetched in event " +
                       std::to_string(command.event) + " from queue " +
                       std::to_string(command.queue.value) + ", " +
                       cookie_text(history_.layout(), command.cookie);
    if (command.fault.has_value()) {
      text += ", fault " + std::string{to_string(command.fault->kind)} + "@" +
              std::to_string(command.fault->opportunity);
    }
    return text;
  }
  /// Adds to the finding who wrote the sector.
  void describe_sector(Finding& finding, std::uint64_t sector) const {
    const auto& writer = device_events_.writer_of(sector);
    finding.details.push_back(sector_text(sector) +
                              (writer.has_value() ? " was written last by a " + text_of(*writer)
                                                  : ": the device has fetched no write to it"));
    const auto& elsewhere = device_events_.writer_elsewhere_of(sector % disk_sectors());
    if (elsewhere.has_value()) {
      finding.details.push_back("the sector of another disk was written by a " +
                                text_of(*elsewhere));
    }
  }

  [[nodiscard]] std::vector<DurabilityJudge> make_judges() const {
    std::vector<DurabilityJudge> judges;
    for (std::uint32_t i = 0; i != config_.disk_count; ++i) judges.emplace_back(disk_sectors());
    return judges;
  }
  [[nodiscard]] DurabilityJudge& judge_of(std::uint32_t slot) noexcept {
    return durability_[disk_of_slot(slot)];
  }
  /// "sector 20", or with several disks "sector 20 of disk 1".
  [[nodiscard]] std::string sector_text(std::uint64_t sector) const {
    const std::string text = "sector " + std::to_string(sector % disk_sectors());
    if (config_.disk_count == 1) return text;
    return text + " of disk " + std::to_string(sector / disk_sectors());
  }
  const char* note_end(std::uint32_t slot, Status status) {
    ++ended_;
    if ((status == Status::ok) != workload_.slot(slot).must_fail) {
      ++ended_ok_;
    } else if (status != Status::offline && status != Status::not_supported) {
      ++failed_;
    }
    // A write whose false completion was accepted may still be executed.
    if (!workload_.slot(slot).is_tainted) judge_of(slot).end(judged_[slot], status == Status::ok);
    is_cut_due_ = is_cut_due_ || cut_dice_.chance(1, config_.ios_per_cut);
    return workload_.end(slot, status);
  }
  /// Compares what a power cut now would leave with what the disk has promised. The run goes on
  /// with its power.
  void check_durability() {
    for (std::uint32_t disk = 0; disk != config_.disk_count; ++disk) check_durability(disk);
  }
  void check_durability(std::uint32_t disk) {
    const std::uint64_t cut = cut_dice_.next();
    // A copy of the whole disk for each cut would take a sixth of a run's time, and a comparison of
    // all sectors as much.
    WatchedMedia& media = media_.disk(disk);
    const std::span<const std::byte> bytes = media.bytes();
    const std::vector<CachedMedia::LostWrite> lost = media.lost_by_power_cut(cut);
    for (const CachedMedia::LostWrite& its : lost) {
      lost_[static_cast<std::size_t>(its.sector)] = its.content;
      media.note_change(its.sector);
    }
    const auto its_sector = durability_[disk].first_broken_of(
        [&](std::size_t sector) {
          return !lost_[sector].empty() ? lost_[sector]
                                        : bytes.subspan(sector * detail::bytes_in_sector,
                                                        std::size_t{detail::bytes_in_sector});
        },
        media.changes());
    media.forget_changes();
    for (const CachedMedia::LostWrite& its : lost) {
      lost_[static_cast<std::size_t>(its.sector)] = {};
      media.note_change(its.sector);  // it has its latest content again
    }
    if (!its_sector.has_value()) return;
    const std::optional sector{disk * disk_sectors() + *its_sector};
    Finding finding = finding_of_sector(
        "a power cut loses what was made durable, or leaves what was never written, in " +
            sector_text(*sector),
        *sector);
    describe_sector(finding, *sector);
    describe_durability(finding, *sector);
    add(std::move(finding));
  }
  /// Adds to the finding why the sector's data must be durable, and what the device was told.
  void describe_durability(Finding& finding, std::uint64_t sector) {
    std::vector<std::byte> cached(detail::bytes_in_sector);
    const DurabilityJudge& judge = durability_[static_cast<std::size_t>(sector / disk_sectors())];
    const bool is_cached = media_.read(sector * detail::bytes_in_sector, cached) &&
                           judge.admits(sector % disk_sectors(), cached);
    if (!is_cached) {
      finding.details.emplace_back("not even the volatile cache has what the sector must hold");
      return;
    }
    finding.details.emplace_back(
        judge.is_durable_by_fua(sector % disk_sectors())
            ? "only the volatile cache has the data of a write with FUA that ended ok"
            : "only the volatile cache has the data of a write before a flush that ended ok");
    const auto disk = static_cast<std::size_t>(sector / disk_sectors());
    const auto& flush = device_events_.latest_flush(disk);
    finding.details.push_back(flush.has_value() ? "the latest flush: " + text_of(*flush)
                                                : "the device has fetched no flush of the disk");
    const auto& struck = device_events_.struck_flush(disk);
    if (struck.has_value() && struck->event != (flush.has_value() ? flush->event : 0)) {
      finding.details.push_back("the latest flush with a fault: " + text_of(*struck));
    }
  }

  /// More than a driver sends the command of one I/O: each try and each reset is one. A request
  /// that moves to another queue has other RequestData, and so its driver counts again.
  [[nodiscard]] std::uint16_t max_sends() const noexcept {
    return config_.has_queue_changes ? 1000 : 100;
  }
  static constexpr std::uint16_t sent_no_more = UINT16_MAX;

  // By sector: see sends_of().
  std::vector<std::uint16_t> sends_ = std::vector<std::uint16_t>(
      static_cast<std::size_t>(workload_.capacity_bytes() / detail::bytes_in_sector));
  std::vector<DurabilityJudge> durability_ = make_judges();  // by disk
  std::vector<DurabilityJudge::Id> judged_;                  // by slot: the latest I/O
  Random cut_dice_;
  // By sector of a disk: the content after a power cut, while check_durability() looks. Empty: the
  // medium's.
  std::vector<std::span<const std::byte>> lost_ =
      std::vector<std::span<const std::byte>>(static_cast<std::size_t>(disk_sectors()));
  bool is_cut_due_ = false;
  std::uint64_t left_check_ns_ = 0;  // before this time no entry was left for too long
  // By queue and tag.
  std::vector<std::optional<Generation>> accepted_ =
      std::vector<std::optional<Generation>>(std::size_t{config_.queue_count} * config_.depth);
  Finding finding_;
  std::uint32_t later_findings_ = 0;
  bool is_adding_ = false;
  LookupTally lookups_{};
  std::uint64_t ended_ = 0;
  std::uint64_t ended_ok_ = 0;
  std::uint64_t failed_ = 0;  // I/Os that the disk had, of an operation that it supports
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
