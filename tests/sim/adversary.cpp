// SPDX-License-Identifier: BSL-1.0
//
// The reference driver on the bare core under the adversary, or with --driver NAME one of the
// broken ones, which it has to catch.

#include <blkown/sim/kit.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "sim/broken/buffers_reused_on_reset.hpp"
#include "sim/broken/completed_twice.hpp"
#include "sim/broken/double_end.hpp"
#include "sim/broken/end_before_unmap.hpp"
#include "sim/broken/ended_on_timeout.hpp"
#include "sim/broken/errors_forgotten.hpp"
#include "sim/broken/generation_ignored.hpp"
#include "sim/broken/issue_before_publish.hpp"
#include "sim/broken/old_cookie.hpp"
#include "sim/broken/pin_leaked.hpp"
#include "sim/broken/proof_of_another.hpp"
#include "sim/broken/queue_ignored.hpp"
#include "sim/broken/reference_dropped.hpp"
#include "sim/broken/requeued_while_mapped.hpp"
#include "sim/broken/short_taken_for_whole.hpp"
#include "sim/broken/touched_after_publish.hpp"
#include "sim/broken/unmapped_on_timeout.hpp"
#include "sim/broken/wrong_direction.hpp"
#include "sim/nvme_driver.hpp"

namespace {

using Words = std::vector<std::string>;

template <class D>
int run(const std::string& program, const Words& words) {
  return blkown::sim::kit_main<blkown::sim::CoreWorld<D>>(program, words);
}

struct Named {
  const char* name;
  int (*run)(const std::string& program, const Words& words);
};
constexpr Named drivers[] = {
    {"reference", &run<nvme::Driver>},
    {"buffers_reused_on_reset", &run<nvme::broken::BuffersReusedOnReset>},
    {"completed_twice", &run<nvme::broken::CompletedTwice>},
    {"double_end", &run<nvme::broken::DoubleEnd>},
    {"end_before_unmap", &run<nvme::broken::EndBeforeUnmap>},
    {"ended_on_timeout", &run<nvme::broken::EndedOnTimeout>},
    {"errors_forgotten", &run<nvme::broken::ErrorsForgotten>},
    {"generation_ignored", &run<nvme::broken::GenerationIgnored>},
    {"issue_before_publish", &run<nvme::broken::IssueBeforePublish>},
    {"old_cookie", &run<nvme::broken::OldCookie>},
    {"pin_leaked", &run<nvme::broken::PinLeaked>},
    {"proof_of_another", &run<nvme::broken::ProofOfAnother>},
    {"queue_ignored", &run<nvme::broken::QueueIgnored>},
    {"reference_dropped", &run<nvme::broken::ReferenceDropped>},
    {"requeued_while_mapped", &run<nvme::broken::RequeuedWhileMapped>},
    {"short_taken_for_whole", &run<nvme::broken::ShortTakenForWhole>},
    {"touched_after_publish", &run<nvme::broken::TouchedAfterPublish>},
    {"unmapped_on_timeout", &run<nvme::broken::UnmappedOnTimeout>},
    {"wrong_direction", &run<nvme::broken::WrongDirection>},
};

}  // namespace

int main(int argc, char** argv) {
  Words words{argv + 1, argv + argc};
  std::string name = "reference";
  std::string program = argv[0];
  if (words.size() >= 2 && words[0] == "--driver") {
    name = words[1];
    program += " --driver " + name;
    words.erase(words.begin(), words.begin() + 2);
  }
  for (const Named& driver : drivers) {
    if (driver.name == name) return driver.run(program, words);
  }
  std::fprintf(stderr, "%s: no driver is called '%s'; there are", argv[0], name.c_str());
  for (const Named& driver : drivers) std::fprintf(stderr, " %s", driver.name);
  std::fputs("\n", stderr);
  return 2;
}
