// SPDX-License-Identifier: BSL-1.0
//
// Uses every public operation of the core that does not allocate. Compiled freestanding, the object
// file may have no undefined symbols except memcpy and similar functions. run_core.cpp runs the
// code.

#ifdef USE_PLAIN_ATOMIC
#include "support/plain_atomic.hpp"
#endif
#ifdef USE_COUNTING_ATOMIC
#include "support/counting_atomic.hpp"
#endif

#include "checks.hpp"
#include "core.hpp"

#include <blkown/blkown.hpp>

namespace {

struct Command {
  int sectors = 0;
};

/// A driver's struct with an embedded header.
struct foreign_request {
  blkown::RequestHeader header;
  int opcode = 0;
};

/// A reference-counted object that is not a request.
struct Device {
  int references = 0;
  void add_ref() { ++references; }
  void drop_ref() { --references; }
  void release_owned() { references = -1; }
  void into_shared() { references = 1; }
  bool try_into_owned() {
    if (references != 1) return false;
    references = 0;
    return true;
  }
};

}  // namespace

template <>
struct blkown::RequestTraits<foreign_request> : blkown::EmbeddedHeader<&foreign_request::header> {};
template <>
inline constexpr bool blkown::shared_data<Command> = true;

namespace {

using blkown::Cookie;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Status;
using blkown::Tag;
using Request = blkown::Request<Command>;
using Idle = blkown::Idle<Request>;
using Owned = blkown::Owned<Request>;
using Claim = blkown::Claim<Request>;
using ARef = blkown::ARef<Request>;
using Ended = blkown::Ended<Request>;
using EndedList = blkown::EndedList<Request>;
using TagSet = blkown::TagSet<Request>;

struct Sink {
  EndedList kept;
  int count = 0;
  void operator()(EndedList&& list) {
    ++count;
    kept.append(std::move(list));
  }
  Ended last() { return *kept.pop_front(); }
};

/// A device that accepts every command, and one that refuses every command.
struct Doorbell {
  Cookie rung;
  void operator()(const Cookie& cookie) { rung = cookie; }
};
struct DeadDoorbell {
  std::expected<void, int> operator()(const Cookie&) const { return std::unexpected(5); }
};

constexpr blkown::TagSetConfig config{.queue_count = 2,
                                      .depth = 8,
                                      .layout = blkown::CookieLayout::nbd(),
                                      .first_generation = blkown::Generation{41}};

Owned start(TagSet& set, std::uint32_t queue, std::uint32_t tag) {
  return (*set.allocate_tag(QueueIndex{queue}, Tag{tag})).start();
}

void use_values() {
  const blkown::CookieLayout layout = blkown::CookieLayout::io_uring();
  const std::uint64_t value = layout.encode(QueueIndex{1}, Tag{2}, blkown::Generation{3});
  EXPECT(layout.user_of(layout.with_user(value, 4)) == 4);
  EXPECT(layout.tag.get(value) == 2 && (layout.stray_mask() & value) == 0);
  EXPECT(blkown::CookieLayout::nvme() != layout);
  EXPECT(*to_string(LookupReason::early) == 'e' && *to_string(Status::ok) == 'o');
  EXPECT(*to_string(blkown::TagSetReason::out_of_memory) == 'o');
  EXPECT(*to_string(blkown::Violation::not_idle) == 't');
  EXPECT(*to_string(blkown::Report::idle_dropped) == 'a');
  std::byte bytes[4]{};
  const blkown::Segment segment{bytes, sizeof bytes};
  EXPECT(segment.part(1, 9).length_bytes == 3 && segment.part(9, 1).empty());
}

void use_idle(TagSet& set, Sink& sink) {
  blkown::TagCache cache = set.tag_cache(QueueIndex{0});
  blkown::TagCache other = set.tag_cache(QueueIndex{0}, 4);
  Idle idle = *set.allocate(QueueIndex{0}, cache);
  EXPECT(idle.queue() == QueueIndex{0} && idle.tag() == idle.header().tag());
  idle.data().sectors = 1;
  Idle moved{std::move(idle)};
  std::move(moved).fail(Status::medium_error);
  Ended ended = sink.last();
  EXPECT(ended.status() == Status::medium_error && !ended.is_requeue() &&
         ended.queue() == QueueIndex{0});
  EXPECT(ended.data().sectors == 1 && ended.tag().value < 8);
  std::move(ended).release(cache);
  EXPECT(cache.size() <= cache.capacity() && cache.queue() == QueueIndex{0});
  cache.flush();
  cache = std::move(other);
  EXPECT(!set.allocate_reserved(QueueIndex{0}).has_value());  // no reserved tags
  EXPECT(set.taken_count(QueueIndex{0}) + set.free_count(QueueIndex{0}) == set.depth());
  EXPECT(!set.state_of(QueueIndex{1}, Tag{7}).has_value());

  Idle::from_raw((*set.allocate_tag(QueueIndex{1}, Tag{7})).into_raw()).requeue();
  Owned owned = sink.last().into_idle().start();
  Owned assigned = start(set, 1, 6);
  std::move(assigned).end_ok();
  assigned = std::move(owned);
  Owned::from_raw(std::move(assigned).into_raw()).end(Status::no_space);
  start(set, 0, 1).requeue();
  {
    const auto dropped = set.allocate_tag(QueueIndex{0}, Tag{2});
  }
  EXPECT(reports == 1);
  const auto wait = set.announce_demand(QueueIndex{0});
  sink.kept = EndedList{};
}

void use_owned(TagSet& set, Sink& sink) {
  Doorbell doorbell;
  Owned owned = start(set, 0, 3);
  owned.data().sectors = 2;
  EXPECT(owned.queue() == QueueIndex{0} && owned.tag() == Tag{3} && owned.header().tag() == Tag{3});
  const Cookie next = owned.next_cookie();
  EXPECT(owned.cookie() != next);
  std::move(owned).publish(doorbell);
  EXPECT(doorbell.rung == next && set.in_flight() == 1);

  ARef pin = *set.tag_to_rq(QueueIndex{0}, next.value);
  ARef copy = pin;
  EXPECT(copy.data().sectors == 2 && copy.tag() == Tag{3} && copy.queue() == QueueIndex{0});
  EXPECT(copy.generation() == next.generation && copy.header().tag() == Tag{3});
  EXPECT(set.tag_to_owned(QueueIndex{0}, next.value).error().reason == LookupReason::shared);
  auto refused = Owned::try_from_shared(std::move(copy));
  EXPECT(!drop_or_own(std::move(refused.error())).has_value());
  pin = ARef::from_raw(std::move(pin).into_raw());
  {
    const ARef shared = (*drop_or_own(std::move(pin))).into_shared();
  }
  std::move(*set.tag_to_owned_any_generation(QueueIndex{0}, Tag{3})).park();
  auto only = set.tag_to_rq_any_generation(QueueIndex{0}, Tag{3});
  std::move(*Owned::try_from_shared(std::move(*only))).end_ok();
  static_cast<void>(sink.last());
}

void use_claim(TagSet& set, Sink& sink) {
  Doorbell doorbell;
  Claim claim = start(set, 0, 4).into_claim();
  claim.data().sectors = 3;
  EXPECT(claim.queue() == QueueIndex{0} && claim.tag() == Tag{4} && claim.header().tag() == Tag{4});
  EXPECT(claim.cookie() != claim.next_cookie());
  ARef pin = claim.pin();
  std::move(claim).publish(doorbell);
  const Cookie cookie = doorbell.rung;

  Claim completed = *set.claim(QueueIndex{0}, cookie.value);
  EXPECT(set.claim(QueueIndex{0}, cookie.value).error().reason == LookupReason::claimed);
  Claim::from_raw(std::move(completed).into_raw()).release();
  (*blkown::claim(pin, cookie)).release();
  EXPECT(blkown::claim(pin, Cookie{}).error().reason == LookupReason::no_such_tag);
  auto by_pin = try_claim(ARef{pin}, cookie);
  auto pinned = std::move(*by_pin).into_owned();
  EXPECT(!pinned.has_value());
  Claim last{std::move(pinned.error())};
  std::move(last).end(Status::timed_out);
  EXPECT(sink.kept.empty());
  {
    const ARef dropped{std::move(pin)};
  }
  EXPECT(sink.last().status() == Status::timed_out);

  start(set, 0, 4).into_claim().requeue();
  EXPECT(sink.last().is_requeue());
  Claim dropped = start(set, 0, 4).into_claim();
  dropped = start(set, 0, 5).into_claim();
  std::move(*std::move(dropped).into_owned()).end_ok();
  EXPECT(reports == 2);
  sink.kept = EndedList{};
}

void use_refused_publish(TagSet& set, Sink& sink) {
  const DeadDoorbell dead;
  auto refused = start(set, 1, 0).publish(dead);
  EXPECT(!refused.has_value() && refused.error().error == 5);
  auto again = std::move(*refused.error().claim).publish(dead);
  std::move(*again.error().claim).end_ok();
  EXPECT(sink.last().status() == Status::ok);
}

void use_scan(TagSet& set, Sink& sink) {
  Doorbell doorbell;
  start(set, 1, 2).publish(doorbell);
  start(set, 1, 5).publish(doorbell);
  set.for_each_in_flight(QueueIndex{1}, [](BLKOWN_HELD const ARef& pin, const Cookie& cookie) {
    (*blkown::claim(pin, cookie)).end(Status::aborted);
  });
  EndedList list;
  list.append(std::move(sink.kept));
  list.push_back(*list.pop_front());
  EXPECT(list.pop_front()->tag() == Tag{5} && !list.empty());
  start(set, 1, 6).publish(doorbell);
  EXPECT(set.claim(QueueIndex{0}, doorbell.rung.value).error().reason == LookupReason::wrong_queue);
  std::move(*set.claim_any_generation(QueueIndex{1}, Tag{6})).end_ok();
  static_cast<void>(sink.last());
}

void use_foreign_request() {
  using Set = blkown::TagSet<foreign_request>;
  alignas(Set::storage_alignment_bytes()) static std::byte storage[8192];
  auto build = [](QueueIndex, Tag tag) {
    return foreign_request{.header = {}, .opcode = static_cast<int>(tag.value)};
  };
  auto made = Set::create_in(storage, config, blkown::EndSink<foreign_request>::freeing(), build);
  EXPECT(made.has_value());
  if (!made.has_value()) return;
  Set set{std::move(*made)};
  auto owned = (*set.allocate_tag(QueueIndex{1}, Tag{3})).start();
  EXPECT(owned.data().opcode == 3);
  std::move(owned).end_ok();
}

void use_counted_object() {
  static_assert(blkown::OwnableRefCounted<Device>);
  Device device;
  auto owned = blkown::Owned<Device>::from_raw(&device);
  auto first = std::move(owned).into_shared();
  {
    const auto second = first;
    EXPECT(second->references == 2 && &*second == &device);
  }
  auto again = blkown::Owned<Device>::try_from_shared(std::move(first));
  EXPECT(again.has_value() && (*again)->references == 0);
}

void use_errors() {
  alignas(TagSet::storage_alignment_bytes()) static std::byte storage[64];
  auto sink = blkown::EndSink<Request>::freeing();
  EXPECT(TagSet::create_in(storage, config, sink).error().reason ==
         blkown::TagSetReason::storage_too_small);
  auto too_wide = config;
  too_wide.layout.generation.bits = 64;
  EXPECT(TagSet::create_in(storage, too_wide, sink).error().reason ==
         blkown::TagSetReason::field_outside_width);
}

#if __STDC_HOSTED__
// A hosted environment has a heap, so the TagSet allocates.
void use_heap() {
  auto made = TagSet::create(config, blkown::EndSink<Request>::freeing());
  EXPECT(made.has_value());
  if (made.has_value()) start(*made, 1, 1).end_ok();
}
#else
void use_heap() {}
#endif

}  // namespace

