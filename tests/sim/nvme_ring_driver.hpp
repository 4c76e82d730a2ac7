// SPDX-License-Identifier: BSL-1.0
//
// The reference driver: a driver on the bare core for the simulated NVMe controller, on the queue
// pairs of examples/nvme, written as for hardware. The reference driver must survive every fault of
// the adversary. Each driver in broken/ is derived from this one and replaces a virtual step, so
// that a program that has them all has the code of one world.

#ifndef BLKOWN_TESTS_SIM_NVME_RING_DRIVER_HPP
#define BLKOWN_TESTS_SIM_NVME_RING_DRIVER_HPP

#include <algorithm>
#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/nvme/nvme.hpp>
#include <blkown/sim/harness/host.hpp>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <nvme/queue_pair.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace nvme_ring {

namespace dma = blkown::dma;
namespace nvme = blkown::nvme;
namespace sim = blkown::sim;
using blkown::ARef;
using blkown::Claim;
using blkown::Cookie;
using blkown::Idle;
using blkown::QueueIndex;
using blkown::Status;
using nvme::SubmissionEntry;

constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t submission_entries = 32;  // if the controller has as many
constexpr std::uint32_t completion_entries = 64;
constexpr std::uint32_t admin_depth = 8;
constexpr std::size_t list_entries = 8;  // of a tag's PRP list

/// Both rings of a queue pair, and PRP lists, each in a page.
class Rings {
 public:
  using Pair = nvme_driver::QueuePair<sim::NvmeController>;

  /// `max_entries`: of each ring.
  Rings(dma::Device<sim::Iommu>& device, sim::NvmeController& controller, std::uint16_t id,
        std::uint32_t max_entries)
      : pages_{allocate(device), allocate(device), allocate(device)},
        pair{controller, config(id, max_entries)} {}

  [[nodiscard]] std::uint64_t iova(std::size_t page) const { return pages_[page].segment().iova; }
  /// The place of a tag's PRP list.
  [[nodiscard]] nvme::PrpListPage list(blkown::Tag tag) {
    const std::size_t at = tag.value * list_entries * sizeof(nvme::Le64);
    auto* const first = reinterpret_cast<nvme::Le64*>(pages_[2].data() + at);
    return {.entries = {first, list_entries}, .iova = iova(2) + at};
  }
  void free(const dma::EndProof& proof) {
    for (Memory& page : pages_) {
      if (!std::move(page).free(proof).has_value()) std::abort();
    }
  }

 private:
  using Memory = dma::Coherent<sim::Iommu>;

  [[nodiscard]] static Memory allocate(dma::Device<sim::Iommu>& device) {
    auto memory = Memory::allocate(device, page_bytes, page_bytes);
    if (!memory.has_value()) std::abort();
    return *std::move(memory);
  }
  [[nodiscard]] nvme_driver::QueuePairConfig config(std::uint16_t id, std::uint32_t max_entries) {
    return {.id = id,
            .submission_entries = std::min(submission_entries, max_entries),
            .completion_entries = std::min(completion_entries, max_entries),
            .submissions = {pages_[0].data(), iova(0)},
            .completions = {pages_[1].data(), iova(1)},
            .submission_doorbell = nvme::doorbell_offset(id, false, 0),
            .completion_doorbell = nvme::doorbell_offset(id, true, 0)};
  }

  Memory pages_[3];

 public:
  Pair pair;
};

struct RequestData {
  dma::IovaList<8> iovas;
  std::optional<dma::ActiveMapping> mapping;
  unsigned tries = 0;
};

class Driver {
 public:
  using RequestData = nvme_ring::RequestData;
  using R = sim::CoreRequest<Driver>;

