#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
# Runs in the guest of tools_guest.py: a zoned null block disk on Linux's ublk driver. Prints a line for
# each scenario, and a last one with their number.
cd /tmp || exit 1
# shellcheck source=tests/real/guest_checks.sh
. ./guest_checks.sh
disk=/dev/ublkb0
queue=/sys/block/ublkb0/queue

# serve KEY=VALUE...
serve() { start_server ./null_block_ublk "$@"; }
# stop: the server ends well.
stop() {
  kill "$pid"
  check "the server ends with 0" wait "$pid"
  cat server.out >>served.out
}
# zone NUMBER PATTERN: blkzone's line of the zone has the pattern.
zone() {
  blkzone report "$disk" >zones.out && sed -n "$(($1 + 1))p" zones.out | grep -q "$2"
}
# fio_zbd ARGUMENT...: fio with its mode for zoned block devices, on all zones.
fio_zbd() {
  /bin/fio --name=zbd --filename="$disk" --zonemode=zbd --direct=1 --ioengine=libaio --bsrange=4k-64k \
    --group_reporting "$@"
}

# 16 zones of 4 MiB, of which 3 MiB can be written. The first two are conventional.
serve_zones() {
  serve size=64m blocksize=4k memory_backed=1 zone_size=4m zone_capacity=3m zone_nr_conv=2 \
    zone_max_open=4 zone_max_active=6
}

serve_zones
check "the disk is zoned" grep -qx host-managed $queue/zoned
check "the kernel has its zones" grep -qx 16 $queue/nr_zones
check "the kernel has its limits" grep -qx 4 $queue/max_open_zones
check "both limits" grep -qx 6 $queue/max_active_zones
check "a conventional zone" zone 1 'type: 1(CONVENTIONAL)'
check "an empty zone" zone 2 'cap 0x001800, wptr 0x000000 reset:0 non-seq:0, zcond: 1(em)'
scenario "the kernel finds the zones of the disk"

check "a write at the write pointer" dd if=/dev/zero of=$disk bs=4k count=4 seek=2048 oflag=direct
check "the pointer has moved" zone 2 'wptr 0x000020 .*zcond: 2(oi)'
check "a write elsewhere fails" is_not dd if=/dev/zero of=$disk bs=4k count=1 seek=2050 oflag=direct
check "zones are opened" blkzone open -o $((3 * 8192)) -c 1 $disk
check "explicitly" zone 3 'zcond: 3(oe)'
check "zones are closed" blkzone close -o $((2 * 8192)) -c 1 $disk
check "with their data" zone 2 'wptr 0x000020 .*zcond: 4(cl)'
check "zones are finished" blkzone finish -o $((2 * 8192)) -c 1 $disk
check "and full" zone 2 'zcond:14(fu)'
check "all zones are reset" blkzone reset $disk
check "and empty" zone 2 'wptr 0x000000 .*zcond: 1(em)'
stop
# An open, a close, a finish, and a reset of all zones or of each. Only the write elsewhere fails, in
# the kernel or here.
check "blkzone's commands came" grep -Eq 'zone commands: ([4-9]|[1-9][0-9])' server.out
check "and reports" grep -Eq 'reports: [1-9]' server.out
check "nothing else fails" grep -q 'failed: [01]$' server.out
scenario "blkzone opens, closes, finishes and resets zones"

# fio has a server of its own, so that the server's counts are fio's.
serve_zones
check "sequential writes with verify" fio_zbd --rw=write --offset=8m --size=56m --verify=crc32c \
  --verify_fatal=1 --max_open_zones=4
check "zones are full" zone 9 'zcond:14(fu)'
check "random writes with resets" fio_zbd --rw=randwrite --offset=8m --size=56m --io_size=128m \
  --iodepth=8 --max_open_zones=4
check "random reads and writes of two processes" fio_zbd --rw=randrw --offset=8m --size=56m \
  --io_size=32m --iodepth=8 --numjobs=2 --max_open_zones=2
stop
# The random writes fill 42 zones, and find all of them full.
check "fio has reset zones" grep -Eq 'zone commands: ([4-9][0-9]|[1-9][0-9][0-9])' server.out
check "nothing fails" grep -q 'failed: 0$' server.out
scenario "fio's zbd mode: verify, resets in between, two processes"
cat served.out
finish
