// SPDX-License-Identifier: BSL-1.0
//
// Runs a zoned disk of examples/null_block under the adversary, or with --driver NAME a driver with
// one wrong step, in which the adversary has to find a fault.

#include <array>
#include <blkown/sim/kit.hpp>
#include <cstdio>
#include <memory>

#include "sim/broken_zoned/ended_on_timeout.hpp"
#include "sim/broken_zoned/last_zone_forgotten.hpp"
#include "sim/broken_zoned/pointer_at_issue.hpp"
#include "sim/broken_zoned/result_is_start.hpp"
#include "sim/broken_zoned/unquiesced_unasked.hpp"
#include "sim/named_driver.hpp"
#include "sim/zoned_world.hpp"

namespace zoned {
namespace {

/// Runs the driver D under the adversary.
template <class D>
int main_of(int argc, char** argv) {
  const auto options = sim::parse_options(argv[0], {argv + 1, argv + argc});
  const char* const missing = options ? World::missing_option(options->world) : nullptr;
  if (missing != nullptr) {
    std::fprintf(stderr, "%s: %s: a zoned disk has no such option; remove it\n", argv[0], missing);
    return 2;
  }
  return sim::detail::world_main<World>(argc, argv,
                                        [](DriverHost& host) { return std::make_unique<D>(host); });
}

constexpr std::array table{
    NamedDriver{"reference", &main_of<Driver>},
    NamedDriver{"ended_on_timeout", &main_of<EndedOnTimeout>},
    NamedDriver{"last_zone_forgotten", &main_of<LastZoneForgotten>},
    NamedDriver{"pointer_at_issue", &main_of<PointerAtIssue>},
    NamedDriver{"result_is_start", &main_of<ResultIsStart>},
    NamedDriver{"unquiesced_unasked", &main_of<UnquiescedUnasked>},
};

}  // namespace
}  // namespace zoned

int main(int argc, char** argv) { return named_driver_main(argc, argv, zoned::table); }
