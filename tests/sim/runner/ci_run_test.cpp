// SPDX-License-Identifier: BSL-1.0
//
// Goal: a CI gets each result, whatever a run does to its process.

#include <gtest/gtest.h>

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <array>
#include <blkown/sim/runner/ci_run.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using blkown::sim::CiRun;
using blkown::sim::FailedSeeds;
using blkown::sim::JunitReport;
using blkown::sim::KitOptions;
using blkown::sim::SeedList;
using blkown::sim::SeedResult;
using Seeds = std::vector<std::uint64_t>;

struct CiTotals {
  std::uint64_t runs = 0;
  void merge(const CiTotals& other) noexcept { runs += other.runs; }
};

/// A folder for the files of a test, and what the program prints.
class CiRunTest : public testing::Test {
 protected:
  CiRunTest() {
    std::string name = testing::TempDir() + "ci_run_XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    folder_ = name;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, line_.data()) != 0) std::abort();
    options_.program = "my_test";
    options_.seeds = 6;
    options_.jobs = 1;
  }
  ~CiRunTest() override {
    hang_up(0);
    hang_up(1);
    std::filesystem::remove_all(folder_);
  }

  [[nodiscard]] std::string path(const std::string& file) const { return folder_ + '/' + file; }
  void write(const std::string& file, const std::string& content) const {
    std::ofstream{path(file), std::ios::binary} << content;
  }
  [[nodiscard]] std::string read(const std::string& file) const {
    std::ostringstream text;
    text << std::ifstream{path(file), std::ios::binary}.rdbuf();
    return text.str();
  }
  /// Runs the seeds, of which some fail as their number says. Returns the exit status.
  int run() {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int status = CiRun<CiTotals>{options_}.run(&run_seed, totals_);
    printed_ = testing::internal::GetCapturedStdout();
    complaint_ = testing::internal::GetCapturedStderr();
    return status;
  }
  static bool run_seed(std::uint64_t seed, CiTotals& totals) {
    std::printf("run %d\n", static_cast<int>(seed));
    totals.runs = 1;
    switch (seed) {
      case 13:
        std::puts("seed 13, event 5: a <finding> & \"more\"\nreplay: my_test --first-seed 13");
        return false;
      case 17:
        std::fflush(nullptr);
        raise(SIGKILL);
        return true;
      case 18: std::fflush(nullptr); std::_Exit(7);
      case 19: return false;
      case 20: std::this_thread::sleep_for(std::chrono::milliseconds{300}); return true;
      case 21: std::printf("\x01\xFF%s", std::string(3 << 20, 'x').c_str()); return true;
      case 22:
        // A process that outlives its parent, and holds the pipe until the test hangs up.
        std::fflush(nullptr);
        if (fork() == 0) {
          hang_up(0);
          static_cast<void>(hears(1));
          std::_Exit(0);
        }
        return true;
      case 23: std::this_thread::sleep_for(std::chrono::milliseconds{1100}); return true;
      case 24: std::exit(0);
      case 25:
        std::printf("%s\nreplay: my_test --first-seed 25\n", std::string(3 << 20, 'x').c_str());
        return false;
      case 26:
        // A driver that closes its outputs and goes on running until seed 37 runs.
        std::fflush(nullptr);
        close(1);
        close(2);
        return hears(1);
      case 37: return ::write(line_[0], "", 1) == 1;
      default: return true;
    }
  }
  /// Whether a byte, or the end, comes within a time that a test never takes.
  [[nodiscard]] static bool hears(std::size_t end) {
    pollfd one{.fd = line_[end], .events = POLLIN, .revents = 0};
    return poll(&one, 1, 20'000) == 1;
  }
  static void hang_up(std::size_t end) {
    if (line_[end] >= 0) close(std::exchange(line_[end], -1));
  }
  /// Whether another process has end 1.
  [[nodiscard]] static bool is_held_by_another() {
    hang_up(1);
    pollfd one{.fd = line_[0], .events = 0, .revents = 0};
    return poll(&one, 1, 0) == 0;
  }

  /// Whether the text has this part.
  [[nodiscard]] static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  static inline std::array<int, 2> line_{-1, -1};  // between the test and the processes of a run
  std::string folder_;
  KitOptions options_;
  CiTotals totals_;
  std::string printed_;
  std::string complaint_;
};

TEST_F(CiRunTest, PrintsInTheOrderOfTheSeedsWithAnyNumberOfJobs) {
  for (const std::uint32_t jobs : {1U, 3U, 8U}) {
    options_.jobs = jobs;
    options_.first_seed = 20;  // slower than the next ones
    options_.seeds = 1;
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(printed_, "run 20\n");
    options_.first_seed = 0;
    options_.seeds = 6;
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(printed_, "run 0\nrun 1\nrun 2\nrun 3\nrun 4\nrun 5\n");
  }
  EXPECT_EQ(totals_.runs, 21U);
  options_.failed_seeds_path = path("seeds");
  write("seeds", "20\n");
  EXPECT_EQ(run(), 0);
  EXPECT_TRUE(printed_.starts_with("run 20\nrun 0\n")) << printed_;
}

TEST_F(CiRunTest, AFailureEndsTheRunsUnlessTheyAreToGoOn) {
  options_.first_seed = 12;
  options_.seeds = 4;
  EXPECT_EQ(run(), 1);
  EXPECT_TRUE(has(printed_, "seed 13, event 5: a <finding>")) << printed_;
  EXPECT_FALSE(has(printed_, "run 14"));
  EXPECT_TRUE(printed_.ends_with("\n1 of 2 runs failed: seed 13\n")) << printed_;
  options_.keep_going = true;
  EXPECT_EQ(run(), 1);
  EXPECT_TRUE(printed_.ends_with("run 15\n1 of 4 runs failed: seed 13\n")) << printed_;
}

// Goal: a run that ends its process is reported with the command that replays it, and no result of
// another run is lost.
TEST_F(CiRunTest, ACrashIsAResult) {
  options_.keep_going = true;
  options_.jobs = 3;
  options_.first_seed = 16;
  options_.seeds = 5;
  options_.world.queue_count = 3;
  EXPECT_EQ(run(), 1);
  const std::string replay = "replay: my_test --seeds 1 --first-seed ";
  const std::string words = " --ios 1000 --queues 3\n";
  EXPECT_EQ(printed_,
            "run 16\n"
            "run 17\nseed 17: the process was ended by signal 9 (Killed)\n" +
                replay + "17" + words +
                "run 18\nseed 18: the process exited with status 7 and no finding\n" + replay +
                "18" + words +
                "run 19\nseed 19: the process exited with status 1 and no finding\n" + replay +
                "19" + words + "run 20\n3 of 5 runs failed: seeds 17, 18, 19\n");
}

// Goal: a driver that ends its process with 0 in the middle of a run has not passed.
TEST_F(CiRunTest, AnExitWithZeroBeforeTheRunReturnsIsACrash) {
  options_.first_seed = 24;
  options_.seeds = 1;
  EXPECT_EQ(run(), 1);
  EXPECT_TRUE(has(printed_, "seed 24: the process exited with status 0 before its run returned\n"));
  EXPECT_EQ(totals_.runs, 0U);
}

TEST_F(CiRunTest, TheFindingAfterALongOutputIsKept) {
  options_.first_seed = 25;
  options_.seeds = 1;
  EXPECT_EQ(run(), 1);
  EXPECT_TRUE(has(printed_, "x\nreplay: my_test --first-seed 25\n"));
  EXPECT_FALSE(has(printed_, "and no finding"));
}

// Goal: the seeds after it run while it runs.
TEST_F(CiRunTest, AProcessThatClosesItsOutputsHoldsNoOtherUp) {
  options_.first_seed = 26;
  options_.seeds = 12;
  options_.jobs = 2;
  EXPECT_EQ(run(), 0);
  EXPECT_TRUE(has(printed_, "run 37\n")) << printed_;
}

// Goal: a seed that had no process did not run: it waits for a process, and is no failed seed.
TEST_F(CiRunTest, ASeedWithoutAProcessIsNoFailure) {
  const auto run_with_files = [this](rlim_t count) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    rlimit former{};
    getrlimit(RLIMIT_NOFILE, &former);
    const int next = dup(0);
    close(next);
    const rlimit few{.rlim_cur = static_cast<rlim_t>(next) + count, .rlim_max = former.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    const int status = CiRun<CiTotals>{options_}.run(&run_seed, totals_);
    setrlimit(RLIMIT_NOFILE, &former);
    printed_ = testing::internal::GetCapturedStdout();
    complaint_ = testing::internal::GetCapturedStderr();
    return status;
  };
  options_.failed_seeds_path = path("seeds");
  options_.jobs = 4;
  EXPECT_EQ(run_with_files(2), 0) << "one process at a time";
  EXPECT_EQ(printed_, "run 0\nrun 1\nrun 2\nrun 3\nrun 4\nrun 5\n");
  EXPECT_EQ(run_with_files(1), 2);
  EXPECT_EQ(printed_, "");
  EXPECT_TRUE(has(complaint_, "no process could be made: ")) << complaint_;
  EXPECT_FALSE(std::filesystem::exists(path("seeds")));
}

TEST_F(CiRunTest, OutputHasALimitAndAProcessThatStaysHoldsNothingUp) {
  options_.first_seed = 21;
  options_.seeds = 2;
  EXPECT_EQ(run(), 0);
  EXPECT_TRUE(is_held_by_another()) << "the process has ended before the run";
  EXPECT_EQ(printed_.size(), (std::size_t{1} << 20) + std::string{"run 22\n"}.size());
}

TEST_F(CiRunTest, ATimeLimitKeepsSeedsFromBeingBegun) {
  options_.first_seed = 23;
  options_.time_limit_s = 1;
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(printed_, "run 23\n--time-limit 1: 1 of 6 seeds ran\n");
  options_.seeds = 1;
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(printed_, "run 23\n") << "all of them ran";
}

// --- seeds that failed ---------------------------------------------------------------------------

TEST_F(CiRunTest, ASeedThatFailedIsAppendedOnceAndRunFirst) {
  options_.failed_seeds_path = path("seeds");
  options_.first_seed = 12;
  EXPECT_EQ(run(), 1);
  const std::string content = read("seeds");
  EXPECT_EQ(content, "# Seeds that failed once, one a line. They are run first.\n13\n");
  options_.first_seed = 0;
  EXPECT_EQ(run(), 1);
  EXPECT_TRUE(printed_.starts_with("run 13\n")) << printed_;
  EXPECT_TRUE(printed_.ends_with("1 of 1 runs failed: seed 13\n")) << printed_;
  EXPECT_EQ(read("seeds"), content);
  options_.keep_going = true;
  EXPECT_EQ(run(), 1);
  EXPECT_TRUE(printed_.ends_with("1 of 7 runs failed: seed 13\n")) << printed_;
}

TEST_F(CiRunTest, TheFileKeepsWhatAPersonHasWritten) {
  write("seeds", "# mine\n\n  \n3\n3\r\n18446744073709551615 \n5");
  const FailedSeeds file{path("seeds")};
  EXPECT_EQ(file.read().value(), (Seeds{3, ~std::uint64_t{0}, 5}));
  EXPECT_EQ(file.append(5), "");
  EXPECT_EQ(file.append(9), "");
  EXPECT_EQ(read("seeds"), "# mine\n\n  \n3\n3\r\n18446744073709551615 \n5\n9\n");
  std::filesystem::create_symlink("seeds", path("link"));
  EXPECT_EQ(FailedSeeds{path("link")}.append(10), "");
  EXPECT_TRUE(std::filesystem::is_symlink(path("link")));
  EXPECT_EQ(file.read().value(), (Seeds{3, ~std::uint64_t{0}, 5, 9, 10}));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder_}, {}), 2) << "a file is left";
}