  explicit Driver(sim::NvmeHost<Driver>& host)
      : host_{host},
        admin_{host.device, host.controller, 0, completion_entries},
        watches_(host.queue_count() * host.depth()),
        ranges_(host.queue_count() * host.depth()) {
    const nvme::Cap cap{host.controller.read64(nvme::reg::cap)};
    for (std::uint32_t queue = 0; queue != host.queue_count(); ++queue) {
      rings_.emplace_back(host.device, host.controller, static_cast<std::uint16_t>(queue + 1),
                          cap.max_queue_entries());
    }
    start();
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  virtual ~Driver() = default;

  void submit(Idle<R> idle) {
    const Call call{*this};
    issue(std::move(idle).start().into_claim());
  }

  void interrupt(QueueIndex queue) {
    if (is_resetting_) return;
    const Call call{*this};
    take_all(queue);
  }
  void admin_interrupt() {
    if (!is_resetting_) poll_admin();
  }

  /// The first timeout of a publication aborts the command, the next one resets the controller.
  virtual void timeout(const ARef<R>& pin, const Cookie& cookie) {
    const Call call{*this};
    Watch& watch = watches_[index_of(pin.queue(), pin.tag())];
    if (watch.aborted == cookie.generation) return reset();
    watch.aborted = cookie.generation;
    const auto entry = SubmissionEntry::abort(static_cast<std::uint16_t>(pin.queue().value + 1),
                                              static_cast<std::uint16_t>(cookie.value));
    if (!send_admin(entry).has_value()) reset();
  }
  void failed() {
    const Call call{*this};
    reset();
  }
  /// Stops the controller, which proves that it is done with all memory, and starts it again.
  virtual void reset() {
    const dma::EndProof proof = disable();
    give_up_all(proof);
    is_quarantined_ = !drain(proof);
    start();
  }
  virtual void stop() {
    const dma::EndProof proof = disable();
    give_up_all(proof);
    for (unsigned tries = 0; !drain(proof) && tries != max_drains; ++tries) {
    }
    admin_.free(proof);
    for (Rings& rings : rings_) rings.free(proof);
  }

 protected:
  /// A call of the driver. The outermost one resets the controller if memory could not be unmapped
  /// or a ring is stuck: an interrupt may run while another call maps memory.
  class Call {
   public:
    explicit Call(Driver& driver) : driver_{driver} { ++driver_.calls_; }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      const bool is_due = driver_.is_quarantined_ || driver_.is_ring_stuck_;
      if (--driver_.calls_ == 0 && is_due) driver_.reset();
    }

   private:
    Driver& driver_;
  };

  // --- issue -------------------------------------------------------------------------------------

  virtual void issue(Claim<R> claim) {
    if (const auto error = map(claim)) return give_back(std::move(claim), *error);
    const auto entry = command(claim);
    if (entry.has_value()) return send(std::move(claim), *entry);
    unmap(claim, *dma::EndProof::of(claim));
    end(std::move(claim), Status::invalid);
  }
  /// Publishes, and then rings the doorbell: the completion may arrive before the doorbell returns.
  virtual void send(Claim<R> claim, const SubmissionEntry& entry) {
    Pair& pair = pair_of(claim.queue());
    auto issued = pair.publish(std::move(claim), entry);
    if (issued.has_value()) return pair.ring_doorbell();
    if (pair.is_stuck()) is_ring_stuck_ = true;
    // A forged completion may have claimed the I/O before the refusal.
    if (issued.error().claim.has_value()) refused(*std::move(issued.error().claim));
  }
  /// The ring is full.
  virtual void refused(Claim<R> claim) {
    unmap(claim, *dma::EndProof::of(claim));
    give_back(std::move(claim), Status::resource);
  }
  /// Maps the I/O's pieces, which are adjacent, as one. A discard's memory is its range.
  [[nodiscard]] std::optional<Status> map(Claim<R>& claim) {
    sim::Io<Driver>& io = claim.data();
    blkown::Segment whole{};
    if (io.opcode == sim::Opcode::discard) {
      Range& range = ranges_[index_of(claim.queue(), claim.tag())];
      const nvme::BlockRange blocks = blocks_of(io);
      range.blocks.block_count = blocks.block_count;
      range.blocks.slba = blocks.slba;
      whole = {reinterpret_cast<std::byte*>(&range.blocks), sizeof range.blocks};
    } else {
      if (io.segment_count == 0) return std::nullopt;
      whole = {io.memory[0].data, static_cast<std::size_t>(io.length_bytes())};
    }
    auto prepared =
        dma::map(claim, host_.device, std::span{&whole, 1}, direction_of(io), io.driver.iovas);
    if (!prepared.has_value()) {
      if (prepared.error().reason == dma::MapFailure::unmap_failed) note_quarantine();
      return prepared.error().status();
    }
    io.driver.mapping = std::move(*prepared).activate();
    return std::nullopt;
  }
  [[nodiscard]] virtual dma::Direction direction_of(const sim::Io<Driver>& io) const {
    return io.direction();
  }
  /// The namespace of the I/O.
  [[nodiscard]] virtual std::uint32_t nsid_of(const sim::Io<Driver>& io) const {
    return host_.nsid(io.disk);
  }
  [[nodiscard]] nvme::BlockRange blocks_of(const sim::Io<Driver>& io) const {
    const std::uint32_t sectors = host_.block_bytes() / 512;
    return {io.sector / sectors, io.length_sectors / sectors};
  }
  [[nodiscard]] std::optional<SubmissionEntry> command(Claim<R>& claim) {
    const sim::Io<Driver>& io = claim.data();
    SubmissionEntry entry = without_memory(io);
    if (!io.driver.mapping.has_value()) return entry;
    const nvme::PrpListPage list = rings_[claim.queue().value].list(claim.tag());
    const auto prps =
        nvme::build_prps(io.driver.mapping->segments(), std::span{&list, 1}, page_bytes);
    if (!prps.has_value()) return std::nullopt;
    entry.set_prps(*prps);
    return entry;
  }
  void give_back(Claim<R> claim, Status status) {
    if (status == Status::resource && claim.data().driver.tries++ < max_tries) {
      return std::move(claim).requeue();
    }
    end(std::move(claim), status);
  }

