#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# nbd_server.sh CASE PROGRAM [NULL_BLOCK]: runs the NBD server as a user does, and checks its output and
# exit status. The case null talks to its disks with the program NULL_BLOCK.
set -euo pipefail
case=$1 program=$2 null_block=${3:-}
# shellcheck source=tests/examples/expect.sh
source "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT

case $case in
  options)
    expect 0 "Usage: nbd_server" "$program" --help
    expect 2 "no export is given" "$program"
    expect 2 "cannot use '--frob'" "$program" --frob 1 a=memory:1m
    expect 2 "--threads 0: give a whole number from 1 to 64" "$program" --threads 0 a=memory:1m
    expect 2 "--connections 256: give" "$program" --connections 256 a=memory:1m
    expect 2 "give NAME=STORE" "$program" memory:1m
    expect 2 "there are the stores memory, file, disk and null" "$program" a=tape:1m
    expect 2 "the size is a number" "$program" a=memory:1x
    expect 2 "the size is a number" "$program" a=memory:1m,frob
    expect 2 "another export has this name" "$program" a=memory:1m a=memory:1m
    expect 1 "export 'a': $folder/none: No such file" "$program" "a=file:$folder/none"
    expect 1 "capacity_sectors" "$program" a=disk:0
    expect 1 "export 'disk': blocksize=3: give a power of 2" "$program" --disk null:blocksize=3
    expect 1 "export 'a': zoned=1: NBD has no zones" "$program" a=null:zoned=1,memory_backed=1
    expect 1 "export 'a': $folder/none/x: No such file" "$program" "a=null:,control=$folder/none/x"
    expect 1 "give HOST:PORT" "$program" --listen 1 a=memory:1m
    : >"$folder/taken"
    expect 1 "$folder/taken: Address already in use" "$program" --unix "$folder/taken" a=memory:1m ;;
  report)
    # A client with two reads at a slow device. bash speaks TCP.
    "$program" --listen 127.0.0.1:0 --stop-ms 100 slow=memory:1m,delay-ms=4000 >"$folder/out" 2>"$folder/err" &
    server=$!
    await "$folder/out" "listening: nbd://127.0.0.1:"
    port=$(sed -n 's|^listening: nbd://127.0.0.1:\([0-9]*\)/$|\1|p' "$folder/out")
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    [ "$(head -c 8 <&3)" = NBDMAGIC ] || die "no greeting"
    # Flags; EXPORT_NAME without a name; two reads.
    printf '\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0' >&3
    read='\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\2\0'
    printf %b "$read$read" >&3
    for _ in $(seq 40); do
      kill -USR1 "$server"
      sleep 0.05
      ! grep -qx 'in flight: 2' "$folder/err" || break
    done
    await "$folder/err" "in flight: 2"
    await "$folder/err" "queue 0 tag 0 generation"
    await "$folder/err" ": with the device, pins 0"
    await "$folder/err" "connections: 1 now"
    # The client waits 100 ms for its replies, the server until its device is done with both.
    kill "$server"
    # A client that comes then is refused, instead of waiting in the listener's queue.
    for _ in $(seq 20); do
      (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
      sleep 0.05
    done
    ! (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || die "a client connects to a server that stops"
    wait "$server" || die "status $?"
    server=
    tail -n 6 "$folder/err" | grep -qF 'commands: 2: 0 refused, 0 failed, 2 dropped' ||
      die "$(cat "$folder/err")"
    tail -n 6 "$folder/err" | grep -qx 'commands by thread: 2' || die "$(cat "$folder/err")"
    [ "$(tail -n 1 "$folder/err")" = 'in flight: 0' ] || die "$(cat "$folder/err")" ;;
  unix)
    "$program" --unix "$folder/socket" a=memory:1m >"$folder/out" 2>"$folder/err" &
    server=$!
    await "$folder/out" "listening: nbd+unix:///?socket=$folder/socket"
    # Another server does not take the socket of one that runs, but that of one that was killed.
    expect 1 "Address already in use" "$program" --unix "$folder/socket" a=memory:1m
    kill -KILL "$server"
    wait "$server" 2>/dev/null || true
    [ -S "$folder/socket" ] || die "the socket is gone"
    "$program" --unix "$folder/socket" a=memory:1m >"$folder/out2" 2>"$folder/err" &
    server=$!
    await "$folder/out2" "listening:"
    kill -INT "$server"
    wait "$server" || die "status $?"
    server=
    [ ! -e "$folder/socket" ] || die "the socket is left" ;;
  null)
    first=null:size=1g,memory_backed=1,discard=1,shared_tags=1,hw_queue_depth=8
    expect 1 "export 'b': hw_queue_depth=64: give hw_queue_depth=8, as the first disk" \
      "$program" "a=$first" b=null:shared_tags=1
    "$program" --unix "$folder/socket" --disk "$first,control=$folder/a" \
      "b=null:hw_queue_depth=8,shared_tags=1,control=$folder/b" "c=null:,control=$folder/c" \
      >"$folder/out" 2>"$folder/err" &
    server=$!
    await "$folder/out" "listening: nbd+unix:///?socket=$folder/socket"
    expect 0 "disks_with_these_tags=2" "$null_block" --send "$folder/a" show
    expect 0 "disks_with_these_tags=2" "$null_block" --send "$folder/b" show
    expect 0 "shared_tags=0" "$null_block" --send "$folder/c" show
    expect 0 ok "$null_block" --send "$folder/a" "power off"
    expect 0 "power=off" "$null_block" --send "$folder/a" show
    expect 1 "error: power: needs memory_backed=1" "$null_block" --send "$folder/b" "power off"
    kill "$server"
    wait "$server" || die "status $?"
    server=
    [ ! -e "$folder/a" ] || die "the control socket is left" ;;
  descriptors)
    truncate -s 1M "$folder/file"
    # The socket of a server that was killed: one more descriptor finds out that nobody listens.
    "$program" --unix "$folder/stale" a=memory:1m >"$folder/out" 2>&1 &
    server=$!
    await "$folder/out" listening:
    kill -KILL "$server"
    wait "$server" 2>/dev/null || true
    server=
    [ -S "$folder/stale" ] || die "no socket is left"
    expect_few_descriptors listening: "$program" --unix "$folder/stale" a=memory:1m
    for store in memory:1m "file:$folder/file" disk:1m; do
      expect_few_descriptors listening: "$program" --unix "$folder/s" "a=$store"
    done ;;
  *) die "no such case" ;;
esac
