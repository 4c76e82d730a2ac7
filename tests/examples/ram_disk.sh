#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# ram_disk.sh CASE PROGRAM: runs the program, and checks its output and exit status.
set -euo pipefail
case=$1 program=$2

die() { echo "$case: $*" >&2; exit 1; }

# expect STATUS TEXT COMMAND...: the command exits with STATUS and prints a line with TEXT.
expect() {
  local status=$1 text=$2 seen=0 out
  shift 2
  out=$("$@" 2>&1) || seen=$?
  [ "$seen" -eq "$status" ] || die "status $seen, not $status: $*: $out"
  grep -qF -- "$text" <<<"$out" || die "no '$text': $*: $out"
}

case $case in
  round_trip)
    expect 0 "disk 'ram0': made" "$program"
    expect 0 "flush: submitted, 1 in flight; ended: ok" "$program"
    expect 0 "data: equal" "$program"
    expect 0 "disk 'ram0': removed: ok" "$program" ;;
  configuration)
    expect 1 "disk 'ram0': capacity_sectors: too small" "$program" 0
    [ "$("$program" 0 2>&1 | wc -l)" -eq 1 ] || die "more than one line" ;;
  mismatch)
    expect 1 "data: different" "$program" 16 ;;
  *) die "no such case" ;;
esac
