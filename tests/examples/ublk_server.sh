#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# ublk_server.sh PROGRAM: the options of the ublk server, and what it says where the kernel has no ublk.
# Everything else needs the driver: tests/real/ublk.scenarios.
set -euo pipefail
case=options program=$1
# shellcheck source=tests/examples/expect.sh
source "$(dirname "$0")/expect.sh"

expect 0 "Usage: ublk_server" "$program" --help
expect_line 2 "give add FILE, recover ID FILE or delete ID" "$program"
expect_line 2 "give add FILE" "$program" add
expect_line 2 "give add FILE" "$program" recover 1
expect_line 2 "ID x: give a whole number" "$program" delete x
expect_line 2 "cannot use '--frob'" "$program" add --frob 1 file
expect_line 2 "cannot use '--depth' here" "$program" add file --depth
expect_line 2 "--queues 65: give a whole number from 1 to 64" "$program" add --queues 65 file
expect_line 2 "--depth 4097: give" "$program" add --depth 4097 file
expect_line 2 "--max-io-kib 5: not whole pages" "$program" add --max-io-kib 5 file
expect_line 2 "cannot use '--depth' with recover" "$program" recover --depth 4 0 file
expect_line 2 "cannot use '--id' with recover" "$program" recover 1 file --id 2
expect_line 2 "cannot use '--direct' with delete" "$program" delete 0 --direct
if [ -e /dev/ublk-control ]; then
  expect_line 1 "ublk_server: " "$program" add /nonexistent/file
else
  expect_line 1 "ublk_server: /dev/ublk-control: No such file or directory; load the module ublk_drv" \
    "$program" add /nonexistent/file
fi
