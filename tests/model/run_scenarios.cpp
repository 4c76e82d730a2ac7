// SPDX-License-Identifier: BSL-1.0
//
// Runs scenarios to exhaustion and prints how many executions each has; see --help.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "scenarios/scenario.hpp"

namespace {

constexpr const char* usage =
    "Usage: model_scenarios [--theme THEME] [--scenario NAME] [OPTION]...\n"
    "\n"
    "Runs every scenario, or those of a theme, or one, in all ways in which its threads' atomic\n"
    "operations can follow each other and turn out. Exit status 0: each to exhaustion, no "
    "failure.\n"
    "\n"
    "  --list             print theme and name of each scenario, and run none\n"
    "  --themes           print the themes, one per line\n"
    "  --replay CHOICES   with --scenario: run one execution and print its schedule; CHOICES is "
    "what\n"
    "                     a failure printed, '' the first one\n"
    "  --first-failure    stop at the first scenario that fails, and print no table; the beginning "
    "of\n"
    "                     each scenario comes before the rest of the long ones\n"
    "  --no-store-check   allow plain stores that are not ordered after the write they follow\n";

struct Wanted {
  std::string theme;
  std::string scenario;
  const char* replay = nullptr;
  bool list = false;
  bool themes = false;
  bool first_failure = false;
  model::Options options;

  [[nodiscard]] bool has(const Scenario& candidate) const {
    return (theme.empty() || candidate.theme == theme) &&
           (scenario.empty() || candidate.name == scenario);
  }
};

[[noreturn]] void refuse(const std::string& why) {
  std::fprintf(stderr, "model_scenarios: %s; see --help\n", why.c_str());
  std::exit(2);
}

Wanted read_arguments(int argc, char** argv) {
  Wanted wanted;
  wanted.options.stores_are_ordered = true;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> const char* {
      if (i + 1 == argc) refuse(option + " needs a value");
      return argv[++i];
    };
    if (option == "--help" || option == "-h") {
      std::fputs(usage, stdout);
      std::exit(0);
    } else if (option == "--theme") {
      wanted.theme = value();
    } else if (option == "--scenario") {
      wanted.scenario = value();
    } else if (option == "--replay") {
      wanted.replay = value();
    } else if (option == "--list") {
      wanted.list = true;
    } else if (option == "--themes") {
      wanted.themes = true;
    } else if (option == "--first-failure") {
      wanted.first_failure = true;
    } else if (option == "--no-store-check") {
      wanted.options.stores_are_ordered = false;
    } else {
      refuse("cannot use '" + option + "'");
    }
  }
  return wanted;
}

void print_failure(const Scenario& scenario, const model::Exploration& found) {
  std::printf("FAILED %s: %s\n%s  replay: --scenario '%s' --replay '%s'\n", scenario.name.c_str(),
              found.message.c_str(), found.schedule.c_str(), scenario.name.c_str(),
              found.choices.c_str());
}

int run_replay(const Wanted& wanted, const Scenario& scenario) {
  const auto choices = model::read_choices(wanted.replay);
  if (!choices) refuse(std::string{"'"} + wanted.replay + "' is not a string of choices");
  const model::Exploration found = model::replay(scenario.program, wanted.options, *choices);
  std::printf("%s: %s\n%s", scenario.name.c_str(),
              found.failed ? found.message.c_str() : "no failure", found.schedule.c_str());
  return found.failed ? 1 : 0;
}

/// Returns whether a scenario fails. The beginning of each scenario runs first, because most
/// failures show there.
bool one_fails(const Wanted& wanted) {
  model::Options options = wanted.options;
  std::vector<const Scenario*> left;
  for (const Scenario& scenario : all_scenarios()) {
    if (wanted.has(scenario)) left.push_back(&scenario);
  }
  for (const std::uint64_t limit :
       {std::uint64_t{200}, std::uint64_t{20'000}, wanted.options.max_executions}) {
    options.max_executions = limit;
    std::vector<const Scenario*> unfinished;
    for (const Scenario* scenario : left) {
      const model::Exploration found = model::explore(scenario->program, options);
      if (found.at_limit && limit != wanted.options.max_executions) {
        unfinished.push_back(scenario);
      } else if (found.failed) {
        print_failure(*scenario, found);
        return true;
      }
    }
    left = std::move(unfinished);
  }
  return false;
}

int run_all(const Wanted& wanted) {
  std::uint64_t executions = 0;
  std::uint64_t cut = 0;
  std::uint64_t steps = 0;
  int scenarios = 0;
  int failures = 0;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto start = now();
  const auto print_row = [&](const std::string& name, std::uint64_t whole, std::uint64_t left,
                             std::uint64_t done, std::chrono::steady_clock::time_point since) {
    const std::chrono::duration<double> taken = now() - since;
    std::printf("%-64s %10llu %10llu %11llu %7.2f\n", name.c_str(),
                static_cast<unsigned long long>(whole), static_cast<unsigned long long>(left),
                static_cast<unsigned long long>(done), taken.count());
    std::fflush(stdout);
  };
  std::printf("%-64s %10s %10s %11s %7s\n", "scenario", "executions", "cut", "steps", "seconds");
  for (const Scenario& scenario : all_scenarios()) {
    if (!wanted.has(scenario)) continue;
    const auto scenario_start = now();
    const model::Exploration found = model::explore(scenario.program, wanted.options);
    ++scenarios;
    executions += found.executions;
    cut += found.cut;
    steps += found.steps;
    if (found.failed) {
      ++failures;
      print_failure(scenario, found);
    } else {
      print_row(scenario.theme + ": " + scenario.name, found.executions, found.cut, found.steps,
                scenario_start);
    }
  }
  if (scenarios == 0) refuse("no such theme or scenario");
  print_row(std::to_string(scenarios) + " scenarios, " + std::to_string(failures) + " failed",
            executions, cut, steps, start);
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const Wanted wanted = read_arguments(argc, argv);
  if (wanted.list || wanted.themes) {
    std::set<std::string> themes;
    for (const Scenario& scenario : all_scenarios()) {
      if (!wanted.has(scenario)) continue;
      if (wanted.list) std::printf("%s: %s\n", scenario.theme.c_str(), scenario.name.c_str());
      if (wanted.themes && themes.insert(scenario.theme).second) {
        std::printf("%s\n", scenario.theme.c_str());
      }
    }
    return 0;
  }
  if (wanted.replay != nullptr) {
    for (const Scenario& scenario : all_scenarios()) {
      if (!wanted.scenario.empty() && wanted.has(scenario)) return run_replay(wanted, scenario);
    }
    refuse("--replay needs the --scenario that the choices belong to");
  }
  if (wanted.first_failure) return one_fails(wanted) ? 1 : 0;
  return run_all(wanted);
}
