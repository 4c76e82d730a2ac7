#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# ublk_server.sh PROGRAM: the options of the ublk server, and what it says where the kernel has no ublk.
# Everything else needs the driver: tests/real/ublk.scenarios.
set -euo pipefail
program=$1

die() { echo "$*" >&2; exit 1; }

# expect STATUS TEXT COMMAND...: the command exits with STATUS and prints one line, with TEXT.
expect() {
  local status=$1 text=$2 seen=0 out
  shift 2
  out=$(timeout 20 "$@" 2>&1) || seen=$?
  [ "$seen" -eq "$status" ] || die "status $seen, not $status: $*: $out"
  grep -qF -- "$text" <<<"$out" || die "no '$text': $*: $out"
  [ "$status" -eq 0 ] || [ "$(wc -l <<<"$out")" -eq 1 ] || die "more than a line: $*: $out"
}

expect 0 "Usage: ublk_server" "$program" --help
expect 2 "give add FILE, recover ID FILE or delete ID" "$program"
expect 2 "give add FILE" "$program" add
expect 2 "give add FILE" "$program" recover 1
expect 2 "ID x: give a whole number" "$program" delete x
expect 2 "cannot use '--frob'" "$program" add --frob 1 file
expect 2 "cannot use '--depth' here" "$program" add file --depth
expect 2 "--queues 65: give a whole number from 1 to 64" "$program" add --queues 65 file
expect 2 "--depth 4097: give" "$program" add --depth 4097 file
expect 2 "--max-io-kib 5: not whole pages" "$program" add --max-io-kib 5 file
expect 2 "cannot use '--depth' with recover" "$program" recover --depth 4 0 file
expect 2 "cannot use '--id' with recover" "$program" recover 1 file --id 2
expect 2 "cannot use '--direct' with delete" "$program" delete 0 --direct
if [ -e /dev/ublk-control ]; then
  expect 1 "ublk_server: " "$program" add /nonexistent/file
else
  expect 1 "ublk_server: /dev/ublk-control: No such file or directory; load the module ublk_drv" \
    "$program" add /nonexistent/file
fi
