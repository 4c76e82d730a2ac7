// SPDX-License-Identifier: BSL-1.0
//
// Runs a driver of the message device under the adversary: the right one, or with --driver NAME one
// of the broken ones, in which the adversary has to find a fault.

#include <array>
#include <blkown/sim/kit.hpp>
#include <memory>

#include "sim/broken_message/copied_by_sector.hpp"
#include "sim/broken_message/disk_ignored.hpp"
#include "sim/broken_message/ended_before_reconnect.hpp"
#include "sim/broken_message/generation_ignored.hpp"
#include "sim/broken_message/half_taken_for_whole.hpp"
#include "sim/broken_message/queue_ignored.hpp"
#include "sim/broken_message/refused_ended_twice.hpp"
#include "sim/broken_message/short_taken_for_whole.hpp"
#include "sim/broken_message/taken_before_publish.hpp"
#include "sim/broken_message/variant_driver.hpp"
#include "sim/named_driver.hpp"

namespace message::broken {
namespace {

/// Runs the driver D under the adversary.
template <class D>
int main_of(int argc, char** argv) {
  return sim::message_main<VariantDriver>(
      argc, argv, [](sim::MessageHost<VariantDriver>& host) { return std::make_unique<D>(host); });
}

constexpr std::array table{
    NamedDriver{"reference", &main_of<VariantDriver>},
    NamedDriver{"copied_by_sector", &main_of<CopiedBySector>},
    NamedDriver{"disk_ignored", &main_of<DiskIgnored>},
    NamedDriver{"ended_before_reconnect", &main_of<EndedBeforeReconnect>},
    NamedDriver{"generation_ignored", &main_of<GenerationIgnored>},
    NamedDriver{"half_taken_for_whole", &main_of<HalfTakenForWhole>},
    NamedDriver{"queue_ignored", &main_of<QueueIgnored>},
    NamedDriver{"refused_ended_twice", &main_of<RefusedEndedTwice>},
    NamedDriver{"short_taken_for_whole", &main_of<ShortTakenForWhole>},
    NamedDriver{"taken_before_publish", &main_of<TakenBeforePublish>},
};

}  // namespace
}  // namespace message::broken

int main(int argc, char** argv) { return named_driver_main(argc, argv, message::broken::table); }
