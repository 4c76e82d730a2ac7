// SPDX-License-Identifier: BSL-1.0

#include <gtest/gtest.h>

#include <blkown/sim/runner/kit_options.hpp>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using blkown::sim::FaultKind;
using blkown::sim::FaultRates;
using blkown::sim::FaultStrike;
using blkown::sim::KitOptions;
using blkown::sim::parse_options;
using blkown::sim::world_words;
using blkown::sim::WorldFeatures;
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

// Goal: one line with the option, its value, and the remedy.
TEST(KitOptions, UnusableOnesAreRefusedInOneLine) {
  const std::string number = "use a number from 1";
  const std::string script = "use KIND@N,... or none; --help lists the kinds";
  const std::string unknown = "no such option; --help lists the options";
  const std::vector<std::pair<Words, std::string>> cases{
      {{"--seeds"}, "--seeds: the value is missing; " + number},
      {{"--seeds", "many"}, "--seeds many: " + number},
      {{"--seeds", "-1"}, "--seeds -1: " + number},
      {{"--seeds", "7x"}, "--seeds 7x: " + number},
      {{"--seeds", ""}, "--seeds : " + number},
      {{"--seeds", "0"}, "--seeds 0: " + number},
      {{"--seeds", "18446744073709551616"}, "--seeds 18446744073709551616: " + number},
      {{"--shrink", "--first-seed"}, "--first-seed: the value is missing; use a number from 0"},
      {{"--first-seed", " 1"}, "--first-seed  1: use a number from 0"},
      {{"--ios", "0"}, "--ios 0: use a number from 1 to 1000000000"},
      {{"--ios", "1.5"}, "--ios 1.5: use a number from 1 to 1000000000"},
      {{"--script"}, "--script: the value is missing; " + script},
      {{"--script", ""}, "--script : " + script},
      {{"--script", "lost"}, "--script lost: " + script},
      {{"--script", "lost@"}, "--script lost@: " + script},
      {{"--script", "lost@x"}, "--script lost@x: " + script},
      {{"--script", "lots@1"}, "--script lots@1: " + script},
      {{"--script", "@1"}, "--script @1: " + script},
      {{"--script", "lost@1,"}, "--script lost@1,: " + script},
      {{"--script", ",lost@1"}, "--script ,lost@1: " + script},
      {{"--script", "lost@1,,late@1"}, "--script lost@1,,late@1: " + script},
      {{"--script", "unknown kind@1"}, "--script unknown kind@1: " + script},
      {{"--seed", "1"}, "--seed: " + unknown},
      {{"1"}, "1: " + unknown},
      {{"--seeds", "1", "--helper"}, "--helper: " + unknown},
      {{"two\nlines\x7F"}, "two?lines?: " + unknown},
      {{std::string(200, 'x')}, std::string(80, 'x') + "...: " + unknown},
  };
  for (const auto& [words, line] : cases) EXPECT_EQ(refusal(words), "the_program: " + line + '\n');
}

const std::vector<Words> out_of_range{
    {"--queues", "0"},
    {"--queues", "64"},
    {"--depth", "1"},
    {"--depth", "4294967296"},
    {"--reserved", "-1"},
    {"--layout", "scsi"},
    {"--layout", ""},
    {"--block-bytes", "256"},
    {"--block-bytes", "1000"},
    {"--block-bytes", "8192"},
    {"--cache", "yes"},
    {"--fua", ""},
    {"--latency", "uniform"},
    {"--latency", "uniform:5"},
    {"--latency", "uniform:5-4"},
    {"--latency", "uniform:-5"},
    {"--latency", "constant:"},
    {"--latency", "constant:1-2"},
    {"--latency", "constant:1000000001"},
    {"--latency", "normal:1-2"},
    {"--mix", ""},
    {"--mix", "read:0"},
    {"--mix", "read:1000001"},
    {"--mix", "read"},
    {"--mix", "reads:1"},
    {"--mix", "read:1,"},
    {"--sizes", "511:1"},
    {"--sizes", "0:1"},
    {"--sizes", "8704:1"},
    {"--sizes", "512:0"},
    {"--sizes", "512"},
    {"--sizes",
     "512:1,512:1,512:1,512:1,512:1,512:1,512:1,512:1,512:1,512:1,512:1,512:1,512:1,"
     "512:1,512:1,512:1,512:1"},
    {"--rates", "lost:65537"},
    {"--rates", "every:1"},
    {"--rates", "lost"},
    {"--fua-percent", "101"},
    {"--preflush-percent", "-1"},
    {"--jobs", "0"},
    {"--jobs", "1025"},
    {"--time-limit", "0"},
    {"--disks", "0"},
    {"--disks", "17"},
    {"--ios-per-cut", "0"},
    {"--hang-limit", "86401"},
    {"--hang-limit", ""},
    {"--junit", ""},
    {"--failed-seeds", ""},
};