  // --- completion --------------------------------------------------------------------------------

  virtual void take_all(QueueIndex queue) {
    pair_of(queue).poll([&](const nvme::CompletionEntry& entry) { complete(queue, entry); });
  }
  virtual void complete(QueueIndex queue, const nvme::CompletionEntry& entry) {
    auto claim = host_.claim(queue, entry.command_id);
    if (!claim.has_value()) return;  // late, duplicated or forged; the host has counted it
    pair_of(queue).note_found();
    unmap(*claim, *dma::EndProof::of(*claim));
    finish(*std::move(claim), entry);
  }
  void unmap(Claim<R>& claim, const dma::EndProof& proof) {
    auto mapping = std::exchange(claim.data().driver.mapping, std::nullopt);
    if (!mapping.has_value()) return;
    auto unmapped = std::move(*mapping).unmap(proof);
    // unmap() returns the mapping if the proof does not fit.
    if (!unmapped.has_value()) {
      claim.data().driver.mapping = std::move(unmapped.error());
    } else if (*unmapped == dma::UnmapResult::quarantined) {
      note_quarantine();
    }
  }
  /// Memory of an I/O stays mapped. The I/O is ended as any other, but its end, and with it the
  /// memory and the tag, wait for the drain of a reset.
  virtual void note_quarantine() { is_quarantined_ = true; }
  /// Unmaps the memory in quarantine. False: some could not be unmapped. The next stop tries again.
  [[nodiscard]] virtual bool drain(const dma::EndProof& proof) {
    host_.device.drain(proof);
    return host_.device.quarantined_count() == 0;
  }
  virtual void finish(Claim<R> claim, const nvme::CompletionEntry& entry) {
    end(std::move(claim), nvme::to_status(entry.status()));
  }
  virtual void end(Claim<R> claim, Status status) {
    claim.data().driver.tries = 0;
    watches_[index_of(claim.queue(), claim.tag())] = {};
    std::move(claim).end(status);
  }

  /// The interrupt vector of an I/O completion queue.
  [[nodiscard]] virtual std::uint16_t vector_of(std::uint16_t id) const { return id; }
  /// Empties the I/O queues' rings for a controller that is about to be enabled.
  virtual void reset_rings() {
    for (Rings& rings : rings_) rings.pair.reset();
  }

