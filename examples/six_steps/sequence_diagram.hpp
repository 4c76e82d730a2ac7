// SPDX-License-Identifier: BSL-1.0
//
// A sequence diagram in ASCII. Each party has a lifeline. Each step is an arrow; the line below it
// shows what the parties hold after the step.

#ifndef SIX_STEPS_SEQUENCE_DIAGRAM_HPP
#define SIX_STEPS_SEQUENCE_DIAGRAM_HPP

#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

template <std::size_t Parties>
class SequenceDiagram {
 public:
  using Row = std::array<std::string, Parties>;

  /// Prints the parties' names, and `margin` as the head of the column beside the diagram.
  SequenceDiagram(const Row& names, std::string_view margin) {
    std::string line(width, ' ');
    for (std::size_t i = 0; i != Parties; ++i) write(line, centre(i), names[i]);
    print(line, margin);
  }

  /// Prints a step of `actor`: an arrow to the party whose holdings changed, or a star if only the
  /// actor's changed. Then prints all holdings, with `margin` in the column beside them.
  void step(std::string_view what, std::size_t actor, const Row& holdings,
            std::string_view margin) {
    std::string action = lifelines();
    std::string holders = lifelines();
    std::size_t target = actor;
    for (std::size_t i = 0; i != Parties; ++i) {
      if (i != actor && holdings[i] != before_[i]) target = i;
      if (!holdings[i].empty()) write(holders, centre(i), " " + holdings[i] + " ");
    }
    before_ = holdings;
    if (target == actor) {
      const std::string star = "* " + std::string{what};
      action.replace(centre(actor), star.size(), star);
    } else {
      draw_arrow(action, what, actor, target);
    }
    print(action, "");
    print(holders, margin);
  }

 private:
  static constexpr std::size_t spacing = 17;
  static constexpr std::size_t width = Parties * spacing + 2;

  static constexpr std::size_t centre(std::size_t party) { return party * spacing + spacing / 2; }

  static std::string lifelines() {
    std::string line(width, ' ');
    for (std::size_t i = 0; i != Parties; ++i) line[centre(i)] = '|';
    return line;
  }
  static void write(std::string& line, std::size_t middle, std::string_view text) {
    line.replace(middle - text.size() / 2, text.size(), text);
  }
  static void draw_arrow(std::string& line, std::string_view what, std::size_t from,
                         std::size_t to) {
    const std::size_t left = centre(from < to ? from : to) + 1;
    const std::size_t right = centre(from < to ? to : from) - 1;
    line.replace(left, right - left + 1, right - left + 1, '-');
    // The label is next to the actor: the parties that a long arrow passes take no part.
    write(line, from < to ? left + (spacing - 1) / 2 : right - (spacing - 1) / 2 + 1,
          ' ' + std::string{what} + ' ');
    if (from < to) {
      line[right] = '>';
    } else {
      line[left] = '<';
    }
  }
  static void print(std::string line, std::string_view margin) {
    line += margin;
    line.erase(line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  }

  Row before_;
};

#endif
