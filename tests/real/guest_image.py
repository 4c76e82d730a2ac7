# SPDX-License-Identifier: BSL-1.0
"""What a guest boots: Debian's kernel with some of its modules, and an initramfs.

The kernel is the newest linux-image-6.12.*+deb12-cloud-amd64 of the archive. It is downloaded and
unpacked, never installed. Old versions vanish from the archive, so the one that is unpacked already
is used again. The initramfs holds busybox, the modules, one static program and a script that binds the
NVMe controller to vfio-pci and runs the program.
"""
import fcntl
import lzma
import os
import pathlib
import re
import shutil
import stat
import struct
import subprocess

KERNEL_NAME = re.compile(r'linux-image-6\.12\.(\d+)\+deb12-cloud-amd64')
# In the order in which they are loaded: each module after those that it needs.
MODULES = ('drivers/vfio/vfio', 'drivers/vfio/vfio_iommu_type1', 'virt/lib/irqbypass',
           'drivers/vfio/pci/vfio-pci-core', 'drivers/vfio/pci/vfio-pci')
BUSYBOX = pathlib.Path('/bin/busybox')

# The guest tells the host about itself in lines that begin with this word.
MARK = 'guest:'
# Every guest's first script begins with these lines.
BEGINNING = r'''#!/bin/sh
PATH=/bin
say() { echo "@MARK@ $*"; }
stop() { sync; reboot -f; }
fail() { say "error $*"; stop; }
mount -t devtmpfs devtmpfs /dev && mount -t proc proc /proc && mount -t sysfs sysfs /sys ||
  fail "cannot mount /dev, /proc and /sys"
for module in @MODULES@; do
  insmod /modules/$module.ko || fail "cannot load the module $module"
done
'''
INIT = BEGINNING + r'''device=
for path in /sys/bus/pci/devices/*; do
  [ "$(cat $path/class)" != 0x010802 ] || device=${path##*/}
done
[ -n "$device" ] || fail "no NVMe controller on the PCI bus"
path=/sys/bus/pci/devices/$device
[ -e $path/iommu_group ] || fail "$device is in no IOMMU group"
echo vfio-pci >$path/driver_override
[ ! -e $path/driver ] || echo $device >$path/driver/unbind
echo $device >/sys/bus/pci/drivers_probe
[ "$(readlink $path/driver)" = ../../../bus/pci/drivers/vfio-pci ] ||
  fail "vfio-pci did not bind to $device"
say "runs $(cat /proc/sys/kernel/osrelease), $device bound to vfio-pci"
/program $device @ARGUMENTS@
say "status $?"
stop
'''


class GuestError(Exception):
    """Why the guest could not be run, or what it failed with, in one line."""


