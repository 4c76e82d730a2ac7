// SPDX-License-Identifier: BSL-1.0
//
// Goal: a driver may do anything in any hook. Each bio and each private request ends exactly once,
// requests keep their order, deadlines are those of their publications, no hook of a queue runs
// after exit_hctx, and all tags come back.
// Method: disks on one pool of tags are made, used and removed while the others go on. At random
// moments (in each hook, in each callback, in interrupts) the run submits bios and private
// requests, plugs, starts resets, freezes, quiesces by two parties and changes of the number of
// queues, stops and starts queues, kicks requeued requests, and removes disks, with operations
// queued behind the removal. The removal's callback destroys the disk. The driver accepts k of n
// requests of a batch, and publishes requests again in its hooks. random_judge.hpp has the judges.
// The same runs on threads, except that disks are destroyed at the end.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <blkown/sim/device/random.hpp>
#include <blkown/sim/harness/deterministic_runtime.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mq/random_judge.hpp"
#include "mq/task.hpp"
#include "stress/effort.hpp"

namespace random_hooks {
namespace {

using blkown::Status;
using blkown::sim::Random;

constexpr std::uint32_t context_count = 4;
constexpr std::uint32_t slots_each = 6;
constexpr std::uint64_t slot_sectors = 24;
constexpr std::uint64_t capacity = context_count * slots_each * slot_sectors;
constexpr std::uint32_t normal_queues = 2;

struct Driver;
struct Life;
struct World;
using Rq = mq::Request<Driver>;
using Hw = mq::HwQueue<Driver>;
using Disk = mq::Disk<Driver>;
using Payload = mq::Payload<Driver>;

/// The driver. Its hooks are the moments at which the world acts.
struct Driver {
  struct RequestData {
    std::uint32_t timeout_ms = 0;
  };
  struct HwData {
    std::atomic<bool> is_open{false};
    std::mutex mutex;
    std::vector<std::uint64_t> polled;
  };
  struct QueueData {
    Life* life = nullptr;
  };
  using Answer = mq::Dispatch<Driver>;
  using Idle = blkown::Idle<Rq>;

  explicit Driver(World& its_world) : world{its_world} {}

  Answer queue_rq(Hw& hw, QueueData& queue, Idle idle, bool is_last);
  void queue_rqs(Hw& hw, QueueData& queue, mq::IdleList<Rq>& list);
  void commit_rqs(Hw& hw, QueueData& queue);
  void complete(Hw& hw, blkown::Claim<Rq> claim);
  mq::TimeoutAction timeout(Hw& hw, const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie);
  unsigned poll(Hw& hw);
  Status init_hctx(Hw& hw, QueueData& queue);
  void exit_hctx(Hw& hw, QueueData& queue);

  /// Publishes, ends or requeues a request that the driver takes.
  void take(Hw& hw, Idle idle);
  /// Publishes to a device that answers, or with some probability does not.
  template <class Handle>
  void publish(Hw& hw, Handle handle);
  /// Does what an interrupt does with a claim.
  void settle(Hw& hw, blkown::Claim<Rq> claim, bool may_complete);
  void answer(Hw& hw, std::uint64_t value);
  void note_issue(Hw& hw, const Payload& request, blkown::Tag tag);
  void expect_open(Hw& hw, const char* hook);

  World& world;
};

/// A party that does an operation on a disk and undoes it after a while.
struct Party {
  explicit Party(Life& its_life) : life{its_life} {}
  void start();
  void go_on();
  void change_queues();
  void wait();
  void undo();

  enum class Kind : std::uint8_t { quiesce, freeze, count, reset };
  enum class State : std::uint8_t { idle, doing, counting, done, undoing };
  Life& life;
  std::atomic<State> state{State::idle};
  Kind kind = Kind::quiesce;
  mq::Control control{{[](void* self, mq::Control&) { static_cast<Party*>(self)->go_on(); }, this}};
};

/// One bio at a time.
struct Slot {
  static void on_end(void* self, mq::Bio& bio);

