// SPDX-License-Identifier: BSL-1.0
//
// An execution as text: its choices as a string that can be replayed, and one line per step.
//
// A choice is the number of the thread, followed by the number of the store that it reads if there
// was a choice: "1 2 1r3 2f0 1s2" is a write by thread 1, one by thread 2, a load by thread 1 of
// store number 3 of its location, a CAS of thread 2 that fails on store 0, and a spurious failure.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_SCHEDULE_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_SCHEDULE_HPP

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "data.hpp"
#include "engine.hpp"

namespace model {

[[nodiscard]] inline char letter_of(OutcomeKind kind) noexcept {
  switch (kind) {
    case OutcomeKind::writes: return 'w';
    case OutcomeKind::reads: return 'r';
    case OutcomeKind::refused: return 'f';
    case OutcomeKind::spurious: return 's';
  }
  return '?';
}

/// The steps of the setup and of finish() belong to thread 0 and are no choices.
[[nodiscard]] inline std::string choices_of(const std::vector<Step>& steps) {
  std::string text;
  for (const Step& step : steps) {
    if (step.chosen.thread == 0) continue;
    if (!text.empty()) text += ' ';
    text += std::to_string(unsigned{step.chosen.thread});
    if (step.chosen.kind != OutcomeKind::writes) {
      text += letter_of(step.chosen.kind) + std::to_string(step.chosen.store);
    }
  }
  return text;
}

/// The inverse of choices_of; none if the text is not such a string.
[[nodiscard]] inline std::optional<std::vector<WrittenChoice>> read_choices(const char* text) {
  std::vector<WrittenChoice> choices;
  while (*text != '\0') {
    if (*text == ' ') {
      ++text;
      continue;
    }
    WrittenChoice choice;
    if (*text < '1' || *text >= static_cast<char>('0' + max_threads)) return std::nullopt;
    choice.thread = static_cast<std::uint8_t>(*text++ - '0');
    if (*text == 'r' || *text == 'f' || *text == 's') {
      choice.kind = *text == 'r'   ? OutcomeKind::reads
                    : *text == 'f' ? OutcomeKind::refused
                                   : OutcomeKind::spurious;
      char* end = nullptr;
      choice.store = static_cast<std::uint16_t>(std::strtoul(text + 1, &end, 10));
      if (end == text + 1) return std::nullopt;
      text = end;
    }
    if (*text != ' ' && *text != '\0') return std::nullopt;
    choices.push_back(choice);
  }
  return choices;
}

[[nodiscard]] inline std::string value_text(const Location& location, std::uint64_t value) {
  char text[96];
  if (location.format != nullptr) {
    location.format(value, text, sizeof text);
  } else {
    std::snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(value));
  }
  return text;
}

[[nodiscard]] inline std::string step_text(const Step& step, const Location& location) {
  const char* how = "";
  std::memory_order order = step.op.order;
  if (step.chosen.kind == OutcomeKind::refused || step.chosen.kind == OutcomeKind::spurious) {
    how = step.chosen.kind == OutcomeKind::refused ? " fails" : " fails spuriously";
    order = step.op.failure_order;
  }
  std::string effect = value_text(location, step.result.seen);
  if (step.result.wrote) effect += " -> " + value_text(location, step.result.written);
  const std::string name = location.name != nullptr
                               ? location.name
                               : "atomic " + std::to_string(unsigned{step.op.location});
  char line[512];
  std::snprintf(line, sizeof line, "  %u  %-22s %s%s %s: %s (store %u)  at %s\n",
                unsigned{step.chosen.thread}, name.c_str(), to_string(step.op.kind), how,
                to_string(order), effect.c_str(), unsigned{step.chosen.store},
                to_string(step.op.place).c_str());
  return line;
}

/// One line per step: thread, atomic, operation, order, the value read, and the value written.
[[nodiscard]] inline std::string schedule_of(const std::vector<Step>& steps, Memory& memory) {
  std::string text;
  for (const Step& step : steps) text += step_text(step, memory.location(step.op.location));
  return text;
}

}  // namespace model

#endif