// Goal: what is no file of seeds gives one line with the remedy, before a run, and stays as it is.
TEST_F(CiRunTest, GarbageIsRefusedInOneLine) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"1\nseven\n", "line 2 is no seed: 'seven'; write one number a line, or remove the line"},
      {"-1", "line 1 is no seed: '-1'; write one number a line, or remove the line"},
      {"1 2", "line 1 is no seed: '1 2'; write one number a line, or remove the line"},
      {"18446744073709551616",
       "line 1 is no seed: '18446744073709551616'; write one number a line, or remove the line"},
      {std::string{"\0\x01\x7F", 3},
       "line 1 is no seed: '\?\?\?'; write one number a line, or remove the line"},
      {std::string(1 << 21, '1'), "it has more than 1048576 bytes; name a file of seeds"},
  };
  options_.failed_seeds_path = path("seeds");
  for (const auto& [content, problem] : cases) {
    write("seeds", content);
    EXPECT_EQ(run(), 2);
    EXPECT_EQ(complaint_, "my_test: --failed-seeds " + path("seeds") + ": " + problem + '\n');
    EXPECT_EQ(printed_, "");
    EXPECT_NE(FailedSeeds{path("seeds")}.append(4), "");
    EXPECT_EQ(read("seeds"), content);
  }
}

