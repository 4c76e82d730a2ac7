#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
# vhost_user_blk_target.sh FOLDER SOCKETS: runs the target of FOLDER at three sockets. When the guest says
# so in FOLDER/guest.out, kills the target three times with requests in flight, and starts it again. On
# SIGTERM, stops the target. Its report is in FOLDER/target.err.
folder=$1
sockets=$2

# await_lines PATTERN FILE: waits until the target has printed a line for each of its disks. Ends the script
# if the target has ended.
await_lines() {
  until [ "$(grep -c "$1" "$2")" = 3 ]; do
    if ! kill -0 "$pid" 2>/dev/null; then
      echo "the target has ended, without three lines with $1:" >&2
      cat "$folder/target.err" >&2
      exit 1
    fi
    sleep 0.1
  done
}
serve() {
  : >"$folder/target.out"
  "$folder/vhost_user_blk" "$sockets/ext4=file:$folder/ext4.img" "$sockets/slow=file:$folder/fuse/disk" \
    "$sockets/late=memory:16m,delay-ms=13000" >"$folder/target.out" 2>"$folder/target.err" &
  pid=$!
  # Before that, SIGUSR1 would end it.
  await_lines '^listening' "$folder/target.out"
}
# is_busy: QEMU is connected to all disks, and the target has requests in flight. The report of each disk
# ends with the number in flight.
is_busy() {
  : >"$folder/target.err"
  kill -USR1 "$pid"
  await_lines '^in flight' "$folder/target.err"
  [ "$(grep -c '^front ends: 1' "$folder/target.err")" = 3 ] &&
    grep -q '^in flight: [1-9]' "$folder/target.err"
}

trap 'kill "$pid"; wait "$pid"; exit' TERM
serve
until grep -q '^kill the target' "$folder/guest.out"; do sleep 0.1; done
for killed in 1 2 3; do
  until is_busy; do :; done
  kill -9 "$pid"
  wait "$pid"
  serve
  echo "target killed with requests in flight, $killed"
done
# The guest's file system on this file is no longer used.
echo "done" | dd of="$folder/ext4.img" conv=notrunc status=none
wait "$pid"