// Goal: no value of an option that is out of its range is taken.
TEST(KitOptions, EachOptionRefusesAValueOutOfItsRange) {
  for (const Words& words : out_of_range) {
    const std::string line = refusal(words);
    const std::string begin = "the_program: " + words[0] + ' ' + words[1] + ": ";
    EXPECT_TRUE(line.starts_with(begin.substr(0, 60))) << line;
    EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  }
}

/// The line about options that this kind of world cannot have together, or an empty text.
std::string problem_of(const Words& words, const WorldFeatures& features) {
  const auto options = parse_options("the_program", words);
  EXPECT_TRUE(options.has_value());
  return options.has_value() ? check_options(*options, features) : "";
}
constexpr WorldFeatures core{.has_nvme = true};
constexpr WorldFeatures message{};
constexpr WorldFeatures of_one_fault{
    .has_fault = [](FaultKind kind) { return kind == FaultKind::abort_refused; }};
constexpr WorldFeatures disk{.has_nvme = true, .has_block_layer = true, .has_reset = true};

const std::string only_disk =
    ": only a driver of the block layer has that (mq_main); remove the option";
const std::vector<std::tuple<Words, WorldFeatures, std::string>> not_together{
    {{"--depth", "2"},
     core,
     "--reserved 2: --depth 2 leaves no tag for I/O; use a smaller number, or a larger --depth"},
    {{"--depth", "4096"},
     core,
     "--depth 4096: a cookie of the layout nvme names no such tag; use at most 4095"},
    {{"--depth", "65536", "--layout", "nbd"},
     message,
     "--depth 65536: with --queues 2 the run has more than 1024 requests; use at most 512"},
    {{"--depth", "16", "--queues", "63", "--reserved", "16"},
     disk,
     "--reserved 16: --depth 16 leaves no tag for I/O; use a smaller number, or a larger"
     " --depth"},
    {{"--fua", "on", "--cache", "off"},
     disk,
     "--fua on: a device without a write cache has no FUA; remove --cache off"},
    {{"--layout", "nbd"}, disk, "--layout nbd: NVMe has one layout; remove the option"},
    {{"--sizes", "4096:1,512:3", "--block-bytes", "4096"},
     core,
     "--sizes 512:3: with --block-bytes 4096 an I/O is whole blocks; use a multiple"},
    {{"--latency", "uniform:0-1000001"},
     core,
     "--latency uniform: most commands would meet the timeout of 2000000 ns; use at most"
     " 1000000"},
    {{"--latency", "heavy_tailed:1000001-9000000"},
     core,
     "--latency heavy_tailed: most commands would meet the timeout of 2000000 ns; use at most"
     " 1000000 as MIN"},
    {{"--fua", "off"}, core, "--fua" + only_disk},
    {{"--fua-percent", "0"}, message, "--fua-percent" + only_disk},
    {{"--preflush-percent", "0"}, core, "--preflush-percent" + only_disk},
    {{"--queue-changes"}, core, "--queue-changes" + only_disk},
    {{"--queue-changes", "--queues", "1"},
     disk,
     "--queue-changes: with --queues 1 there is no other number; use --queues 2 or more"},
    {{"--mix", "read:1,compare:1"},
     disk,
     "--mix compare:1: only a driver of NVMe on the bare core has compares (nvme_main); use"
     " compare:0"},
    {{"--resets"},
     core,
     "--resets: the driver has no public function reset(); add one, or use --rates reset:N"},
    {{"--script", "none", "--rates", "lost:1"},
     core,
     "--rates: --script chooses the faults; remove one of the two"},
    {{"--rates", "lost:3,half_reply:100"},
     core,
     "--rates half_reply:100: the device has no such fault; remove it"},
    {{"--rates", "all:9,short_transfer:0"},
     disk,
     "--rates short_transfer:0: the device has no such fault; remove it"},
    {{"--rates", "map_failure:7"},
     message,
     "--rates map_failure:7: the device has no such fault; remove it"},
    {{"--script", "lost@3,unmap_failure@0"},
     message,
     "--script unmap_failure@0: the device has no such fault; remove it"},
    {{"--script", "lost@2"},
     of_one_fault,
     "--script lost@2: the device has no such fault; remove it"},
    {{"--script", "half_reply@2"},
     disk,
     "--script half_reply@2: the device has no such fault; remove it"},
    {{"--seeds", "3", "--first-seed", "18446744073709551614"},
     core,
     "--seeds 3: the last seed is 18446744073709551615; use at most 2"},
};

