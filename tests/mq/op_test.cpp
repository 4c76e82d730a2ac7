// SPDX-License-Identifier: BSL-1.0
//
// Tests of Op and IoFlags: each predicate for each operation.

#include <gtest/gtest.h>

#include <array>
#include <blkown/mq/op.hpp>
#include <cstddef>

namespace {

namespace mq = blkown::mq;
using mq::Op;

struct OpRow {
  Op op;
  const char* name;
  bool data, range, zone, own, write;
};

constexpr bool yes = true;
constexpr bool no = false;

// clang-format off
constexpr std::array<OpRow, mq::op_count> op_rows{
    //                                        data range zone own  write
    OpRow{Op::read,         "read",           yes, yes,  no,  no,  no},
    OpRow{Op::write,        "write",          yes, yes,  no,  no,  yes},
    OpRow{Op::flush,        "flush",          no,  no,   no,  no,  no},
    OpRow{Op::discard,      "discard",        no,  yes,  no,  no,  yes},
    OpRow{Op::write_zeroes, "write_zeroes",   no,  yes,  no,  no,  yes},
    OpRow{Op::zone_open,    "zone_open",      no,  no,   yes, no,  yes},
    OpRow{Op::zone_close,   "zone_close",     no,  no,   yes, no,  yes},
    OpRow{Op::zone_finish,  "zone_finish",    no,  no,   yes, no,  yes},
    OpRow{Op::zone_reset,   "zone_reset",     no,  no,   yes, no,  yes},
    OpRow{Op::zone_reset_all, "zone_reset_all", no, no,  yes, no,  yes},
    OpRow{Op::zone_append,  "zone_append",    yes, yes,  no,  no,  yes},
    OpRow{Op::driver_in,    "driver_in",      no,  no,   no,  yes, no},
    OpRow{Op::driver_out,   "driver_out",     no,  no,   no,  yes, no},
};
// clang-format on

TEST(OpTable, HasARowForEveryOperationInItsOrder) {
  for (std::size_t i = 0; i != op_rows.size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(op_rows[i].op), i) << op_rows[i].name;
  }
  EXPECT_STREQ(to_string(static_cast<Op>(op_rows.size())), "unknown op")
      << "an operation without a row";
}

TEST(OpTable, PredicatesAgreeWithTheTable) {
  for (const OpRow& row : op_rows) {
    SCOPED_TRACE(row.name);
    EXPECT_STREQ(to_string(row.op), row.name);
    EXPECT_EQ(has_data(row.op), row.data);
    EXPECT_EQ(has_range(row.op), row.range);
    EXPECT_EQ(is_zone_management(row.op), row.zone);
    EXPECT_EQ(is_private(row.op), row.own);
    EXPECT_EQ(is_write(row.op), row.write);
  }
}

TEST(IoFlags, AreAllFalseByDefault) {
  EXPECT_EQ(mq::IoFlags{},
            (mq::IoFlags{.fua = false, .preflush = false, .polled = false, .nowait = false}));
  for (const mq::IoFlags flags : {mq::IoFlags{.fua = true}, mq::IoFlags{.preflush = true},
                                  mq::IoFlags{.polled = true}, mq::IoFlags{.nowait = true}}) {
    EXPECT_NE(flags, mq::IoFlags{});
  }
}

}  // namespace
