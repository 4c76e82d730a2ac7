#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# ram_disk.sh CASE PROGRAM: runs the program, and checks its output and exit status.
set -euo pipefail
case=$1 program=$2
# shellcheck source=tests/examples/expect.sh
source "$(dirname "$0")/expect.sh"

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
