// SPDX-License-Identifier: BSL-1.0
//
// What a table of requests in flight prints, as text.

#ifndef BLKOWN_TESTS_SUPPORT_TABLE_HPP
#define BLKOWN_TESTS_SUPPORT_TABLE_HPP

#include <gtest/gtest.h>

#include <blkown/in_flight_table.hpp>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>

namespace support {

/// What `print(file)` prints.
template <class Print>
std::string printed_by(Print print) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), &std::fclose};
  print(file.get());
  std::string text(static_cast<std::size_t>(std::ftell(file.get())), '\0');
  std::rewind(file.get());
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file.get()), text.size());
  return text;
}

/// The table of a TagSet.
template <class R>
std::string table_of(const blkown::TagSet<R>& tags) {
  return printed_by([&](std::FILE* file) { print_in_flight(tags, file); });
}

}  // namespace support

#endif