TEST_F(CiRunTest, AFileThatCannotBeReplacedIsRefusedBeforeARun) {
  for (std::string KitOptions::* const file :
       {&KitOptions::failed_seeds_path, &KitOptions::junit_path}) {
    for (const std::string name : {"none/file", "", "/dev/null"}) {
      options_.junit_path = options_.failed_seeds_path = "";
      options_.*file = name == "/dev/null" ? name : path(name);
      EXPECT_EQ(run(), 2);
      EXPECT_TRUE(complaint_.ends_with("; name another file\n")) << complaint_;
      EXPECT_EQ(printed_, "");
    }
  }
}

TEST_F(CiRunTest, ListsEachSeedOnce) {
  SeedList list{options_, {9, 2, 5}};
  EXPECT_EQ(list.total(), 7U);
  Seeds seeds;
  while (const auto seed = list.next()) seeds.push_back(*seed);
  EXPECT_EQ(seeds, (Seeds{9, 2, 5, 0, 1, 3, 4}));
}

// --- JUnit ---------------------------------------------------------------------------------------

TEST_F(CiRunTest, TheReportHasACaseForEachSeed) {
  options_.program = "./build/my_test";
  options_.junit_path = path("report.xml");
  options_.keep_going = true;
  options_.first_seed = 12;
  options_.seeds = 6;
  EXPECT_EQ(run(), 1);
  const std::string xml = read("report.xml");
  EXPECT_TRUE(has(xml, "tests=\"6\" failures=\"1\" errors=\"1\"")) << xml;
  EXPECT_TRUE(has(xml, "<testcase name=\"seed 12\" classname=\"my_test\" time=\"0.0")) << xml;
  EXPECT_TRUE(has(xml,
                  "<failure type=\"finding\" message=\"seed 13, event 5: a &lt;finding&gt; &amp; "
                  "&quot;more&quot;\">run 13\nseed 13, event 5: a &lt;finding&gt; &amp; "
                  "&quot;more&quot;\nreplay: my_test --first-seed 13\n</failure>"))
      << xml;
  EXPECT_TRUE(has(xml,
                  "<error type=\"crash\" message=\"the process was ended by signal 9 (Killed)\">"
                  "run 17\nseed 17: the process was"))
      << xml;
  EXPECT_TRUE(has(xml, "<system-out>2 of 6 runs failed: seeds 13, 17\n</system-out>")) << xml;
}