int CORE::use() {
  alignas(TagSet::storage_alignment_bytes()) static std::byte storage[16384];
  const auto report_handler = blkown::set_report_handler(&count_report);
  const auto violation_handler = blkown::set_violation_handler(&ignore_violation);
  wrong_line = reports = 0;
  use_values();
  use_errors();
  use_counted_object();
  use_foreign_request();
  use_heap();
  {
    Sink sink;
    EXPECT(TagSet::storage_bytes(config) <= sizeof storage);
    auto made = TagSet::create_in(storage, config, blkown::EndSink<Request>::to(sink));
    EXPECT(made.has_value());
    if (!made.has_value()) return wrong_line;
    TagSet set{std::move(*made)};
    EXPECT(set.queue_count() == 2 && set.depth() == 8 && set.layout() == config.layout);
    use_idle(set, sink);
    use_owned(set, sink);
    use_claim(set, sink);
    use_refused_publish(set, sink);
    use_scan(set, sink);
    EXPECT(set.in_flight() == 0 && sink.kept.empty());
  }
  blkown::set_report_handler(report_handler);
  blkown::set_violation_handler(violation_handler);
  return wrong_line;
}

#define TEXT_OF(macro) TEXT_OF_EXPANDED(macro)
#define TEXT_OF_EXPANDED(text) #text
const char* CORE::abi() { return TEXT_OF(BLKOWN_ABI); }