  Life* life = nullptr;
  std::uint32_t context = 0;
  std::uint64_t first_sector = 0;
  std::uint64_t serial = 0;
  bool is_ordered = false;
  bool is_in_flight = false;
  std::unique_ptr<mq::Bio> bio;
  blkown::Segment segment;
  std::array<std::byte, slot_sectors * 512> memory{};
};

/// One disk from its creation to its removal.
struct Life {
  Life(World& its_world, const mq::DiskConfig& its_config);
  void submit(std::uint32_t context, bool may_poll);
  void execute_private(std::uint32_t context);
  void remove();
  void end_removal();
  void destroy();
  void check_totals();
  [[nodiscard]] IssueOrder& order_of(std::uint32_t context, mq::QueueType type) {
    return orders[context * mq::queue_type_count + static_cast<unsigned>(type)];
  }
  [[nodiscard]] Slot& slot_of(std::uint64_t sector) {
    return slots[static_cast<std::size_t>(sector / slot_sectors)];
  }
  void kick() {
    kicked_ns.store(world_now_ns(), std::memory_order_relaxed);
    disk->kick_requeued();
  }
  /// A kick has released every held part that was requeued before this time, and may have released
  /// later ones: its works run within a millisecond. On threads there is no such limit.
  [[nodiscard]] std::uint64_t released_ns() const;
  [[nodiscard]] std::uint64_t world_now_ns() const;
  static void on_trace(void* self, const mq::TraceEvent& event);

  World& world;
  mq::DiskConfig config;
  std::unique_ptr<Disk> disk;
  std::vector<Slot> slots = std::vector<Slot>(context_count * slots_each);
  std::vector<IssueOrder> orders;
  std::array<std::uint64_t, context_count> serials{};
  std::array<Party, 3> parties{Party{*this}, Party{*this}, Party{*this}};
  std::atomic<int> quiesced{0}, frozen{0};
  std::atomic<std::uint64_t> kicked_ns{~std::uint64_t{0}};  // the largest value: never
  std::atomic<std::uint64_t> submitted{0}, ended{0}, executed{0}, executed_ends{0};
  std::atomic<bool> is_removing{false}, is_removed{false}, is_up{false};
  mq::Control removal{
      {[](void* self, mq::Control&) { static_cast<Life*>(self)->end_removal(); }, this}};
};

/// A call on a context after a delay.
struct Later {
  Later(mq::Context& context, std::uint64_t delay_ns, std::function<void()> its_call,
        std::atomic<std::uint64_t>& its_pending)
      : call{std::move(its_call)},
        pending{its_pending},
        alarm{[](void* self, mq::Alarm&) { static_cast<Later*>(self)->fire(); }, this} {
    ++pending;
    alarm.arm(context, delay_ns);
  }
  void fire() {
    call();
    --pending;
  }
  std::function<void()> call;
  std::atomic<std::uint64_t>& pending;
  mq::Alarm alarm;
};

struct World {
  World(std::uint64_t seed, std::uint64_t its_target, bool its_exact)
      : target{its_target}, is_exact{its_exact}, deadlines{findings, its_exact} {
    for (std::uint64_t i = 0; i != context_count; ++i) random.emplace_back(seed * 37 + i);
  }

  template <class Rt>
  void begin(Rt& runtime);
  void add_life();
  void act(bool is_in_hook = true);
  void act_on(Life& life, bool is_in_hook);
  void push(std::uint32_t context);
  void interrupt();
  void call_later(std::uint64_t delay_ns, std::function<void()> call);
  void fail(const char* what) { findings.add(what); }

  [[nodiscard]] static std::uint32_t here() { return mq::Context::current()->index(); }
  [[nodiscard]] Random& dice() { return random[here()]; }
  [[nodiscard]] std::uint64_t now_ns() { return contexts[0]->now_ns(); }
  [[nodiscard]] bool is_over() const { return ended.load(std::memory_order_relaxed) >= target; }

  struct Published {
    Life* life;
    Hw* hw;
    std::uint64_t value;
  };

