// SPDX-License-Identifier: BSL-1.0
//
// Goal: with any compiler's AddressSanitizer, a driver of the block layer under the kit stops at
// the first access to its RequestData through a reference that it kept over the publication.
// Method: kit_driver wrong OPTION... runs that driver, kit_driver right OPTION... the one without
// the mistake.

#include <blkown/sim/kit.hpp>
#include <memory>
#include <string_view>

#include "sim/broken_mq/touched_after_publish.hpp"

static_assert(BLKOWN_POISON == 1, "this program is built with AddressSanitizer");

int main(int argc, char** argv) {
  using namespace broken_mq;
  const bool is_wrong = argc > 1 && argv[1] == std::string_view{"wrong"};
  return sim::mq_main<VariantDriver>(argc - 1, argv + 1,
                                     [=](sim::MqHost& host) -> std::unique_ptr<VariantDriver> {
                                       if (is_wrong)
                                         return std::make_unique<TouchedAfterPublish>(host);
                                       return std::make_unique<VariantDriver>(host);
                                     });
}
