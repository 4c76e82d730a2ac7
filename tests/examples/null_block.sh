#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# null_block.sh CASE PROGRAM: runs null_block as a user does, and checks its output and exit status.
set -euo pipefail
case=$1 program=$2
# shellcheck source=tests/examples/expect.sh
source "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT

case $case in
  options)
    expect 0 "Usage: null_block" "$program" --help
    expect 0 "completion_nsec            10000          live    a whole number from 0 to" "$program" --help
    expect 2 "cannot use '--frob'" "$program" --frob 1
    expect 2 "--depth 0: give a whole number from 1 to 1024" "$program" --depth 0
    expect 2 "frob=1: there is no such parameter" "$program" frob=1
    expect 1 "zoned=1: this workload writes in any order" "$program" zoned=1
    expect 2 "blocksize=3: give a power of 2 from 512 to 65536" "$program" blocksize=3
    expect 2 "cache_size=4096: needs memory_backed=1" "$program" cache_size=4k
    expect 2 "size=2m: give each parameter once" "$program" size=1m size=2m
    expect 2 "size=2m: give each parameter once" "$program" size=1m,size=2m
    expect 1 "the disk has too few blocks" "$program" size=64k
    expect 1 "init_hctx_probability=100: the queue was refused" "$program" init_hctx_probability=100
    for wrong in size= size=-1 size=+1m size=18446744073709551616 size=1t frob submit_queues=1k \
      size=1m,size=1m size=1m, "size=1m size=2m" memory_limit=1m "zoned=1 zone_size=5k"; do
      # shellcheck disable=SC2086  # several arguments
      expect_line 2 "null_block: " "$program" $wrong
    done
    expect 1 "$folder/none: No such file" "$program" --send "$folder/none" show
    : >"$folder/taken"
    expect 1 "$folder/taken: Address already in use" "$program" --control "$folder/taken" ;;
  workload)
    run=("$program" size=16m --count 2000)
    expect 0 "failed: 0, wrong: 0" "${run[@]}"
    expect 0 "failed: 0, wrong: 0" "${run[@]}" memory_backed=1 completion=softirq submit_queues=2
    expect 0 "failed: 0, wrong: 0" "${run[@]}" memory_backed=1 completion=timer hw_queue_depth=4
    expect 0 "failed: 0, wrong: 0" "${run[@]}" memory_backed=1 poll_queues=2 blocking=1
    expect 0 "failed: 0, wrong: 0" "${run[@]}" memory_backed=1 requeue_probability=20 cache_size=64k
    expect 0 "disks_with_these_tags=1" "${run[@]}" shared_tags=1 hw_queue_depth=2
    expect 0 "failed: 5, wrong: 0" "${run[@]}" memory_backed=1 timeout_ms=20 timeout_probability=50 \
      timeout_times=5 ;;
  control)
    "$program" --control "$folder/socket" --serve size=16m memory_backed=1 --count 1000 \
      >"$folder/out" 2>"$folder/err" &
    server=$!
    await "$folder/out" "control: $folder/socket"
    send=("$program" --send "$folder/socket")
    expect 0 "completion=none" "${send[@]}" show
    expect 0 "set KEY VALUE" "${send[@]}" help
    for change in "completion timer" "completion_nsec 1000" "submit_queues 4" "max_sectors 8" \
      "mbps 500" "badblocks +8-15" "badblocks -8-15" "completion softirq" "submit_queues 1"; do
      expect 0 ok "${send[@]}" "set $change"
    done
    expect 0 "completion=softirq" "${send[@]}" show
    expect 0 "mbps=500" "${send[@]}" show
    expect 0 ok "${send[@]}" "power off"
    expect 0 "power=off" "${send[@]}" show
    expect 0 ok "${send[@]}" "power on"
    expect 1 "error: 'frob': see help" "${send[@]}" frob
    expect 1 "error: power: give on, off, or off SEED" "${send[@]}" "power down"
    expect 1 "error: set: give KEY VALUE" "${send[@]}" "set mbps"
    expect 1 "error: mbps=x: give a whole number from 0 to 1048576" "${send[@]}" "set mbps x"
    expect 1 "error: size=1m: the disk is up" "${send[@]}" "set size 1m"
    kill "$server"
    wait "$server" || die "status $?"
    server=
    tail -n 1 "$folder/out" | grep -q 'wrong: 0' || die "$(tail -n 1 "$folder/out")"
    [ ! -e "$folder/socket" ] || die "the socket is left" ;;
  *) die "no such case" ;;
esac
