// SPDX-License-Identifier: BSL-1.0
//
// Bios that wait for tags, and bios for which tags suffice, to be counted by callgrind: one dump
// for each row, whose trigger is "NAME BIOS". check.py runs the program and divides.

#include <valgrind/callgrind.h>

#include <cstdint>
#include <pipeline/shared_tags.hpp>
#include <string>

namespace {

using bench::SharedTags;

constexpr std::uint64_t counted_bios = 2048;

void count(const char* name, std::uint32_t contexts, std::uint32_t tags) {
  SharedTags shared{contexts, tags};
  const std::uint64_t before = shared.run(std::uint64_t{4} * SharedTags::bio_count);
  CALLGRIND_ZERO_STATS;
  const std::uint64_t ended = shared.run(before + counted_bios) - before;
  const std::string trigger =
      std::string{name} + '/' + std::to_string(contexts) + ' ' + std::to_string(ended);
  CALLGRIND_DUMP_STATS_AT(trigger.c_str());
}

}  // namespace

int main() {
  for (const std::uint32_t contexts : {1U, 2U, 16U}) {
    count("enough", contexts, SharedTags::bio_count);
    count("short", contexts, 4);
  }
}
