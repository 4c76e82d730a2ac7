# SPDX-License-Identifier: BSL-1.0
"""The protocol mutants of the model tests: each undoes one step of the protocol.

Mutant(name, file, function, old, new) replaces OLD by NEW in the body of FUNCTION (None: anywhere) of
include/blkown/FILE. OLD must occur there exactly once. White space in OLD matches any white space,
and comments in the file are ignored. A second change of the same file is in `also`, as another
(function, old, new).
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    function: str | None
    old: str
    new: str
    also: tuple[str | None, str, str] | None = None
    order: bool = False  # a weakened order: it must show in the data, not as an unordered store


WORD = "detail/ref_word.hpp"
VALUE = "detail/ref_value.hpp"
BITMAP = "detail/tag_bitmap.hpp"
CACHE = "tag_cache.hpp"
CONTEXT = "mq/context.hpp"
STACK = "mq/detail/request_stack.hpp"
GATE = "mq/detail/call_gate.hpp"
WATCH = "mq/detail/publication_watch.hpp"
TIMER = "mq/timer.hpp"
TIMER_QUEUE = "mq/detail/timer_queue.hpp"
MAPPING = "dma/detail/mapping_state.hpp"
RELAXED = "std::memory_order_relaxed"
ACQUIRE = "std::memory_order_acquire"
RELEASE = "std::memory_order_release"


def shared_orders():
    """Orders that serve several transitions: one mutant for each transition."""
    for function in ("publish_claim", "release_claim", "claim_into_owned", "end_claim"):
        yield Mutant(
            f"{function}: its load acquires nothing", WORD, function,
            "load_claim(seen);", f"seen.bits = word_.load({RELAXED});")
    for function in ("claim", "take_back"):
        yield Mutant(
            f"{function}: its exchange acquires nothing", WORD, function,
            "try_take_right(seen)",
            "word_.compare_exchange_weak(seen.bits, seen.with_state(seen.count() == 1 ?"
            " Value::owned_flag : static_cast<W>(Value::claimed_flag | (seen.count() + 1))).bits,"
            f" {RELAXED}, {RELAXED})")
    for name, test in (("claim_with_ref", "added == 0"), ("claim_beside_ref", "added == 1")):
        yield Mutant(
            f"{name}: its exchange acquires nothing", WORD, "claim_counted",
            ACQUIRE, f"{test} ? {RELAXED} : {ACQUIRE}")
    for name, test in (("park_owned", "count == 1"), ("into_shared", "count == 2")):
        yield Mutant(
            f"{name}: its store releases nothing", WORD, "publish_owned",
            RELEASE, f"{test} ? {RELAXED} : {RELEASE}")
    for function in ("end_claim", "drop_ref"):
        yield Mutant(
            f"{function}: no acquire after the last drop", WORD, function,
            "complete_end();", "make_idle(seen);")
    yield Mutant(
        "give: frees a tag without a release", BITMAP, "give",
        "give_run(line_of(tag), bit_of(tag))",
        "((lines_[line_of(tag)].taken.fetch_and(static_cast<Word>(~bit_of(tag)),"
        f" {RELAXED}) & bit_of(tag)) != 0)")
    yield Mutant(
        "TagCache: gives tags back without a release", BITMAP, "give",
        "give_run(line_of(tag), bit_of(tag))",
        f"((lines_[line_of(tag)].taken.fetch_and(static_cast<Word>(~bit_of(tag)), {RELEASE})"
        " & bit_of(tag)) != 0)",
        also=("give_run", RELEASE, RELAXED))


def generations():
    yield Mutant(
        "a lookup does not compare the generation", VALUE, None,
        "if (!match.accepts(value)) {", "if (false) {")
    yield Mutant(
        "an Owned's publication keeps the generation", WORD, "publish_owned",
        "seen.next_with_state(count)", "seen.with_state(count)")
    yield Mutant(
        "a Claim's publication alone keeps the generation", WORD, "publish_claim",
        "seen.next_with_state(1)", "seen.with_state(1)")
    yield Mutant(
        "a Claim's publication with pins keeps the generation", WORD, "publish_claim",
        "Value::one_generation - Value::claimed_flag - 1", "0 - Value::claimed_flag - 1")
    yield Mutant(
        "release alone advances the generation", WORD, "release_claim",
        "seen.with_state(1)", "seen.next_with_state(1)")
    yield Mutant(
        "release with pins advances the generation", WORD, "release_claim",
        "Value::claimed_flag + 1", "Value::claimed_flag + 1 - Value::one_generation")
    yield Mutant(
        "take_back compares one bit of the generation, as a layout may", WORD, "take_back",
        "Match::exactly(published)", "Match::low_bits(published, 1)")
    yield Mutant(
        "take_back compares no generation", WORD, "take_back",
        "Match::exactly(published)", "(static_cast<void>(published), Match::any())")
    yield Mutant(
        "try_claim of a pin compares no generation", "claim.hpp", "try_claim",
        "GenerationMatch<Word>::exactly(cookie.generation)", "GenerationMatch<Word>::any()")
    yield Mutant(
        "claim beside a pin compares no generation", "claim.hpp", "claim",
        "GenerationMatch<Word>::exactly(cookie.generation)", "GenerationMatch<Word>::any()")


def lookups():
    yield Mutant(
        "tag_to_rq adds blindly, and backs out", WORD, "tag_to_rq",
        "if (word_.compare_exchange_weak(bits, static_cast<W>(bits + 1),"
        f" {ACQUIRE}, {RELAXED})) {{ return LookupReason::none; }}",
        f"""seen.bits = word_.fetch_add(1, {ACQUIRE});
            const LookupReason now = lookup_refusal(seen, match);
            if (now != LookupReason::none) word_.fetch_sub(1, {RELEASE});
            return now;""")
    yield Mutant(
        "a lookup does not refuse an owned word as such", VALUE, None,
        "if (value.owned()) return LookupReason::owned;", "")
    yield Mutant(
        "a lookup takes an owned word for a parked one", VALUE, None,
        "if (value.owned()) return LookupReason::owned;"
        " if (value.count() == 0) return LookupReason::idle;",
        "if (value.count() == 0 && !value.owned()) return LookupReason::idle;")
    yield Mutant(
        "a lookup writes at 0", VALUE, None,
        "if (value.count() == 0) return LookupReason::idle;", "")
    yield Mutant(
        "a lookup does not refuse a claimed word", VALUE, None,
        "value.claimed() || value.finished()", "value.finished()")
    yield Mutant(
        "a lookup does not refuse a finished word", VALUE, None,
        "value.claimed() || value.finished()", "value.claimed()")
    yield Mutant(
        "a lookup does not refuse 1 finished", VALUE, None,
        "value.claimed() || value.finished()",
        "value.claimed() || (value.finished() && value.count() != 1)")
    yield Mutant(
        "a lookup has no limit", VALUE, None,
        "if (value.count() >= RefValue<W>::count_limit) return LookupReason::saturated;", "")
    for function, reads in (("tag_to_rq", "seen.bits = bits;"),
                            ("tag_to_owned", "seen.bits = bits;"), ("claim", "")):
        yield Mutant(
            f"{function} does not test again after a failed exchange", WORD, function,
            f"while (true) {{ {reads} const LookupReason reason = lookup_refusal(seen, match);",
            f"for (bool again = false;; again = true) {{ {reads} const LookupReason reason ="
            " again ? LookupReason::none : lookup_refusal(seen, match);")
    yield Mutant(
        "a lookup's first look takes an idle word", VALUE, None,
        "static_cast<W>(value.state() - 1) < RefValue<W>::count_limit - 1",
        "value.state() < RefValue<W>::count_limit")
    yield Mutant(
        "a lookup's first look compares no generation", VALUE, None,
        "countable && match.accepts(value)", "countable")
    yield Mutant(
        "tag_to_owned takes a shared request", WORD, "tag_to_owned",
        "if (seen.count() != 1) return LookupReason::shared;", "")
    yield Mutant(
        "claim with pins counts no reference", WORD, "try_take_right",
        "seen.state() + 1", "seen.state()")
    yield Mutant(
        "take_back is refused at the limit", WORD, "take_back",
        "reason != LookupReason::none && reason != LookupReason::saturated",
        "reason != LookupReason::none")
    for function, new in (
            ("tag_to_rq", "static_cast<W>(bits + 1)"),
            ("tag_to_owned", "seen.with_state(Value::owned_flag).bits"),
            ("try_take_right", "seen.with_state(state).bits"),
            ("claim_counted", "seen.with_state(state).bits")):
        yield Mutant(
            f"{function} stores instead of a compare-exchange", WORD, function,
            f"word_.compare_exchange_weak(bits, {new}, {ACQUIRE}, {RELAXED})",
            f"(static_cast<void>(word_.load({ACQUIRE})), word_.store({new}, {RELEASE}), true)")


def references():
    yield Mutant(
        "a clone has no limit", WORD, "add_ref",
        "return seen.count() >= Value::count_limit ? RefResult::overflow : RefResult::done;",
        "return RefResult::done;")
    yield Mutant(
        "a clone loads and stores", WORD, "add_ref",
        f"word_.fetch_add(1, {RELAXED});",
        f"word_.load({RELAXED}); word_.store(seen.bits + 1, {RELAXED});")
    yield Mutant(
        "a drop loads and stores", WORD, "drop_ref",
        f"word_.fetch_sub(1, {RELEASE});",
        f"word_.load({RELAXED}); word_.store(seen.bits - 1, {RELEASE});")
    yield Mutant(
        "a drop to 1 completes what has not ended", WORD, "drop_ref",
        "if (!seen.finished()) return RefResult::done;", "")
    yield Mutant(
        "the last drop does not complete the end", WORD, "drop_ref",
        "if (!seen.finished()) return RefResult::done;", "return RefResult::done;")
    yield Mutant(
        "try_from_shared does not require count 2", WORD, "try_from_shared",
        "seen.state() != 2", "seen.count() < 2 || seen.finished()")
    yield Mutant(
        "try_from_shared takes a finished word", WORD, "try_from_shared",
        "seen.state() != 2", "seen.count() != 2")
    yield Mutant(
        "try_from_shared fails spuriously", WORD, "try_from_shared",
        "compare_exchange_strong", "compare_exchange_weak")
    yield Mutant(
        "try_from_shared stores instead of a compare-exchange", WORD, "try_from_shared",
        "word_.compare_exchange_strong(bits, seen.with_state(Value::owned_flag).bits,"
        f" {ACQUIRE}, {RELAXED})",
        f"(static_cast<void>(word_.load({ACQUIRE})),"
        f" word_.store(seen.with_state(Value::owned_flag).bits, {RELAXED}), true)")
    yield Mutant(
        "drop_or_own takes a finished word", WORD, "drop_or_own",
        "} else if (seen.finished()) {", "} else if (false) {")
    yield Mutant(
        "drop_or_own never takes", WORD, "drop_or_own",
        "if (seen.count() > 2) {", "if (seen.count() > 2 || !seen.finished()) {")
    yield Mutant(
        "drop_or_own takes at 3", WORD, "drop_or_own",
        "if (seen.count() > 2) {", "if (seen.count() > 3) {")
    yield Mutant(
        "try_claim keeps its pin's reference beside the Claim's", WORD, "claim_with_ref",
        "claim_counted(match, 0, seen)", "claim_counted(match, 1, seen)")
    yield Mutant(
        "claim beside a pin counts no reference", WORD, "claim_beside_ref",
        "claim_counted(match, 1, seen)", "claim_counted(match, 0, seen)")
    yield Mutant(
        "claim beside a pin has no limit", WORD, "claim_counted",
        "reason == LookupReason::saturated && added == 0", "reason == LookupReason::saturated")
    yield Mutant(
        "try_claim is refused at the limit", WORD, "claim_counted",
        "reason == LookupReason::saturated && added == 0", "false")


def claims():
    yield Mutant(
        "the first pin of a Claim gives 2", WORD, "claim_pin",
        "Value::claimed_flag | 3", "Value::claimed_flag | 2")
    yield Mutant(
        "a Claim's further pin loads and stores", WORD, "claim_pin",
        f"word_.fetch_add(1, {RELAXED});",
        f"word_.load({RELAXED}); word_.store(seen.bits + 1, {RELAXED});")
    yield Mutant(
        "a Claim with a pin counts as alone", VALUE, "alone",
        "state() == (claimed_flag | 2)", "(claimed() && count() <= 3)")
    yield Mutant(
        "into_owned ignores pins", WORD, "claim_into_owned",
        "if (!seen.alone()) return seen.held_by_claim() ? ClaimResult::pinned :"
        " ClaimResult::not_claimed;", "")
    yield Mutant(
        "publication with pins leaves claimed", WORD, "publish_claim",
        "Value::one_generation - Value::claimed_flag - 1", "Value::one_generation - 1")
    yield Mutant(
        "publication with pins stores", WORD, "publish_claim",
        f"word_.fetch_add(step, {RELEASE})",
        f"word_.load({RELAXED}); word_.store(seen.bits + step, {RELEASE})")
    yield Mutant(
        "release with pins leaves claimed", WORD, "release_claim",
        "Value::claimed_flag + 1", "1")
    yield Mutant(
        "release with pins stores", WORD, "release_claim",
        f"word_.fetch_sub(Value::claimed_flag + 1, {RELEASE})",
        f"word_.load({RELAXED}); word_.store(seen.bits - Value::claimed_flag - 1, {RELEASE})")
    yield Mutant(
        "the end with pins leaves claimed", WORD, "end_claim",
        "Value::finished_flag - Value::claimed_flag - 1", "Value::finished_flag - 1")
    yield Mutant(
        "the end with pins does not set finished", WORD, "end_claim",
        "Value::finished_flag - Value::claimed_flag - 1", "0 - Value::claimed_flag - 1")
    yield Mutant(
        "the end with pins stores", WORD, "end_claim",
        f"word_.fetch_add(step, {RELEASE})",
        f"word_.load({RELAXED}); word_.store(seen.bits + step, {RELEASE})")
    yield Mutant(
        "the end does not notice that the last pin was dropped", WORD, "end_claim",
        "if (seen.count() != 2) return ClaimResult::pinned;", "return ClaimResult::pinned;")
    yield Mutant(
        "the end leaves the flags", WORD, "store_idle",
        "seen.with_state(0)", "seen.with_state(seen.state() & ~Value::count_mask)")


def publications():
    for file, handle, step in (
            ("owned.hpp", "Owned",
             'if (!detail::word_of(request).park_owned(seen)) [[unlikely]]'
             ' { violate(request, seen, "Owned::publish", where); }'),
            ("claim.hpp", "Claim",
             'const detail::ClaimResult step = detail::word_of(request).publish_claim(seen);'
             ' check(step, request, seen, "Claim::publish", where);')):
        yield Mutant(
            f"{handle}::publish issues before it is visible", file, "publish",
            f"{step} const Cookie cookie ="
            " detail::cookie_of(request, seen.next_generation());",
            f"""if constexpr (std::is_void_v<detail::PublishResultOf<R, Issue>>) {{
                  issue(detail::cookie_of(request,
                                          detail::word_of(request).peek().next_generation()));
                  {step}
                  return;
                }}
                {step}
                const Cookie cookie = detail::cookie_of(request, seen.next_generation());""")
    yield Mutant(
        "a refused publication takes nothing back", "publish.hpp", "issue_published",
        "take_back(request, cookie.generation, where)", "std::nullopt")
    yield Mutant(
        "a refused publication does not check whether it was taken", "publish.hpp", "take_back",
        "if (!word_of(request).take_back(published, seen)) return std::nullopt;",
        "static_cast<void>(word_of(request).take_back(published, seen));")


def tags():
    yield Mutant(
        "take loads and stores", BITMAP, "take",
        f"line(tag).taken.fetch_or(bit, {ACQUIRE})",
        "[&] { const Word before = line(tag).taken.load(" + ACQUIRE + ");"
        f" line(tag).taken.store(before | bit, {RELAXED}); return before; }}()")
    yield Mutant(
        "take_of stores instead of a compare-exchange", BITMAP, "take_of",
        f"word.compare_exchange_weak(seen, seen | wanted, {ACQUIRE}, {RELAXED})",
        f"(static_cast<void>(word.load({ACQUIRE})),"
        f" word.store(seen | wanted, {RELAXED}), true)")
    yield Mutant(
        "give_run loads and stores", BITMAP, "give_run",
        f"lines_[line_index].taken.fetch_and(static_cast<Word>(~mask), {RELEASE})",
        f"lines_[line_index].taken.load({RELAXED});"
        f" lines_[line_index].taken.store(before & ~mask, {RELEASE})")
    yield Mutant(
        "take does not check whether the tag was free", BITMAP, "take",
        "& bit) == 0", "& bit) != bit || true")
    yield Mutant(
        "a TagCache keeps a released tag though a context waits", CACHE, "give_slowly",
        "capacity_ == 0 || bitmap_->has_demand()", "capacity_ == 0")
    yield Mutant(
        "a TagCache keeps its tags though a context waits", CACHE, "take_slowly",
        "if (bitmap_->has_demand()) flush();", "")
    yield Mutant(
        "a TagCache gives back only the new tag though a context waits", CACHE, "give_slowly",
        "if (has_demand) flush();", "")


def contexts():
    yield Mutant(
        "a post of work that is in the inbox releases nothing", CONTEXT, "post",
        "work.is_in_inbox_.exchange(true, std::memory_order_acq_rel)",
        f"work.is_in_inbox_.exchange(true, {ACQUIRE})", order=True)
    yield Mutant(
        "a run does not acquire the writes before a post", CONTEXT, "pull_posted",
        "pulled.is_in_inbox_.exchange(false, std::memory_order_acq_rel)",
        f"pulled.is_in_inbox_.exchange(false, {RELEASE})", order=True)
    yield Mutant(
        "pull takes work out of the inbox by a store", CONTEXT, "pull_posted",
        "pulled.is_in_inbox_.exchange(false, std::memory_order_acq_rel)",
        f"pulled.is_in_inbox_.store(false, {RELEASE})", order=True)
    yield Mutant(
        "pull leaves work marked as being in the inbox", CONTEXT, "pull_posted",
        "pulled.is_in_inbox_.exchange(false, std::memory_order_acq_rel);", "")
    yield Mutant(
        "a post does not wake a sleeping context", CONTEXT, "post",
        "if (top == &asleep_) hooks_.wake(hooks_.runtime, index_);", "")
    yield Mutant(
        "a context falls asleep despite a post", CONTEXT, "fall_asleep",
        "top == &asleep_", "true")
    yield Mutant(
        "a context sleeps without a mark", CONTEXT, "fall_asleep",
        "inbox_.compare_exchange_strong(top, &asleep_, std::memory_order_relaxed,"
        " std::memory_order_relaxed)",
        f"(top = inbox_.load({RELAXED})) == nullptr")
    yield Mutant(
        "a closed gate lets calls in", GATE, "enter",
        "if ((seen & closed) != 0 && is_refused(seen)) return false;", "")
    yield Mutant(
        "a refused call tells the gate nothing", GATE, "is_refused",
        f"seen = state_.fetch_or(0, {RELEASE});", f"seen = state_.load({RELAXED});")
    yield Mutant(
        "a call in a gate is not counted", GATE, "enter", "seen + one_call", "seen")
    yield Mutant(
        "a publication is named before its time is written", WATCH, "see",
        f"time_ms_.store(time_ms, {RELAXED}); generation_.store(generation.value, {RELEASE});",
        f"generation_.store(generation.value, {RELEASE}); time_ms_.store(time_ms, {RELAXED});")
    yield Mutant(
        "a time is read before the publication that it belongs to", WATCH, "time_ms_of",
        f"if (generation_.load({ACQUIRE}) != generation.value) return std::nullopt;",
        f"const std::uint32_t early_ms = time_ms_.load({RELAXED});"
        f" if (generation_.load({ACQUIRE}) != generation.value) return std::nullopt;"
        " return early_ms;")
    yield Mutant(
        "push decides by its first look whether the stack was empty", STACK, "push_linked",
        "R* top = top_.load(std::memory_order_relaxed);",
        f"R* top = top_.load({RELAXED}); const bool was_empty = top == nullptr;",
        also=("push_linked", "return top == nullptr;", "return was_empty;"))
    yield Mutant(
        "the ring of pushed requests is not closed", STACK, "take_all",
        "Link::set_next(*taken.newest, taken.oldest);",
        "Link::set_next(*taken.newest, taken.newest);")


def timers():
    yield Mutant(
        "a firing timer is disarmed before its handle is taken", TIMER, None,
        "std::optional<Handle> handle = self.take();",
        "self.disarm(); std::optional<Handle> handle = self.take();")
    yield Mutant(
        "a cancelled timer is disarmed before its handle is taken", TIMER, "cancel_node",
        "take(); disarm();", "disarm(); take();")
    yield Mutant(
        "the disarm of a timer releases nothing", TIMER_QUEUE, "disarm",
        RELEASE, RELAXED, order=True)
    yield Mutant(
        "a cancel that finds no armed timer acquires nothing", TIMER, "cancel_node",
        f"armed_on.load({ACQUIRE})", f"armed_on.load({RELAXED})", order=True)


def mappings():
    yield Mutant(
        "a mapping's state is changed by a load and a store", MAPPING, "change",
        "return word_.compare_exchange_strong(expected, word(serial, to), order,"
        " std::memory_order_relaxed);",
        f"if (word_.load({ACQUIRE}) != expected) return false;"
        f" word_.store(word(serial, to), {RELEASE}); return true;")
    yield Mutant(
        "a list's mappings have one serial number", MAPPING, "prepare",
        "(word_.load(std::memory_order_relaxed) >> 2) + 1", "1")
    yield Mutant(
        "a mapping is taken whatever its state", MAPPING, "change",
        "Word expected = word(serial, from);",
        "Word expected = word_.load(std::memory_order_relaxed);")
    yield Mutant(
        "a leaked mapping is looked for only under its request's last pin", VALUE,
        "end_awaits_pins", "count() >= 2", "count() == 2")


def all_mutants():
    for mutant in shared_orders():
        yield replace(mutant, order=True)
    for group in (generations, lookups, references, claims, publications, tags, contexts,
                  timers, mappings):
        yield from group()