TEST(KitOptions, ThoseThatDoNotGoTogetherAreRefused) {
  for (const auto& [words, features, problem] : not_together) {
    EXPECT_EQ(problem_of(words, features), problem);
  }
}

TEST(KitOptions, ThoseAtTheirLimitsGoTogether) {
  const std::vector<std::pair<Words, WorldFeatures>> cases{
      {{}, core},
      {{}, message},
      {{}, disk},
      {{"--depth", "1024", "--queues", "1", "--reserved", "1023"}, disk},
      {{"--depth", "16", "--queues", "63"}, message},
      {{"--fua", "on"}, disk},
      {{"--cache", "off", "--fua", "off"}, disk},
      {{"--block-bytes", "4096", "--sizes", "4096:1,8192:1"}, core},
      {{"--latency", "heavy_tailed:1000000-1000000000"}, core},
      {{"--latency", "constant:1000000"}, message},
      {{"--resets", "--queue-changes"}, disk},
      {{"--mix", "compare:1"}, core},
      {{"--rates", "all:9,half_reply:9,lost:3"}, core},
      {{"--rates", "all:0,half_reply:9"}, message},
      {{"--script", "lost@3,half_reply@0"}, message},
      {{"--script", "unmap_failure_stopped@0"}, disk},
      {{"--script", "abort_refused@0"}, of_one_fault},
      {{"--block-bytes", "4096", "--sizes", "4096:1"}, message},
      {{"--disks", "16"}, core},
      {{"--disks", "2"}, message},
      {{"--disks", "16"}, disk},
      {{"--seeds", "2", "--first-seed", "18446744073709551614"}, core},
  };
  for (const auto& [words, features] : cases) EXPECT_EQ(problem_of(words, features), "");
}

