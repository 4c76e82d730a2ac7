// SPDX-License-Identifier: BSL-1.0
#include <gtest/gtest.h>

#include <blkown/status.hpp>
#include <set>
#include <string>

using blkown::Status;

// Goal: a zeroed field means success, and no two statuses have the same text.
TEST(Status, EachHasANameOfItsOwn) {
  EXPECT_EQ(static_cast<int>(Status::ok), 0);
  std::set<std::string> names;
  for (std::size_t i = 0; i != blkown::status_count; ++i) {
    const std::string name = to_string(static_cast<Status>(i));
    EXPECT_NE(name, "unknown status") << i;
    EXPECT_TRUE(names.insert(name).second) << name << " is the text of two";
  }
  EXPECT_EQ(names.size(), blkown::status_count);
  EXPECT_STREQ(to_string(Status::medium_error), "medium_error");
}

TEST(Status, ANumberThatIsNoStatusHasAName) {
  EXPECT_STREQ(to_string(static_cast<Status>(200)), "unknown status");
}

static_assert(sizeof(Status) == 1, "the header has one byte for a Status");