def run(*command, where=None):
    """Runs the command. Its last line of output is the reason if it fails."""
    try:
        done = subprocess.run(command, cwd=where, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError as error:
        raise GuestError(f'{command[0]} is not installed') from error
    if done.returncode != 0:
        last = (done.stdout.strip().splitlines() or ['no output'])[-1]
        raise GuestError(f'{" ".join(map(str, command))}: {last}')
    return done.stdout


def newest(names):
    """The newest of the kernels, or nothing."""
    kernels = [match for match in map(KERNEL_NAME.fullmatch, names) if match]
    return max(kernels, key=lambda match: int(match[1]))[0] if kernels else None


def download_kernel(folder):
    """Downloads and unpacks the newest kernel into a folder of its name."""
    listed = run('apt-cache', 'pkgnames', 'linux-image-6.12.').split()
    name = newest(listed)
    if name is None:
        raise GuestError('the package archive lists no linux-image-6.12.*+deb12-cloud-amd64')
    unpacking = folder / 'unpacking'
    shutil.rmtree(unpacking, ignore_errors=True)
    unpacking.mkdir(parents=True)
    run('apt-get', 'download', name, where=unpacking)
    package, = unpacking.glob('*.deb')
    run('dpkg-deb', '-x', str(package), str(unpacking))
    package.unlink()
    unpacking.rename(folder / name)
    return folder / name


def kernel(folder):
    """The folder of the unpacked kernel: the one that is there, or else the archive's newest. Of two
    runs at a time, the second one waits for the download of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return unpacked_kernel(folder)


def unpacked_kernel(folder):
    """The folder of the unpacked kernel, under the lock."""
    name = newest(path.name for path in folder.iterdir())
    if name is not None:
        return folder / name
    try:
        return download_kernel(folder)
    except GuestError as first:
        # The lists of packages are missing, or older than the archive.
        if os.geteuid() != 0:
            raise GuestError(f'no kernel for the guest, and only root may refresh the package '
                             f'lists: {first}') from first
        run('apt-get', 'update')
        return download_kernel(folder)


def vmlinuz(unpacked):
    """The kernel's image."""
    image, = (unpacked / 'boot').glob('vmlinuz-*')
    return image


def modules(unpacked, paths=MODULES):
    """(name, contents) of each module, in the order of loading."""
    top, = (unpacked / 'lib/modules').iterdir()
    for module in paths:
        path = top / 'kernel' / f'{module}.ko.xz'
        if not path.exists():
            raise GuestError(f'{unpacked.name} has no module {module}.ko.xz')
        yield path.name.removesuffix('.ko.xz'), lzma.decompress(path.read_bytes())


def static_program(path):
    """The program's contents. A program that needs shared libraries cannot run in the guest."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise GuestError(f'{path}: {error.strerror}') from error
    if contents[:4] != b'\x7fELF':
        raise GuestError(f'{path} is not an ELF program')
    first, = struct.unpack_from('<Q', contents, 32)
    size, count = struct.unpack_from('<HH', contents, 54)
    interpreter = 3
    if any(struct.unpack_from('<I', contents, first + i * size)[0] == interpreter
           for i in range(count)):
        raise GuestError(f'{path} is not linked statically')
    return contents


class Initramfs:
    """A cpio archive in the format newc."""

    def __init__(self):
        self.parts = []

    def add(self, path, mode, contents=b'', device=(0, 0)):
        """Adds a file, a directory or a device node."""
        name = path.encode() + b'\0'
        fields = (len(self.parts) + 1, mode, 0, 0, 1, 0, len(contents), 0, 0, *device, len(name), 0)
        head = b'070701' + b''.join(b'%08X' % field for field in fields) + name
        self.parts += [head, bytes(-len(head) % 4), contents, bytes(-len(contents) % 4)]

    def directory(self, path):
        self.add(path, stat.S_IFDIR | 0o755)

    def file(self, path, contents):
        self.add(path, stat.S_IFREG | 0o755, contents)

    def link(self, path, target):
        self.add(path, stat.S_IFLNK | 0o777, target.encode())

    def write(self, path):
        self.add('TRAILER!!!', 0)
        path.write_bytes(b''.join(self.parts))


BUSYBOX_TOOLS = ('cat', 'chroot', 'cp', 'insmod', 'mkdir', 'mount', 'readlink', 'reboot', 'sh', 'sync')


def write_archive(path, init, loaded, files):
    """Writes an initramfs with busybox, modules, and files: contents by name. In the script `init`,
    @MARK@ and @MODULES@ are replaced."""
    archive = Initramfs()
    for folder in ('bin', 'dev', 'files', 'modules', 'proc', 'sys', 'tools'):
        archive.directory(folder)
    archive.add('dev/console', stat.S_IFCHR | 0o600, device=(5, 1))
    archive.file('bin/busybox', static_program(BUSYBOX))
    for tool in BUSYBOX_TOOLS:
        archive.link(f'bin/{tool}', 'busybox')
    names = []
    for name, contents in loaded:
        archive.file(f'modules/{name}.ko', contents)
        names.append(name)
    for name, contents in files.items():
        archive.file(name, contents)
    init = init.replace('@MARK@', MARK).replace('@MODULES@', ' '.join(names))
    archive.file('init', init.encode())
    archive.write(path)


def write_initramfs(path, unpacked, program, arguments):
    """Writes the initramfs, which runs the program with the controller's address and the arguments."""
    write_archive(path, INIT.replace('@ARGUMENTS@', ' '.join(arguments)), modules(unpacked),
                  {'program': static_program(program)})
