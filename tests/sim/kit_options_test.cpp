// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>

#include <blkown/sim/harness/kit_options.hpp>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace {

using blkown::sim::FaultKind;
using blkown::sim::FaultStrike;
using blkown::sim::KitOptions;
using blkown::sim::parse_options;
using Words = std::vector<std::string>;
using Script = std::vector<FaultStrike>;

/// The message about options that cannot be used, or an empty text.
std::string refusal(const Words& words) {
  testing::internal::CaptureStderr();
  const auto options = parse_options("the_program", words);
  const std::string printed = testing::internal::GetCapturedStderr();
  EXPECT_EQ(options.has_value(), printed.empty());
  return printed;
}

TEST(KitOptions, HaveDefaults) {
  const auto options = parse_options("the_program", {});
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->program, "the_program");
  EXPECT_EQ(options->seeds, 100U);
  EXPECT_EQ(options->first_seed, 0U);
  EXPECT_EQ(options->io_count, 1000U);
  EXPECT_FALSE(options->shrink);
  EXPECT_FALSE(options->has_script);
}

TEST(KitOptions, AreRead) {
  const auto options =
      parse_options("the_program", {"--seeds", "3", "--first-seed", "18446744073709551615",
                                    "--shrink", "--ios", "50", "--script", "lost@7,late@0"});
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->seeds, 3U);
  EXPECT_EQ(options->first_seed, ~std::uint64_t{0});
  EXPECT_EQ(options->io_count, 50U);
  EXPECT_TRUE(options->shrink);
  EXPECT_TRUE(options->has_script);
  EXPECT_EQ(options->script, (Script{{FaultKind::lost, 7}, {FaultKind::late, 0}}));
}

TEST(KitOptions, AnEmptyScriptIsNone) {
  const auto options = parse_options("the_program", {"--script", "none"});
  ASSERT_TRUE(options.has_value());
  EXPECT_TRUE(options->has_script);
  EXPECT_TRUE(options->script.empty());
}

// Goal: one line with the word that cannot be used, and the list of options.
TEST(KitOptions, UnusableOnesAreRefusedInOneLine) {
  const std::vector<std::pair<Words, std::string>> cases{
      {{"--seeds"}, "--seeds"},
      {{"--seeds", "many"}, "many"},
      {{"--seeds", "-1"}, "-1"},
      {{"--seeds", "7x"}, "7x"},
      {{"--seeds", ""}, ""},
      {{"--seeds", "0"}, "0"},
      {{"--seeds", "18446744073709551616"}, "18446744073709551616"},
      {{"--shrink", "--first-seed"}, "--first-seed"},
      {{"--first-seed", " 1"}, " 1"},
      {{"--ios", "0"}, "0"},
      {{"--ios", "1.5"}, "1.5"},
      {{"--script"}, "--script"},
      {{"--script", ""}, ""},
      {{"--script", "lost"}, "lost"},
      {{"--script", "lost@"}, "lost@"},
      {{"--script", "lost@x"}, "lost@x"},
      {{"--script", "lots@1"}, "lots@1"},
      {{"--script", "@1"}, "@1"},
      {{"--script", "lost@1,"}, "lost@1,"},
      {{"--script", ",lost@1"}, ",lost@1"},
      {{"--script", "lost@1,,late@1"}, "lost@1,,late@1"},
      {{"--script", "unknown kind@1"}, "unknown kind@1"},
      {{"--seed", "1"}, "--seed"},
      {{"1"}, "1"},
      {{"--seeds", "1", "--helper"}, "--helper"},
  };
  for (const auto& [words, wrong] : cases) {
    EXPECT_EQ(refusal(words), "the_program: cannot use '" + wrong +
                                  "'; options: --seeds N, --first-seed S, --ios N, --shrink,"
                                  " --script KIND@N,...\n");
  }
}

TEST(KitOptions, HelpIsAnOptionAmongOthers) {
  for (const Words& words : {Words{"--help"}, Words{"-h"}, Words{"--seeds", "3", "--help"}}) {
    const auto options = parse_options("the_program", words);
    ASSERT_TRUE(options.has_value());
    EXPECT_TRUE(options->help);
  }
  EXPECT_FALSE(parse_options("the_program", {"--seeds", "3"})->help);
}

// Goal: the help names each option with its default, and each kind of fault for a script.
TEST(KitOptions, HelpNamesEachOptionAndEachFault) {
  testing::internal::CaptureStdout();
  blkown::sim::print_help("the_program", stdout);
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_EQ(help.substr(0, help.find('\n')), "usage: the_program [OPTION]...");
  for (const char* const part : {"--seeds N ", "(100)", "--first-seed S ", "(0)", "--ios N ",
                                 "(1000)", "--script SCRIPT ", "--shrink ", "--help "}) {
    EXPECT_NE(help.find(part), std::string::npos) << part;
  }
  for (std::size_t kind = 0; kind != blkown::sim::fault_kind_count; ++kind) {
    const std::string name = to_string(static_cast<FaultKind>(kind));
    EXPECT_NE(help.find(' ' + name + '\n'), std::string::npos) << name;
  }
}

TEST(KitOptions, AScriptSurvivesConversionToText) {
  Script script;
  for (std::size_t kind = 0; kind != blkown::sim::fault_kind_count; ++kind) {
    script.push_back({static_cast<FaultKind>(kind), kind * kind});
  }
  for (const Script& each : {script, Script{}, Script{{FaultKind::early, ~std::uint64_t{0}}}}) {
    const auto options = parse_options("the_program", {"--script", to_string(each)});
    ASSERT_TRUE(options.has_value()) << to_string(each);
    EXPECT_EQ(options->script, each);
  }
  EXPECT_EQ(to_string(Script{}), "none");
  EXPECT_EQ(to_string(Script{{FaultKind::lost, 7}, {FaultKind::late, 0}}), "lost@7,late@0");
}

}  // namespace
