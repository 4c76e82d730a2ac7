// SPDX-License-Identifier: BSL-1.0
//
// Theme: work and requests that other threads pass to a context of the block layer.
//
// Goal: each post is followed by a run that sees the writes before the post, also if one run serves
// several posts, or if the post arrives while the context is falling asleep. Each request that is
// pushed to a context is taken once, with all earlier writes visible. The last of several parties
// sees the writes of the others. The age of a publication is not that of an earlier one, whichever
// context prints it.
// Method: the loop of a runtime is one thread; posters and pushers are the others. A context that
// sleeps although it has work waits for ever, which is a failure.

#include "fixture.hpp"

// The fixture comes first: it chooses the explorer's atomic.
#include <array>
#include <blkown/mq/context.hpp>
#include <blkown/mq/detail/call_gate.hpp>
#include <blkown/mq/detail/countdown.hpp>
#include <blkown/mq/detail/publication_watch.hpp>
#include <blkown/mq/detail/relaxed.hpp>
#include <blkown/mq/detail/request_stack.hpp>

#include "no_context.hpp"

namespace contexts {

namespace mq = blkown::mq;

/// A context, and the loop that runs it and sleeps.
struct Runtime {
  model::atomic<bool> is_woken{false};
  mq::Context context{
      mq::ContextHooks{.runtime = this,
                       .now_ns = [](void*) { return std::uint64_t{1}; },
                       .wake = [](void* its, std::uint32_t) { static_cast<Runtime*>(its)->wake(); },
                       .announces_sleep = true},
      0};

  Runtime() {
    leave_contexts();
    is_woken.describe("woken");
  }

  // A real runtime has a mutex here. The orders here are relaxed, so that the inbox must order the
  // work.
  void wake() { is_woken.exchange(true, relaxed); }
  void sleep() {
    static_cast<void>(is_woken.await_equal(true, relaxed));
    is_woken.exchange(false, relaxed);
  }

  template <class IsDone>
  void run_until(IsDone is_done) {
    while (true) {
      context.run();
      if (is_done()) return;
      if (!context.fall_asleep()) continue;
      sleep();
    }
  }
};

/// The write of a poster before its post, and whether a run has seen this write.
struct Errand {
  model::Data<int> data{0, "what was done before the post"};
  bool is_known = false;

  void prepare() { data.set(1); }
  /// Called in a run, which may be that of an earlier post.
  void look() { is_known = is_known || data.is_known_to_be(1); }
};

/// Two posters, with one work each or with the same one.
template <bool IsShared>
struct Posts : Runtime {
  std::array<Errand, 2> errands;
  std::array<mq::Work, 2> jobs{mq::Work{&run_first, this}, mq::Work{&run_second, this}};

  static void run_first(void* self, mq::Work&) {
    auto& errands = static_cast<Posts*>(self)->errands;
    errands[0].look();
    if (IsShared) errands[1].look();
  }
  static void run_second(void* self, mq::Work&) { static_cast<Posts*>(self)->errands[1].look(); }

  void runs() {
    run_until([this] { return errands[0].is_known && errands[1].is_known; });
  }
  void posts() {
    errands[0].prepare();
    context.post(jobs[0]);
  }
  void posts_too() {
    errands[1].prepare();
    context.post(jobs[IsShared ? 0 : 1]);
  }
};
template <bool IsShared>
using AddPosts = Add<Posts<IsShared>, &Posts<IsShared>::runs, &Posts<IsShared>::posts,
                     &Posts<IsShared>::posts_too>;
const AddPosts<false> posts{"contexts", "two posts of two works"};
const AddPosts<true> posts_shared{"contexts", "two posts of one work"};

/// A context that is asleep, and a poster that posts twice.
struct Again : Runtime {
  std::array<Errand, 2> errands;
  mq::Work job{[](void* self, mq::Work&) {
                 for (Errand& errand : static_cast<Again*>(self)->errands) errand.look();
               },
               this};

  Again() { model::check(context.fall_asleep(), "nothing is posted"); }
  void runs() {
    sleep();
    run_until([this] { return errands[0].is_known && errands[1].is_known; });
  }
  void posts() {
    for (Errand& errand : errands) {
      errand.prepare();
      context.post(job);
    }
  }
};
const Add<Again, &Again::runs, &Again::posts> again{"contexts", "two posts to a sleeping context"};

/// Requests that other threads have ended reach their context. The thread that finds the stack
/// empty posts to it.
struct Pushes : Device, Runtime {
  Pushes() : Device{2} {}
  std::array<Owned, 2> owned{start(0), start(1)};
  mq::detail::RequestStack<R> stack;
  int taken = 0;
  mq::Work job{[](void* self, mq::Work&) { static_cast<Pushes*>(self)->take(); }, this};