// Goal: the command that replays a run has each option that determines it, and no other one.
// Method: the words of options are read again, and then give the same words.
TEST(KitOptions, OfARunSurviveConversionToText) {
  const std::vector<std::string> texts{
      " --ios 1000",
      " --ios 7 --queues 3 --disks 2 --depth 9 --reserved 1 --layout io_uring --block-bytes 1024"
      " --cache on --fua off --latency heavy_tailed:1-2000000 --mix"
      " read:1,write:2,flush:3,discard:4,write_zeroes:5,compare:6 --sizes 512:7,8192:8"
      " --fua-percent 0 --ios-per-cut 7 --preflush-percent 100 --resets --queue-changes --rates "
      "lost:0,reset:65536",
      " --ios 1000 --cache off --latency constant:0 --sizes 4096:1",
      " --ios 1000 --latency uniform:1-2",
      " --ios 1000 --rates all:0",
      " --ios 1000 --rates all:9,duplicate:0,unmap_failure_stopped:8",
  };
  for (const std::string& text : texts) {
    Words words;
    std::istringstream stream{text};
    for (std::string word; stream >> word;) words.push_back(word);
    const auto options = parse_options("the_program", words);
    ASSERT_TRUE(options.has_value()) << text;
    EXPECT_EQ(world_words(*options), text);
  }
  const auto others = parse_options(
      "the_program", {"--jobs", "3", "--time-limit", "9", "--keep-going", "--shrink", "--junit",
                      "a", "--failed-seeds", "b", "--seeds", "3", "--first-seed", "4"});
  EXPECT_EQ(world_words(*others), " --ios 1000");
}

// Goal: a script replaces the rates, so that a command with a script has none.
TEST(KitOptions, OfAScriptedRunHaveNoRates) {
  KitOptions options;
  options.world.rates[FaultKind::lost] = 7;
  EXPECT_EQ(world_words(options), " --ios 1000 --rates lost:7");
  options.has_script = true;
  EXPECT_EQ(world_words(options), " --ios 1000");
}

TEST(KitOptions, RatesAreSetInTheOrderOfTheList) {
  const auto options = parse_options("the_program", {"--rates", "all:9,lost:3"});
  ASSERT_TRUE(options.has_value());
  FaultRates expected;
  expected.of.fill(9);
  expected[FaultKind::lost] = 3;
  expected[FaultKind::unmap_failure_stopped] = 0;
  EXPECT_EQ(options->world.rates, expected);
}

// Goal: no run has the fault unless a word names it.
TEST(KitOptions, RatesOfAllLeaveOutMemoryThatAStoppedDeviceDoesNotUnmap) {
  for (const char* text :
       {"all:9", "all:9,unmap_failure_stopped:9", "unmap_failure_stopped:9,all:8"}) {
    const auto options = parse_options("the_program", {"--rates", text});
    ASSERT_TRUE(options.has_value());
    FaultRates rates = options->world.rates;
    EXPECT_EQ(rates[FaultKind::unmap_failure_stopped], std::string{text} == "all:9" ? 0U : 9U);
  }
}

TEST(KitOptions, DefaultsOfAProgramStayUnlessAWordReplacesThem) {
  KitOptions defaults;
  defaults.seeds = 5;
  defaults.world.queue_count = 4;
  defaults.world.sizes = {{8, 1}};
  const auto options = parse_options("the_program", {"--queues", "3"}, defaults);
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->seeds, 5U);
  EXPECT_EQ(options->world.queue_count, 3U);
  EXPECT_EQ(world_words(*options), " --ios 1000 --queues 3 --sizes 4096:1");
}

TEST(KitOptions, ACiGetsAProcessForEachRun) {
  for (const Words& words :
       {Words{"--jobs", "1"}, Words{"--keep-going"}, Words{"--junit", "report.xml"},
        Words{"--failed-seeds", "seeds.txt"}}) {
    EXPECT_TRUE(parse_options("the_program", words)->has_processes());
  }
  for (const Words& words : {Words{}, Words{"--time-limit", "1"}}) {
    EXPECT_FALSE(parse_options("the_program", words)->has_processes());
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
  for (const auto& row : blkown::sim::detail::option_rows) {
    const std::string part = std::string{"\n  "} + row.name + ' ';
    EXPECT_NE(help.find(part + (row.value != nullptr ? row.value : "")), std::string::npos) << part;
  }
  for (const char* const part : {"(100)", "(0)", "(1000)", "(2)", "(8)", "exit status: 0"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part;
  }
  for (std::size_t at = 0; at < help.size(); at = help.find('\n', at) + 1) {
    EXPECT_LE(help.find('\n', at) - at, 100U) << help.substr(at, 100);
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
