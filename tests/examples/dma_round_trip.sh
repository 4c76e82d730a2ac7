#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# dma_round_trip.sh CASE PROGRAM: runs the program, and checks its output, exit status and files.
set -euo pipefail
case=$1 program=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo "$case: $*" >&2; exit 1; }

# expect STATUS TEXT COMMAND...: the command exits with STATUS and prints a line with TEXT.
expect() {
  local status=$1 text=$2 seen=0
  shift 2
  "$@" >"$work/out" 2>&1 || seen=$?
  [ "$seen" -eq "$status" ] || { cat "$work/out"; die "status $seen, not $status: $*"; }
  grep -qF -- "$text" "$work/out" || { cat "$work/out"; die "no '$text': $*"; }
}

head -c 3000320 /dev/urandom >"$work/source"
truncate -s 3000320 "$work/source"  # 5,860 sectors: the last chunk is short

case $case in
  threads)
    for counts in '1 1' '2 3' '4 2'; do
      set -- $counts
      expect 0 'verified:' "$program" "$work/source" "$work/copy" --queues "$1" --contexts "$2"
      cmp "$work/source" "$work/copy" || die "the copy differs"
      rm "$work/copy"
    done ;;
  faults)
    for seed in 1 2 3 4 5; do
      expect 0 'verified:' "$program" "$work/source" "$work/copy" --faults "$seed"
      cmp "$work/source" "$work/copy" || die "the copy differs with seed $seed"
      grep -q 'faults: .* [0-9]' "$work/out" || die "no fault with seed $seed"
      grep '^source:' "$work/out" >"$work/first"
      expect 0 'verified:' "$program" "$work/source" "$work/copy" --faults "$seed"
      grep '^source:' "$work/out" | cmp - "$work/first" || die "seed $seed gave two different runs"
    done ;;
  unplug)
    for seed in 1 2 3; do
      expect 1 'an I/O failed for good: offline' "$program" "$work/source" "$work/copy" \
        --faults "$seed" --unplug 10
    done
    # Before the first request, or during the first ones.
    expect 1 'an I/O failed for good: offline' "$program" "$work/source" "$work/copy" --unplug 0
    [ -z "$(find "$work" -name 'copy*')" ] || die "a destination was left" ;;
  options)
    expect 2 'a source and a destination are needed' "$program" "$work/source"
    expect 2 "cannot use '--queues 0'" "$program" "$work/source" "$work/copy" --queues 0
    expect 2 "cannot use '--depth 3'" "$program" "$work/source" "$work/copy" --depth 3
    expect 2 "cannot use '--faults x'" "$program" "$work/source" "$work/copy" --faults x
    [ ! -e "$work/copy" ] || die "a destination was made" ;;
  files)
    expect 1 'No such file' "$program" "$work/none" "$work/copy"
    head -c 1000 /dev/zero >"$work/odd"
    expect 1 'not a whole number of sectors' "$program" "$work/odd" "$work/copy"
    : >"$work/empty"
    expect 1 'not a whole number of sectors' "$program" "$work/empty" "$work/copy"
    expect 1 'name a place that can be written' "$program" "$work/source" "$work/no/copy"
    [ -z "$(find "$work" -name 'copy*')" ] || die "a destination was left" ;;
  *) die "no such case" ;;
esac
