// SPDX-License-Identifier: BSL-1.0
//
// The values of each parameter of a null block disk that the matrices try, and the combinations
// that are refused. There are two matrices: of disks with zones and of disks without. Both have all
// parameters, so each pair of values is in one of them, unless no disk can have it.

#ifndef BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_CHOICES_HPP
#define BLKOWN_TESTS_EXAMPLES_NULL_BLOCK_CHOICES_HPP

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "matrix.hpp"
#include "stress/effort.hpp"

namespace null_world {

/// All values, of both matrices. init_hctx's faults make no disk: they have a test of their own.
inline const std::vector<Choice> all_choices{
    {"size", {"1m", "1216k"}},
    {"blocksize", {"512", "4k", "64k"}},
    {"rotational", {"0", "1"}},
    {"read_only", {"0", "1"}},
    {"memory_backed", {"1", "0"}},
    {"memory_limit", {"0", "512k"}},
    {"cache_size", {"0", "64k", "1m"}},
    {"fua", {"1", "0"}},
    {"completion", {"none", "softirq", "timer"}},
    {"completion_nsec", {"0", "10000"}},
    {"timeout_ms", {"100", "5000"}},
    {"submit_queues", {"1", "2", "3"}},
    {"max_submit_queues", {"3", "16"}},
    {"use_per_node_hctx", {"0", "1"}},
    {"poll_queues", {"0", "1", "2"}},
    {"hw_queue_depth", {"1", "7", "64"}},
    {"shared_tags", {"0", "1"}},
    {"shared_tag_bitmap", {"0", "1"}},
    {"no_sched", {"1"}},
    {"blocking", {"0", "1"}},
    {"home_node", {"none", "0"}},
    {"discard", {"0", "1"}},
    {"discard_granularity", {"128k", "0"}},
    {"discard_alignment", {"0", "64k"}},
    {"max_discard", {"1g", "192k"}},
    {"write_zeroes", {"0", "1"}},
    {"write_zeroes_granularity", {"128k", "0"}},
    {"write_zeroes_alignment", {"0", "64k"}},
    {"max_write_zeroes", {"1g", "192k"}},
    {"max_sectors", {"2560", "128"}},
    {"virt_boundary", {"0", "1"}},
    {"chunk_sectors", {"0", "256"}},
    {"zoned", {"0", "1"}},
    {"zone_size", {"256k", "192k"}},
    {"zone_capacity", {"0", "128k"}},
    {"zone_nr_conv", {"0", "1", "3"}},
    {"zone_max_open", {"0", "1"}},
    {"zone_max_active", {"0", "2"}},
    {"zone_append_max_sectors", {"65536", "128", "0"}},
    {"zone_full", {"0", "1"}},
    {"badblocks_once", {"0", "1"}},
    {"badblocks_partial_io", {"0", "1"}},
    {"mbps", {"0", "1000"}},
    {"fault_seed", {"1", "2"}},
    {"timeout_probability", {"0", "2"}},
    {"timeout_interval", {"1", "3"}},
    {"timeout_times", {"0", "5"}},
    {"requeue_probability", {"0", "20"}},
    {"requeue_interval", {"1", "3"}},
    {"requeue_times", {"0", "50"}},
    {"init_hctx_probability", {"0"}},
    {"init_hctx_interval", {"1", "3"}},
    {"init_hctx_times", {"0", "5"}},
};

/// What no disk can have.
inline const std::vector<Combination>& refused_combinations() {
  static const std::vector<Combination> made{
      {{{"memory_backed", "0"}, {"cache_size", "64k"}}, "cache_size=65536: needs memory_backed=1"},
      {{{"memory_backed", "0"}, {"cache_size", "1m"}}, "cache_size=1048576: needs memory_backed=1"},
      {{{"memory_backed", "0"}, {"memory_limit", "512k"}},
       "memory_limit=524288: needs memory_backed=1"},
      {{{"zoned", "1"}, {"discard", "1"}}, "discard=1: not with zoned=1"},
      {{{"zoned", "1"}, {"write_zeroes", "1"}}, "write_zeroes=1: not with zoned=1"},
      {{{"zoned", "1"}, {"chunk_sectors", "256"}}, "chunk_sectors=256: not with zoned=1"},
      // A disk without discards ignores what is said of their units.
      {{{"discard", "1"}, {"discard_granularity", "0"}, {"discard_alignment", "64k"}},
       "discard_alignment=65536: too large; discard_alignment_sectors is 128, the limit is 0"},
      {{{"discard", "1"}, {"chunk_sectors", "256"}, {"discard_alignment", "64k"}},
       "discard_alignment=65536: in contradiction to another field; discard_alignment_sectors is "
       "128, the limit is 256"},
      {{{"write_zeroes", "1"},
        {"write_zeroes_granularity", "0"},
        {"write_zeroes_alignment", "64k"}},
       "write_zeroes_alignment=65536: too large; write_zeroes_alignment_sectors is 128, the limit "
       "is 0"},
      {{{"write_zeroes", "1"}, {"chunk_sectors", "256"}, {"write_zeroes_alignment", "64k"}},
       "write_zeroes_alignment=65536: in contradiction to another field; "
       "write_zeroes_alignment_sectors is 128, the limit is 256"},
  };
  return made;
}

/// The values of disks with zones, or of disks without.
inline const std::vector<Choice>& choices(bool is_zoned) {
  static const auto make = [](std::string_view value) {
    std::vector<Choice> made = all_choices;
    for (Choice& each : made) {
      if (each.key == "zoned") each.values = {std::string{value}};
      const bool is_refused =
          each.key == "discard" || each.key == "write_zeroes" || each.key == "chunk_sectors";
      if (value == "1" && is_refused) each.values = {"0"};
    }
    return made;
  };
  static const std::vector<Choice> flat = make("0");
  static const std::vector<Choice> zoned = make("1");
  return is_zoned ? zoned : flat;
}

/// The matrix of disks with zones, or of disks without.
inline const Matrix& matrix(bool is_zoned) {
  static const Matrix flat{choices(false), refused_combinations()};
  static const Matrix zoned{choices(true), refused_combinations()};
  return is_zoned ? zoned : flat;
}

/// The I/Os of each row: these, scaled, and in a run with larger counts at least 10,000.
inline std::uint64_t ios_of_row(std::uint64_t count, std::uint64_t count_with_sanitizer) {
  const std::uint64_t least = stress::scale() >= 20 ? 10'000 : 1;
  return std::max(stress::scaled(count, count_with_sanitizer), least);
}

}  // namespace null_world

#endif
