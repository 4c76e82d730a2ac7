// SPDX-License-Identifier: BSL-1.0
//
// The driver moves the write pointer when it sends an append, and not when the data is written.

#ifndef BLKOWN_TESTS_SIM_BROKEN_ZONED_POINTER_AT_ISSUE_HPP
#define BLKOWN_TESTS_SIM_BROKEN_ZONED_POINTER_AT_ISSUE_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>

#include "sim/zoned_driver.hpp"

namespace zoned {

class PointerAtIssue : public Driver {
 public:
  using Driver::Driver;

  Result execute(const Command& command, std::span<std::byte> bytes) override {
    const auto place = places_.find(command.cookie);
    if (command.op != mq::Op::zone_append || place == places_.end())
      return Driver::execute(command, bytes);
    std::size_t done = 0;
    const auto fill = [&](std::byte* to, std::size_t length) {
      std::memcpy(to, bytes.data() + done, length);
      done += length;
    };
    const std::uint64_t sector = place->second;
    return {
        .status = host_.medium.store->write(sector * mq::sector_bytes, bytes.size(), true, fill),
        .sector = sector};
  }

 protected:
  void prepare(Command& command) override {
    if (command.op != mq::Op::zone_append) return;
    std::uint64_t sector = command.sector;
    const auto move = [&](std::uint64_t) {
      return null_block::ZonedMedium::Moved{Status::ok, command.length_sectors};
    };
    if (host_.medium.zones->write(sector, command.length_sectors, true, move) == Status::ok)
      places_[command.cookie] = sector;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> places_;  // of appends, by cookie
};

}  // namespace zoned

#endif
