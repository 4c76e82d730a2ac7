#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Runs one static program in a Linux guest, with an NVMe controller behind an IOMMU.

    guest.py [--folder FOLDER] [--limit SECONDS] PROGRAM [ARGUMENT...]

QEMU emulates the machine (TCG), so that no right is needed. The controller is bound to vfio-pci.
disk_options() lists its namespaces. The program gets the controller's PCI address and the arguments.
Its lines are printed as they come. The exit status is that of the program, or 1 after an error of the
guest, which is named in one line.

FOLDER (build/real) keeps the unpacked kernel, the disks, the sockets, and console.log: everything
that the guest has printed.
"""
import argparse
import pathlib
import shlex
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True  # the folder of the sources stays as it is
import guest_image  # noqa: E402
from guest_image import GuestError, MARK  # noqa: E402

MEMORY_MIB = 768
# no_timer_check: on a busy host the kernel's test of its timer fails, and the kernel panics.
KERNEL_ARGUMENTS = ('console=ttyS0 panic=-1 quiet loglevel=1 mitigations=off no_timer_check '
                    'intel_iommu=on')
SLOW_DISKS = {'slow': 300, 'stuck': 900}  # by name: the time of a read in milliseconds
# The host ends a guest that has not come to its end by itself.
LIMIT_SECONDS = 240


class Nbdkit:
    """An NBD server on a socket, whose disk is slow to read."""

    def __init__(self, socket, read_delay_ms):
        socket.unlink(missing_ok=True)
        command = ['nbdkit', '--foreground', '--exit-with-parent', '--unix', str(socket),
                   '--filter=delay', 'memory', '64M', f'rdelay={read_delay_ms}ms']
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stderr=subprocess.PIPE, text=True)
        except FileNotFoundError as error:
            raise GuestError('nbdkit is not installed') from error
        give_up = time.monotonic() + 10
        while not socket.exists():
            if self.process.poll() is not None:
                raise GuestError(f'nbdkit: {self.process.stderr.read().strip()}')
            if time.monotonic() > give_up:
                self.stop()
                raise GuestError('nbdkit has made no socket within 10 s')
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def disk_options(folder):
    """QEMU's options for the namespaces, by namespace id:

    1  64 MiB in blocks of 512 bytes
    2  64 MiB in blocks of 4,096 bytes
    3  64 MiB, of which each read takes 300 ms
    4  64 MiB, of which the sector 2,048 cannot be read
    5  64 MiB, of which each read takes 900 ms
    """
    for name in ('plain', 'large', 'failing'):
        with open(folder / f'{name}.img', 'wb') as image:
            image.truncate(64 << 20)

    def file_node(name):
        return f'driver=file,node-name={name}-file,filename={folder}/{name}.img,cache.no-flush=on'
    return [
        '-blockdev', file_node('plain'), '-blockdev', 'driver=raw,node-name=plain,file=plain-file',
        '-blockdev', file_node('large'), '-blockdev', 'driver=raw,node-name=large,file=large-file',
        *(option for name in SLOW_DISKS for option in (
            '-blockdev',
            f'driver=nbd,node-name={name},server.type=unix,server.path={folder}/{name}.socket')),
        '-blockdev', file_node('failing'),
        '-blockdev', 'driver=blkdebug,node-name=blkdebug,image=failing-file,'
        'inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,'
        'inject-error.0.sector=2048',
        '-blockdev', 'driver=raw,node-name=failing,file=blkdebug',
        '-device', 'nvme,serial=blkown,id=nvme0,max_ioqpairs=4,msix_qsize=8,mdts=8',
        '-device', 'nvme-ns,drive=plain,bus=nvme0,nsid=1',
        '-device', 'nvme-ns,drive=large,bus=nvme0,nsid=2,logical_block_size=4096,'
        'physical_block_size=4096',
        '-device', 'nvme-ns,drive=slow,bus=nvme0,nsid=3',
        '-device', 'nvme-ns,drive=failing,bus=nvme0,nsid=4',
        '-device', 'nvme-ns,drive=stuck,bus=nvme0,nsid=5']


def qemu_command(folder, image):
    """The machine: q35 with an IOMMU that also remaps interrupts, which VFIO demands."""
    return ['qemu-system-x86_64', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2',
            '-m', str(MEMORY_MIB), '-display', 'none', '-serial', 'stdio', '-monitor', 'none',
            '-no-reboot', '-nic', 'none', '-nodefaults', '-machine', 'q35',
            '-device', 'intel-iommu,intremap=on', *disk_options(folder),
            '-kernel', str(image), '-initrd', str(folder / 'initramfs'),
            '-append', KERNEL_ARGUMENTS]


class Console:
    """Reads the guest's console, prints the program's lines, and remembers what the guest said."""

    def __init__(self, log):
        self.log = log
        self.status = None
        self.error = None
        self.is_running = False
        self.last = 'nothing'
        self.panic = None

    def read(self, stream):
        for raw in stream:
            self.log.write(raw)
            self.log.flush()
            line = raw.decode(errors='replace').strip('\r\n')
            if line.startswith(MARK):
                self.take(line.removeprefix(MARK).strip())
            elif self.is_running:
                print(line, flush=True)
            if line:
                self.last = line
            if 'Kernel panic' in line:
                self.panic = line

    def take(self, said):
        word, _, rest = said.partition(' ')
        if word == 'error':
            self.error = rest
        elif word == 'status':
            self.status, self.is_running = int(rest), False
        elif word == 'runs':
            self.is_running = True
            print(f'{MARK} {rest}', flush=True)


def boot(folder, command, limit_seconds):
    """Runs QEMU until the guest ends, and returns the program's exit status."""
    (folder / 'command').write_text(shlex.join(command) + '\n')
    try:
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise GuestError('qemu-system-x86_64 is not installed') from error
    expired = threading.Event()
    timer = threading.Timer(limit_seconds, lambda: (expired.set(), qemu.kill()))
    timer.start()
    try:
        with open(folder / 'console.log', 'wb') as log:
            console = Console(log)
            console.read(qemu.stdout)
        said = qemu.stderr.read().decode(errors='replace').strip()
        qemu.wait()
    finally:
        timer.cancel()
        if qemu.poll() is None:
            qemu.kill()
    if expired.is_set():
        raise GuestError(f'not done after {limit_seconds} s; its last line: {console.last}')
    if console.error is not None:
        raise GuestError(console.error)
    if console.status is None:
        reason = said.splitlines()[-1] if said else console.panic or f'last line: {console.last}'
        raise GuestError(f'it ended before the program did; {reason}')
    return console.status


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--folder', type=pathlib.Path, default=pathlib.Path('build/real'))
    parser.add_argument('--limit', type=int, default=LIMIT_SECONDS, help='in seconds')
    parser.add_argument('program', type=pathlib.Path)
    parser.add_argument('arguments', nargs=argparse.REMAINDER)
    options = parser.parse_args()
    # QEMU splits its options at commas.
    folder = options.folder.absolute()
    if ',' in str(folder):
        sys.exit(f'{sys.argv[0]}: {folder}: QEMU takes no folder with a comma')
    folder.mkdir(parents=True, exist_ok=True)
    servers = []
    try:
        unpacked = guest_image.kernel(folder / 'kernel')
        guest_image.write_initramfs(folder / 'initramfs', unpacked, options.program,
                                    options.arguments)
        for name, read_delay_ms in SLOW_DISKS.items():
            servers.append(Nbdkit(folder / f'{name}.socket', read_delay_ms))
        return boot(folder, qemu_command(folder, guest_image.vmlinuz(unpacked)), options.limit)
    except GuestError as error:
        print(f'{sys.argv[0]}: the guest failed: {error}', file=sys.stderr)
        return 1
    finally:
        for server in servers:
            server.stop()


if __name__ == '__main__':
    sys.exit(main())