  std::uint64_t target;
  bool is_exact;
  Findings findings;
  Deadlines deadlines;
  std::vector<Random> random;
  std::array<mq::Context*, context_count> contexts{};
  std::function<void(Life&)> create;
  std::unique_ptr<mq::TagPool<Driver>> pool;
  Driver driver{*this};
  mq::DiskConfig config;
  std::vector<std::unique_ptr<Life>> lives;
  std::vector<std::unique_ptr<fake::Task>> interrupts;
  std::mutex mutex;  // guards the two below
  std::vector<Published> published;
  std::vector<std::unique_ptr<Later>> laters;
  std::atomic<std::uint64_t> ended{0};
  std::atomic<std::size_t> lives_removed{0};
  std::atomic<std::uint64_t> pending_laters{0};
};

// --- the driver ----------------------------------------------------------------------------------

void Driver::expect_open(Hw& hw, const char* hook) {
  if (!hw.data.is_open.load(std::memory_order_relaxed)) world.fail(hook);
  if (hw.disk().queue_data().life->is_removed.load(std::memory_order_relaxed)) world.fail(hook);
}

void Driver::note_issue(Hw& hw, const Payload& request, blkown::Tag tag) {
  Life& life = *hw.disk().queue_data().life;
  const bool is_reserved = request.is_private() && tag.value < life.config.reserved_depth;
  if (life.quiesced.load(std::memory_order_relaxed) != 0 && !is_reserved) {
    world.fail("queue_rq of a disk that a party has quiesced");
  }
  if (request.is_private()) return;
  if (life.frozen.load(std::memory_order_relaxed) != 0) world.fail("queue_rq of a frozen disk");
  if (request.op() == mq::Op::flush) return;
  const Slot& slot = life.slot_of(request.sector());
  life.order_of(World::here(), hw.type())
      .issue(request.sector(), slot.serial, slot.is_ordered, life.released_ns());
}

Driver::Answer Driver::queue_rq(Hw& hw, QueueData&, Idle idle, bool) {
  expect_open(hw, "queue_rq after exit_hctx");
  note_issue(hw, idle.data(), idle.tag());
  world.act();
  Random& dice = world.dice();
  const bool is_tracked = !idle.data().is_private() && idle.data().op() != mq::Op::flush;
  const std::uint64_t what = dice.below(24);
  if (what < 2) {
    if (is_tracked) {
      hw.disk().queue_data().life->order_of(World::here(), hw.type()).refuse(idle.data().sector());
    }
    if (what == 0) return Answer::rejected(std::move(idle), Status::device_resource);
    return Answer::rejected(std::move(idle).start(), Status::resource);
  }
  if (what == 2) return Answer::rejected(std::move(idle), Status::medium_error);
  take(hw, std::move(idle));
  return Answer::accepted();
}

void Driver::take(Hw& hw, Idle idle) {
  Random& dice = world.dice();
  switch (dice.below(16)) {
    case 0: return std::move(idle).requeue();
    case 1: return std::move(idle).start().requeue();
    case 2: return std::move(idle).fail(Status::no_space);
    case 3: return std::move(idle).start().end(Status::io_error);
    case 4:
    case 5:
    case 6: return std::move(idle).start().end_ok();
    default: publish(hw, std::move(idle).start());
  }
}

void Driver::queue_rqs(Hw& hw, QueueData&, mq::IdleList<Rq>& list) {
  expect_open(hw, "queue_rqs after exit_hctx");
  world.act();
  Random& dice = world.dice();
  for (std::uint64_t count = dice.below(6); count != 0; --count) {
    auto idle = list.pop_front();
    if (!idle.has_value()) return;
    if (dice.chance(1, 8)) return list.push_front(*std::move(idle));
    note_issue(hw, idle->data(), idle->tag());
    take(hw, *std::move(idle));
    if (dice.chance(1, 16)) hw.stop();
  }
}

void Driver::commit_rqs(Hw& hw, QueueData&) {
  expect_open(hw, "commit_rqs after exit_hctx");
  world.act();
}

template <class Handle>
void Driver::publish(Hw& hw, Handle handle) {
  Random& dice = world.dice();
  Life& life = *hw.disk().queue_data().life;
  const mq::DiskConfig& config = life.config;
  const Payload& request = handle.data();
  const std::uint32_t own_ms = request.is_private() ? request.driver_data.timeout_ms : 0;
  const std::uint32_t timeout_ms = own_ms != 0 ? own_ms : config.timeout_ms.value_or(0);
  const bool is_polled = hw.type() == mq::QueueType::poll;
  const bool is_lost = dice.chance(1, 12);
  const std::uint64_t context = dice.below(context_count);
  // A scan may find the publication before the function below is called.
  const std::uint64_t since_ns = world.now_ns();
  std::move(handle).publish([&](const blkown::Cookie& cookie) {
    world.deadlines.publish(&hw.disk().pool(), cookie, timeout_ms, since_ns);
    if (is_lost) return;
    if (is_polled) {
      const std::lock_guard lock{hw.data.mutex};
      return hw.data.polled.push_back(cookie.value);
    }
    const std::lock_guard lock{world.mutex};
    world.published.push_back({&life, &hw, cookie.value});
    world.contexts[static_cast<std::size_t>(context)]->post(
        *world.interrupts[static_cast<std::size_t>(context)]);
  });
}

void Driver::settle(Hw& hw, blkown::Claim<Rq> claim, bool may_complete) {
  switch (world.dice().below(16)) {
    case 0:
    case 1: return std::move(claim).requeue();
    case 2: return std::move(claim).end(Status::medium_error);
    case 3: return publish(hw, std::move(claim));
    case 4:
    case 5:
    case 6:
    case 7:
      if (may_complete && world.dice().chance(1, 2)) return hw.complete_local(std::move(claim));
      if (may_complete) return hw.complete(std::move(claim));
      [[fallthrough]];
    default: std::move(claim).end_ok();
  }
}

void Driver::answer(Hw& hw, std::uint64_t value) {
  auto claim = hw.claim(value);
  if (!claim.has_value()) return;
  world.deadlines.claim(&hw.disk().pool(), claim->cookie(), world.now_ns());
  Hw& own = claim->data().hw_queue();
  settle(own, *std::move(claim), true);
}

void Driver::complete(Hw& hw, blkown::Claim<Rq> claim) {
  expect_open(hw, "complete after exit_hctx");
  world.act();
  settle(hw, std::move(claim), false);
}

mq::TimeoutAction Driver::timeout(Hw& hw, const blkown::ARef<Rq>& pin,
                                  const blkown::Cookie& cookie) {
  expect_open(hw, "timeout after exit_hctx");
  const void* const pool = &hw.disk().pool();
  world.deadlines.call(pool, cookie, world.now_ns());
  world.act();
  Random& dice = world.dice();
  auto action = dice.chance(1, 2) ? mq::TimeoutAction::handled : mq::TimeoutAction::rearm;
  // Before the hook publishes again: the answer is about the publication that timed out.
  world.deadlines.answer(pool, cookie, action, world.now_ns());
  if (dice.chance(1, 4)) {
    // An abort, whose result the device sends later.
    if (action == mq::TimeoutAction::rearm) return action;
    const std::lock_guard lock{world.mutex};
    world.published.push_back({hw.disk().queue_data().life, &hw, cookie.value});
    const std::uint32_t here = World::here();
    world.contexts[here]->post(*world.interrupts[here]);
    return action;
  }
  auto claim = blkown::claim(pin, cookie);
  if (!claim.has_value()) return action;
  if (dice.chance(1, 2)) {
    publish(hw, *std::move(claim));  // on another path
  } else {
    settle(hw, *std::move(claim), true);
  }
  return action;
}

unsigned Driver::poll(Hw& hw) {
  expect_open(hw, "poll after exit_hctx");
  world.act();
  unsigned count = 0;
  for (; count != 4; ++count) {
    std::uint64_t value = 0;
    {
      const std::lock_guard lock{hw.data.mutex};
      if (hw.data.polled.empty()) break;
      value = hw.data.polled.front();
      hw.data.polled.erase(hw.data.polled.begin());
    }
    answer(hw, value);
  }
  return count;
}

Status Driver::init_hctx(Hw& hw, QueueData& queue) {
  if (hw.data.is_open.exchange(true)) world.fail("init_hctx of a queue that is open");
  if (!queue.life->is_up.load(std::memory_order_relaxed) || !world.dice().chance(1, 8)) {
    return Status::ok;
  }
  hw.data.is_open = false;
  return Status::resource;
}

void Driver::exit_hctx(Hw& hw, QueueData&) {
  if (!hw.data.is_open.exchange(false)) world.fail("exit_hctx of a queue that is not open");
  hw.for_each_in_flight([&](const auto&, const auto&) {
    world.fail("exit_hctx of a queue with a request in flight");
  });
}

// --- a party -------------------------------------------------------------------------------------

void Party::start() {
  State idle = State::idle;
  if (!state.compare_exchange_strong(idle, State::doing)) return;
  Random& dice = life.world.dice();
  kind = static_cast<Kind>(dice.below(4));
  const auto count = static_cast<std::uint32_t>(1 + dice.below(normal_queues));
  switch (kind) {
    case Kind::freeze: return life.disk->freeze(control);
    case Kind::count: state = State::undoing; return life.disk->set_queue_count(control, count);
    default: return life.disk->quiesce(control);
  }
}

void Party::go_on() {
  const bool is_offline = control.status() == Status::offline;
  if (is_offline && !life.is_removing) life.world.fail("an operation ends without a removal");
  switch (state.load()) {
    case State::doing:
      if (is_offline) break;
      ++(kind == Kind::freeze ? life.frozen : life.quiesced);
      if (kind == Kind::reset) return change_queues();
      return wait();
    case State::counting: return wait();
    default: break;
  }
  state = State::idle;
  life.world.act(false);
}

/// The device is stopped: what it has is requeued or ended, and the queues change.
void Party::change_queues() {
  state = State::counting;
  for (std::uint32_t i = 0; i != life.disk->hw_queue_count(); ++i) {
    life.disk->hw_queue(blkown::QueueIndex{i})
        .for_each_in_flight([&](const auto& pin, const auto& cookie) {
          auto claim = blkown::claim(pin, cookie);
          if (!claim.has_value()) return;
          if (life.world.dice().chance(7, 8)) return std::move(*claim).requeue();
          std::move(*claim).end(Status::transport_error);
        });
  }
  life.world.act(false);
  life.disk->set_queue_count(
      control, static_cast<std::uint32_t>(1 + life.world.dice().below(normal_queues)));
}

void Party::wait() {
  state = State::done;
  life.world.act(false);
  Random& dice = life.world.dice();
  if (dice.chance(1, 2)) return undo();
  life.world.call_later(dice.below(300'000), [this] { undo(); });
}

void Party::undo() {
  --(kind == Kind::freeze ? life.frozen : life.quiesced);
  if (life.disk == nullptr) return;
  state = State::undoing;
  if (kind == Kind::freeze) return life.disk->thaw(control);
  life.disk->unquiesce(control);
}

// --- a disk --------------------------------------------------------------------------------------

Life::Life(World& its_world, const mq::DiskConfig& its_config)
    : world{its_world},
      config{its_config},
      orders(context_count * mq::queue_type_count, IssueOrder{its_world.findings}) {
  for (std::uint32_t i = 0; i != slots.size(); ++i) {
    slots[i].life = this;
    slots[i].context = i / slots_each;
    slots[i].first_sector = i * slot_sectors;
  }
}

void Slot::on_end(void* self, mq::Bio& bio) {
  Slot& slot = *static_cast<Slot*>(self);
  World& world = slot.life->world;
  if (!std::exchange(slot.is_in_flight, false)) world.fail("a bio ended twice");
  if (World::here() != slot.context) world.fail("a bio ended on another context");
  if (bio.status() == Status::offline && !slot.life->is_removing) {
    world.fail("a bio ended offline without a removal");
  }
  ++slot.life->ended;
  ++world.ended;
  world.act(false);
}

void Life::submit(std::uint32_t context, bool may_poll) {
  Random& dice = world.dice();
  const auto begin = static_cast<std::uint32_t>(dice.below(slots_each));
  Slot* slot = nullptr;
  for (std::uint32_t i = 0; i != slots_each && slot == nullptr; ++i) {
    Slot& candidate = slots[context * slots_each + (begin + i) % slots_each];
    if (!candidate.is_in_flight) slot = &candidate;
  }
  if (slot == nullptr) return;
  const std::uint64_t at = dice.below(slot_sectors);
  const std::uint64_t blocks = 1 + dice.below(slot_sectors - at);
  const std::uint64_t sector = slot->first_sector + at;
  const auto length_bytes = static_cast<std::size_t>(blocks * 512);
  slot->segment = {slot->memory.data(), length_bytes};
  const std::span<const blkown::Segment> memory{&slot->segment, 1};
  const mq::OnEnd<mq::Bio> on_end{&Slot::on_end, slot};
  mq::IoFlags flags{.fua = dice.chance(1, 16),
                    .preflush = dice.chance(1, 16),
                    .polled = may_poll && config.poll_queues != 0 && dice.chance(1, 8),
                    .nowait = dice.chance(1, 12)};
  const std::uint64_t what = dice.below(16);
  const auto make = [&]() -> mq::Bio {
    if (what == 0) return mq::Bio::flush(on_end);
    if (what == 1) return mq::Bio::discard(sector, length_bytes, on_end);
    if (what < 9) return mq::Bio::write(sector, memory, on_end, flags);
    flags.fua = flags.preflush = false;
    return mq::Bio::read(sector, memory, on_end, flags);
  };
  slot->bio.reset(new mq::Bio(make()));
  slot->serial = ++serials[context];
  slot->is_ordered = what != 0 && !slot->bio->flags().fua && !slot->bio->flags().preflush;
  slot->is_in_flight = true;
  ++submitted;
  disk->submit(*world.contexts[context], *slot->bio);
}

void Life::execute_private(std::uint32_t context) {
  Random& dice = world.dice();
  const bool is_reserved = dice.chance(1, 2);
  auto idle = disk->allocate_private(*world.contexts[context], mq::Op::driver_out, is_reserved);
  if (!idle.has_value()) return;
  const auto timeout_ms = static_cast<std::uint32_t>(dice.chance(1, 4) ? 2 : 0);
  idle->data().driver_data.timeout_ms = timeout_ms;
  ++executed;
  disk->execute_private(*world.contexts[context], *std::move(idle),
                        {[](void* self, Payload&) {
                           Life& life = *static_cast<Life*>(self);
                           ++life.executed_ends;
                           life.world.act(false);
                         },
                         this},
                        timeout_ms);
}

void Life::remove() {
  if (is_removing.exchange(true)) return;
  disk->remove(removal);
  // Operations queued behind the removal end with `offline`.
  for (Party& party : parties) {
    if (world.dice().chance(1, 2)) party.start();
  }
}

void Life::end_removal() {
  is_removed = true;
  if (!world.is_exact) {
    ++world.lives_removed;
    return;
  }
  for (Party& party : parties) {
    if (party.control.is_running()) world.fail("an operation ends after the removal");
  }
  const bool is_deferred = config.completion == mq::CompletionMode::deferred;
  if (submitted != ended && !is_deferred) world.fail("a bio ends after the removal, or never");
  if (executed != executed_ends) world.fail("a private request ends after the removal, or never");
  disk->kick_requeued();
  disk->hw_queue(blkown::QueueIndex{0}).start();
  execute_private(World::here());
  {
    const Disk::Plug plug{*disk, *world.contexts[World::here()]};
  }
  submit(World::here(), true);
  destroy();
}

/// Destroys the disk, after the deferred ends of bios that were submitted during the removal.
void Life::destroy() {
  if (submitted != ended) {
    if (config.completion == mq::CompletionMode::immediate) {
      world.fail("a bio of a removed disk does not end at once");
    }
    return world.call_later(1'000, [this] { destroy(); });
  }
  check_totals();
  for (std::uint32_t i = 0; i != disk->hw_queue_count(); ++i) {
    if (disk->hw_queue(blkown::QueueIndex{i}).data.is_open) world.fail("a queue is left open");
  }
  disk.reset();
  if (!world.is_over()) world.add_life();
  ++world.lives_removed;
}

void Life::check_totals() {
  if (submitted != ended) world.fail("a bio has not ended");
  if (executed != executed_ends) world.fail("a private request has not ended");
  const mq::Counters seen = disk->counters();
  if (seen.submitted_bios != static_cast<blkown::Word>(submitted) ||
      seen.ended_bios != seen.submitted_bios || seen.ended_requests != seen.started_requests) {
    world.fail("the counters of a removed disk do not add up");
  }
}

std::uint64_t Life::world_now_ns() const { return world.now_ns(); }
std::uint64_t Life::released_ns() const {
  if (!world.is_exact) return ~std::uint64_t{0};
  const std::uint64_t last_ns = kicked_ns.load(std::memory_order_relaxed);
  return last_ns == ~std::uint64_t{0} ? 0 : last_ns + 1'000'000;
}

void Life::on_trace(void* self, const mq::TraceEvent& event) {
  Life& life = *static_cast<Life*>(self);
  if (event.length_bytes == 0) return;
  const mq::QueueType type = event.step == mq::TraceStep::looked_up
                                 ? mq::QueueType::normal
                                 : life.disk->hw_queue(event.queue).type();
  if (event.step == mq::TraceStep::requeued) {
    life.order_of(event.context, type)
        .requeue(event.sector, life.config.auto_kick, life.world_now_ns());
  }
  if (event.step == mq::TraceStep::ended) life.order_of(event.context, type).end(event.sector);
}

// --- the world -----------------------------------------------------------------------------------

void World::add_life() {
  lives.push_back(std::make_unique<Life>(*this, config));
  Life& life = *lives.back();
  create(life);
  if (life.disk == nullptr) return fail("the disk cannot be made");
  life.disk->set_trace({&Life::on_trace, &life});
  life.is_up = true;
}

/// What a driver's author may call at any moment, with a probability.
void World::act(bool is_in_hook) {
  const std::size_t count = lives.size();
  Life& life = *lives[static_cast<std::size_t>(dice().below(count))];
  if (!dice().chance(1, 3) || life.disk == nullptr) return;
  act_on(life, is_in_hook);
}

void World::act_on(Life& life, bool is_in_hook) {
  const std::uint32_t context = here();
  if (is_over()) {
    if (dice().chance(1, 8)) life.remove();
    return;
  }
  switch (dice().below(32)) {
    case 0:
    case 1: return life.parties[static_cast<std::size_t>(dice().below(3))].start();
    case 2:
    case 3:
    case 4: return life.execute_private(context);
    case 5: {
      Hw& hw = life.disk->hw_queue(blkown::QueueIndex{
          static_cast<std::uint32_t>(dice().below(life.disk->hw_queue_count()))});
      return dice().chance(1, 2) ? hw.stop() : hw.start();
    }
    case 6:
      if (!dice().chance(1, 16)) return;
      return life.kick();
    case 7:
      if (!is_in_hook) static_cast<void>(life.disk->poll(*contexts[context]));
      return;
    case 8:
      if (dice().chance(1, 8) && is_exact) life.remove();
      return;
    case 9:
    case 10:
    case 11: {
      const Disk::Plug plug{*life.disk, *contexts[context]};
      for (std::uint64_t i = 1 + dice().below(5); i != 0; --i) life.submit(context, true);
      return;
    }
    default: return life.submit(context, true);
  }
}

/// Keeps the run going: bios, kicks, starts and polls on each context, and the removals at the end.
void World::push(std::uint32_t context) {
  bool is_more = false;
  for (std::size_t i = 0; i != lives.size(); ++i) {
    Life& life = *lives[i];
    if (life.disk == nullptr || life.is_removed) continue;
    is_more = true;
    if (is_over() && dice().chance(1, 16)) {
      life.remove();
      continue;
    }
    if (!is_over()) life.submit(context, true);
    if (life.disk != nullptr && dice().chance(1, 100)) life.kick();
    if (life.disk != nullptr && dice().chance(1, 4)) {
      life.disk->hw_queue(blkown::QueueIndex{static_cast<std::uint32_t>(dice().below(3))}).start();
    }
    if (life.disk != nullptr) static_cast<void>(life.disk->poll(*contexts[context]));
  }
  if (is_more) {
    call_later(1 + dice().below(200'000), [this, context] { push(context); });
  }
}

/// Answers some published requests, in random order, and some of them twice.
void World::interrupt() {
  for (int i = 0; i != 4; ++i) {
    Published one{};
    bool is_more = false;
    {
      const std::lock_guard lock{mutex};
      if (published.empty()) return;
      std::swap(published[static_cast<std::size_t>(dice().below(published.size()))],
                published.back());
      one = published.back();
      if (!dice().chance(1, 16)) published.pop_back();
      is_more = !published.empty();
    }
    if (one.life->disk != nullptr) driver.answer(*one.hw, one.value);
    act(false);
    if (i == 3 && is_more) contexts[here()]->post(*interrupts[here()]);
  }
}

void World::call_later(std::uint64_t delay_ns, std::function<void()> call) {
  const std::lock_guard lock{mutex};
  laters.push_back(
      std::make_unique<Later>(*contexts[here()], delay_ns, std::move(call), pending_laters));
}

template <class Rt>
void World::begin(Rt& runtime) {
  Random& draw = random[0];
  for (std::uint32_t i = 0; i != context_count; ++i) {
    contexts[i] = &runtime.context(i);
    interrupts.push_back(std::make_unique<fake::Task>([this] { interrupt(); }));
  }
  config = {.capacity_sectors = capacity,
            .limits = {.max_sectors = 8, .max_discard_sectors = 8},
            .write_cache = draw.chance(1, 2),
            .normal_queues = static_cast<std::uint32_t>(1 + draw.below(normal_queues)),
            .poll_queues = 1,
            .max_normal_queues = normal_queues,
            .depth = static_cast<std::uint32_t>(4 + draw.below(12)),
            .reserved_depth = 2,
            .timeout_ms = 4,
            .busy_delay_ms = 1,
            .completion =
                draw.chance(1, 2) ? mq::CompletionMode::immediate : mq::CompletionMode::deferred,
            .blocking = draw.chance(1, 6),
            .auto_kick = draw.chance(1, 2)};
  const std::array layouts{blkown::CookieLayout::nvme(), blkown::CookieLayout::nbd(),
                           blkown::CookieLayout::io_uring()};
  auto made = mq::TagPool<Driver>::create(
      {.queue_count = draw.chance(1, 2) ? 1 : normal_queues + 1,
       .depth = config.depth,
       .reserved_depth = config.reserved_depth,
       .layout = layouts[static_cast<std::size_t>(draw.below(layouts.size()))]});
  ASSERT_TRUE(made.has_value());
  pool = *std::move(made);
  create = [this, &runtime](Life& life) {
    auto disk = Disk::create(life.config, driver, runtime, {.life = &life}, pool.get());
    if (disk.has_value()) life.disk = *std::move(disk);
  };
  add_life();
  add_life();
}

/// Starts the pushers of all contexts.
struct Starters {
  explicit Starters(World& world) {
    for (std::uint32_t i = 0; i != context_count; ++i) {
      tasks.push_back(std::make_unique<fake::Task>([&world, i] { world.push(i); }));
      world.contexts[i]->post(*tasks.back());
    }
  }
  std::vector<std::unique_ptr<fake::Task>> tasks;
};

/// The destructor of the pool checks the reserved tags.
void expect_all_tags(mq::TagPool<Driver>& pool) {
  const auto& tags = pool.tags();
  EXPECT_EQ(tags.in_flight(), 0U);
  for (blkown::QueueIndex queue; queue.value != tags.queue_count(); ++queue.value) {
    EXPECT_EQ(tags.free_count(queue), tags.depth() - 2);
  }
}

TEST(RandomHooks, FromSeeds) {
  const auto seeds = static_cast<std::uint64_t>(stress::scaled(300, 20));
  std::uint64_t lives = 0;
  for (std::uint64_t seed = 0; seed != seeds; ++seed) {
    SCOPED_TRACE(seed);
    auto runtime = std::make_unique<blkown::sim::DeterministicRuntime>(seed, context_count);
    auto world = std::make_unique<World>(seed, 400, true);
    world->begin(*runtime);
    auto starters = std::make_unique<Starters>(*world);
    std::string failure;
    while (failure.empty() && world->lives_removed != world->lives.size()) {
      if (!runtime->step()) failure = "nothing is left to run, but a disk is not removed";
      if (runtime->steps() == 2'000'000) failure = "a disk is not removed";
      if (failure.empty()) failure = world->findings.first();
    }
    if (failure.empty() && !runtime->run_until_idle(1'000'000)) failure = "works are left";
    if (failure.empty()) failure = world->findings.first();
    if (!failure.empty()) {
      ADD_FAILURE() << failure << ", step " << runtime->steps();
      // The disks cannot be destroyed.
      static_cast<void>(starters.release());
      static_cast<void>(world.release());
      static_cast<void>(runtime.release());
      return;
    }
    lives += world->lives.size();
    expect_all_tags(*world->pool);
  }
  EXPECT_GT(lives, 2 * seeds);
}

TEST(RandomHooks, OnThreads) {
  for (std::uint64_t seed = 0; seed != 4; ++seed) {
    SCOPED_TRACE(seed);
    mq::ThreadRuntime runtime{context_count};
    World world{seed, stress::scaled(3'000, 500), false};
    // Not by this thread, which runs no context.
    runtime.run_on(0, [&] { world.begin(runtime); });
    const Starters starters{world};
    while (world.lives_removed != world.lives.size() || world.pending_laters != 0) {
      std::this_thread::yield();
    }
    for (std::uint32_t i = 0; i != context_count; ++i) runtime.run_on(i, [] {});
    for (const auto& life : world.lives) {
      life->check_totals();
      life->disk.reset();
    }
    EXPECT_EQ(world.findings.first(), "");
    expect_all_tags(*world.pool);
  }
}

}  // namespace
}  // namespace random_hooks
