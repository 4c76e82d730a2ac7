// SPDX-License-Identifier: BSL-1.0
//
// The main function of every benchmark program: Google Benchmark's, with --threads=N as well.

#include <benchmark/benchmark.h>

#include <charconv>
#include <cstdio>
#include <span>
#include <string_view>
#include <support/registry.hpp>
#include <thread>
#include <vector>

namespace {

constexpr std::string_view threads_flag = "--threads=";
constexpr int thread_limit = 1024;

[[nodiscard]] bool parse_threads(std::string_view text, int& threads) {
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, threads);
  return error == std::errc{} && rest == end && threads >= 1 && threads <= thread_limit;
}

}  // namespace

int main(int argc, char** argv) {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  if (threads < 1) threads = 1;
  std::vector<char*> others;
  for (char* argument : std::span{argv, static_cast<std::size_t>(argc)}) {
    const std::string_view text{argument};
    if (!text.starts_with(threads_flag)) {
      others.push_back(argument);
    } else if (!parse_threads(text.substr(threads_flag.size()), threads)) {
      std::fprintf(stderr, "%s: give a number from 1 to %d, for instance --threads=2\n", argument,
                   thread_limit);
      return 2;
    }
  }
  for (const bench::Register registration : bench::Registration::all()) registration(threads);

  int count = static_cast<int>(others.size());
  others.push_back(nullptr);
  benchmark::Initialize(&count, others.data());
  if (benchmark::ReportUnrecognizedArguments(count, others.data())) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