  // --- the admin queue ---------------------------------------------------------------------------

  /// Sends an admin command. Returns its tag, or none if no tag or no room is free.
  [[nodiscard]] std::optional<blkown::Tag> send_admin(const SubmissionEntry& entry) {
    auto idle = admin_tags_.allocate(QueueIndex{}, admin_cache_);
    if (!idle.has_value()) return std::nullopt;
    const blkown::Tag tag = idle->tag();
    results_[tag.value].reset();
    auto issued = admin_.pair.publish(std::move(*idle).start().into_claim(), entry);
    if (!issued.has_value()) {
      if (issued.error().claim.has_value()) {
        std::move(*issued.error().claim).end(Status::resource);
      }
      return std::nullopt;
    }
    admin_.pair.ring_doorbell();
    return tag;
  }
  void give_up_admin(const dma::EndProof&) {
    admin_tags_.for_each_in_flight(QueueIndex{},
                                   [&](const ARef<AdminRequest>& pin, const Cookie& cookie) {
                                     auto claim = blkown::claim(pin, cookie);
                                     if (claim.has_value()) std::move(*claim).end(Status::aborted);
                                   });
  }

  using Pair = Rings::Pair;
  [[nodiscard]] Pair& pair_of(QueueIndex queue) noexcept { return rings_[queue.value].pair; }

  sim::NvmeHost<Driver>& host_;
  Rings admin_;
  std::deque<Rings> rings_;
  bool is_resetting_ = false;

 private:
  struct AdminData {
    std::optional<nvme::CompletionEntry> done;
  };
  using AdminRequest = blkown::Request<AdminData>;
  struct Watch {
    blkown::Generation aborted{~std::uint32_t{0}};
  };
  /// Of a discard. Aligned, so that it lies in one page.
  struct alignas(sizeof(nvme::DsmRange)) Range {
    nvme::DsmRange blocks{};
  };
  struct Sink {
    void operator()(blkown::EndedList<AdminRequest>&&) {}  // frees the tags
  };

  [[nodiscard]] std::size_t index_of(QueueIndex queue, blkown::Tag tag) const noexcept {
    return std::size_t{queue.value} * host_.depth() + tag.value;
  }
  [[nodiscard]] SubmissionEntry without_memory(const sim::Io<Driver>& io) const {
    const nvme::BlockRange blocks = blocks_of(io);
    const std::uint32_t nsid = nsid_of(io);
    switch (io.opcode) {
      case sim::Opcode::flush: return SubmissionEntry::flush(nsid);
      case sim::Opcode::discard: return SubmissionEntry::dataset_management(nsid, 1, true);
      case sim::Opcode::write_zeroes: return SubmissionEntry::write_zeroes(nsid, blocks, false);
      case sim::Opcode::compare: return SubmissionEntry::compare(nsid, blocks);
      case sim::Opcode::read: return SubmissionEntry::read(nsid, blocks);
      default: return SubmissionEntry::write(nsid, blocks);
    }
  }

  void poll_admin() {
    admin_.pair.poll([&](const nvme::CompletionEntry& entry) {
      auto claim = admin_tags_.claim(QueueIndex{}, entry.command_id);
      host_.note_admin_lookup(entry.command_id, claim.has_value());
      if (!claim.has_value()) return;
      results_[claim->tag().value] = entry;
      std::move(*claim).end(Status::ok);
    });
  }
  /// Sends an admin command, and waits for its completion. False if it failed, or did not come.
  [[nodiscard]] bool carry_out(const SubmissionEntry& entry) {
    const auto tag = send_admin(entry);
    if (!tag.has_value()) return false;
    for (unsigned waits = 0; waits != max_waits; ++waits) {
      poll_admin();
      const auto& result = results_[tag->value];
      if (result.has_value()) return result->status().is_success();
      if (!host_.wait()) return false;
    }
    return false;
  }

  // --- start and stop ----------------------------------------------------------------------------

  [[nodiscard]] nvme::Csts csts() { return {host_.controller.read32(nvme::reg::csts)}; }