TEST(JunitText, HasOnlyCharactersOfXml) {
  using blkown::sim::detail::xml_text;
  EXPECT_EQ(xml_text("a\tb\n\r&<>\"'"), "a\tb\n&#13;&amp;&lt;&gt;&quot;'");
  EXPECT_EQ(xml_text(std::string_view{"\0\x01\x1F\x7F", 4}), "???\x7F");
  EXPECT_EQ(xml_text("\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"),
            "\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80");
  EXPECT_EQ(xml_text("\xC3"), "?") << "cut off";
  EXPECT_EQ(xml_text("\xC3(\xFF\x80"), "?(\?\?");
  EXPECT_EQ(xml_text("\xC0\x80"), "??") << "too long";
  EXPECT_EQ(xml_text("\xED\xA0\x80"), "???") << "a surrogate";
  EXPECT_EQ(xml_text("\xEF\xBF\xBF"), "???") << "no character";
  EXPECT_EQ(xml_text("\xF4\x90\x80\x80"), "????") << "beyond the last character";
}

TEST(JunitText, HasTimesWithAPoint) {
  JunitReport report{"a"};
  report.add({.seed = 1, .has_passed = true, .seconds = 61.0625, .output = {}, .crash = {}});
  const std::string xml = report.text(0.5, "");
  EXPECT_NE(xml.find("time=\"61.062\""), std::string::npos) << xml;
  EXPECT_NE(xml.find("time=\"0.500\""), std::string::npos) << xml;
}

}  // namespace