  void push(std::uint32_t tag) {
    owned[tag].data().value.set(5);
    if (stack.push(*blkown::detail::HandleAccess::look(owned[tag]))) context.post(job);
  }
  void take() {
    auto requests = stack.take_all();
    while (R* const request = requests.pop_front()) {
      auto& value = blkown::RequestTraits<R>::data(*request).value;
      model::check(value.get() == 5, "a taken request was pushed, and not taken before");
      value.set(6);
      ++taken;
    }
  }
  void pushes() { push(0); }
  void pushes_too() { push(1); }
  void runs() {
    run_until([this] { return taken == 2; });
  }
  void finish() {
    for (Owned& one : owned) write_and_end(std::move(one));
    check_all_ended();
  }
};
const Add<Pushes, &Pushes::runs, &Pushes::pushes, &Pushes::pushes_too> pushes{
    "contexts", "two requests are pushed, and taken"};

/// Each party does its part, and the last party sees all parts.
struct Parties {
  std::array<model::Data<int>, 3> parts{
      model::Data<int>{0, "a part"}, model::Data<int>{0, "a part"}, model::Data<int>{0, "a part"}};
  mq::detail::Countdown countdown;
  int last_ones = 0;

  Parties() { countdown.begin(3); }
  void arrive(std::size_t which) {
    parts[which].set(1);
    if (!countdown.arrive()) return;
    ++last_ones;
    for (const auto& part : parts) model::check(part.get() == 1, "every part is done");
  }
  void first() { arrive(0); }
  void second() { arrive(1); }
  void third() { arrive(2); }
  void finish() { model::check(last_ones == 1, "one of them is the last"); }
};
const Add<Parties, &Parties::first, &Parties::second, &Parties::third> parties{
    "contexts", "three parties arrive"};

/// Calls that are inside a gate have ended when the gate is closed and empty; no later one enters.
struct Calls {
  std::array<model::Data<int>, 2> parts{model::Data<int>{0, "a call"},
                                        model::Data<int>{0, "a call"}};
  std::array<bool, 2> entered{};
  mq::detail::CallGate gate;
  bool is_over = false;

  Calls() { gate.open(); }
  void call(std::size_t which) {
    if (!gate.enter()) return;
    model::check(!is_over, "no call enters a gate that is closed and empty");
    entered[which] = true;
    parts[which].set(1);
    gate.leave();
  }
  void call_first() { call(0); }
  void call_second() { call(1); }
  void close() {
    gate.close();
    if (!gate.is_empty()) return;
    is_over = true;
    for (std::size_t i = 0; i != parts.size(); ++i) {
      model::check(parts[i].get() == (entered[i] ? 1 : 0), "a call that entered has ended");
      parts[i].set(2);
    }
  }
  void finish() {}
};
const Add<Calls, &Calls::call_first, &Calls::call_second, &Calls::close> calls{
    "contexts", "a gate is closed while two call"};

/// A call that enters sees what was made before the gate was opened, and what a call that is
/// refused has written is seen after.
struct Opening {
  model::Data<int> made{0, "what is behind the gate"};
  std::array<mq::detail::RelaxedFlag, 2> told;
  std::array<bool, 2> refused{};
  std::array<bool, 2> seen{};
  mq::detail::CallGate gate;

  void call(std::size_t which) {
    told[which].set(true);
    if (!gate.enter()) {
      refused[which] = true;
      return;
    }
    model::check(made.get() == 1, "a call enters after the gate is opened");
    gate.leave();
  }
  void call_first() { call(0); }
  void call_second() { call(1); }
  void open() {
    made.set(1);
    gate.open();
    for (std::size_t i = 0; i != told.size(); ++i) seen[i] = told[i].is_set();
  }
  void finish() {
    for (std::size_t i = 0; i != told.size(); ++i) {
      model::check(!refused[i] || seen[i], "what a refused call has written is seen");
    }
  }
};
const Add<Opening, &Opening::call_first, &Opening::call_second, &Opening::open> opening{
    "contexts", "a gate is opened while two call"};

/// Scans see two publications of a request, at the times 1 and 2, and other contexts read the
/// times. The second publication belongs to the context that gets the tag next, or to the first one
/// again.
struct Ages : Device {
  mq::detail::PublicationWatch watch;
  std::optional<Owned> owned{start()};
  bool is_second_seen = false;

  void see_second() {
    watch.see(Generation{first + 1}, 2);
    is_second_seen = true;
  }
  void sees_both() {
    watch.see(Generation{first}, 1);
    see_second();
  }
  void sees_and_ends() {
    watch.see(Generation{first}, 1);
    write_and_end(*std::exchange(owned, std::nullopt));
  }
  void takes_and_sees() {
    auto idle = set().allocate_tag(QueueIndex{0}, Tag{0});
    if (!idle.has_value()) return;
    Owned next = begin(*std::move(idle));
    see_second();
    write_and_end(std::move(next));
  }
  void reads() {
    const auto second_ms = watch.time_ms_of(Generation{first + 1});
    model::check(!second_ms.has_value() || *second_ms == 2, "no time of an earlier publication");
    const auto first_ms = watch.time_ms_of(Generation{first});
    model::check(!first_ms.has_value() || *first_ms != 0, "a time that a scan has written");
  }
  void finish() {
    if (owned.has_value()) write_and_end(*std::exchange(owned, std::nullopt));
    if (is_second_seen) {
      model::check(watch.time_ms_of(Generation{first + 1}) == 2U, "the latest publication's time");
    }
    check_all_ended();
  }
};
const Add<Ages, &Ages::sees_both, &Ages::reads> ages{
    "contexts", "the age of a publication is read while scans see the next one"};
const Add<Ages, &Ages::sees_and_ends, &Ages::takes_and_sees, &Ages::reads> ages_of_two{
    "contexts", "the age of a publication is read while its tag goes to another context"};

}  // namespace contexts