  /// Disables the controller, which proves that it is done with all memory.
  [[nodiscard]] dma::EndProof disable() {
    is_resetting_ = true;
    host_.controller.write32(nvme::reg::cc, 0);
    while (csts().is_ready()) {
      if (!host_.wait()) std::abort();
    }
    return host_.device.declare_stopped();
  }
  /// Enables the controller and creates the queues, which the adversary may prevent some times.
  void start() {
    is_resetting_ = true;
    is_ring_stuck_ = false;
    for (unsigned tries = 0; !try_start(); ++tries) {
      if (tries == max_starts) std::abort();
      give_up_admin(disable());
    }
    is_resetting_ = false;
    // The driver has ignored the interrupts since the stop, and some may have been for false
    // completions.
    for (std::uint32_t queue = 0; queue != host_.queue_count(); ++queue) {
      take_all(QueueIndex{queue});
    }
  }
  [[nodiscard]] bool try_start() {
    admin_.pair.reset();
    reset_rings();
    auto& registers = host_.controller;
    registers.write32(nvme::reg::aqa, nvme::Aqa::of(submission_entries, completion_entries).value);
    registers.write64(nvme::reg::asq, admin_.iova(0));
    registers.write64(nvme::reg::acq, admin_.iova(1));
    nvme::Cc cc;
    cc.set_enabled(true);
    cc.set_submission_entry_exponent(6);
    cc.set_completion_entry_exponent(4);
    registers.write32(nvme::reg::cc, cc.value);
    while (!csts().is_ready()) {
      if (!host_.wait()) return false;
    }
    for (std::uint16_t id = 1; id <= host_.queue_count(); ++id) {
      const Rings& rings = rings_[id - 1U];
      const nvme_driver::QueuePairConfig& pair = rings.pair.config();
      if (!carry_out(SubmissionEntry::create_io_cq({.queue = id,
                                                    .entries = pair.completion_entries,
                                                    .iova = rings.iova(1),
                                                    .vector = vector_of(id),
                                                    .interrupts_enabled = true})) ||
          !carry_out(SubmissionEntry::create_io_sq({.queue = id,
                                                    .entries = pair.submission_entries,
                                                    .iova = rings.iova(0),
                                                    .completion_queue = id}))) {
        return false;
      }
    }
    return true;
  }
  void give_up_all(const dma::EndProof& proof) {
    give_up_admin(proof);
    for (QueueIndex queue; queue.value != host_.queue_count(); ++queue.value) {
      host_.tags.for_each_in_flight(queue, [&](const ARef<R>& pin, const Cookie& cookie) {
        auto claim = blkown::claim(pin, cookie);
        if (!claim.has_value()) return;
        unmap(*claim, proof);
        give_back(*std::move(claim), Status::resource);
      });
    }
  }

  [[nodiscard]] static blkown::TagSet<AdminRequest> make_admin_tags(Sink& sink,
                                                                    blkown::Generation first) {
    auto made = blkown::TagSet<AdminRequest>::create({.queue_count = 1,
                                                      .depth = admin_depth,
                                                      .layout = blkown::CookieLayout::nvme(),
                                                      .first_generation = first},
                                                     blkown::EndSink<AdminRequest>::to(sink));
    if (!made.has_value()) std::abort();
    return *std::move(made);
  }

  static constexpr unsigned max_tries = 8;
  static constexpr unsigned max_waits = 10'000;
  static constexpr unsigned max_starts = 100;
  static constexpr unsigned max_drains = 100;

  Sink sink_;
  blkown::TagSet<AdminRequest> admin_tags_ = make_admin_tags(sink_, host_.first_generation());
  blkown::TagCache admin_cache_ = admin_tags_.tag_cache(QueueIndex{}, 0);
  std::vector<Watch> watches_;
  std::vector<Range> ranges_;
  std::optional<nvme::CompletionEntry> results_[admin_depth];
  unsigned calls_ = 0;           // nested
  bool is_quarantined_ = false;  // memory of an I/O stays mapped
  bool is_ring_stuck_ = false;   // no completion is left that could report a free place
};

}  // namespace nvme_ring

#endif
