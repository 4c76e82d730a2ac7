#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Names the public classes that gdb prints field by field, without a printer and without a reason.

    gdb_types.py

A public class has a printer in include/blkown/gdb_printers.py, or is in the lists below. The classes
come from ctags, which tags.py shows to find all of them.
"""
import ast
import pathlib
import re
import subprocess

# Classes that no printer is for: a reason, and the classes that it applies to. A name that ends in
# "::" stands for all classes in that namespace.
WITHOUT_PRINTER = {
    'gdb prints the fields, which are public, by their names': """
        Incident TagSetConfig
        dma::DeviceLimits dma::Mapped dma::Quarantined dma::VfioConfig dma::VfioError dma::VfioRegion
        mq::AppendResult mq::ContextHooks mq::Counters mq::DiskConfig mq::IoFlags mq::LoopHooks
        mq::QueueLimits mq::SegmentCursor mq::TraceEvent mq::TraceSink mq::Zone
    """,
    'a structure of the wire format, whose fields have the printer of LittleEndian, or one integer': """
        nvme::ActiveNamespaceList nvme::Aqa nvme::Arbitration nvme::AsyncEvent
        nvme::AsyncEventConfiguration nvme::BlockRange nvme::Cap nvme::Cc nvme::ChangedNamespaceList
        nvme::CompletionEntry nvme::CompletionQueueSetup nvme::Csts nvme::DsmRange nvme::ErrorLogEntry
        nvme::ErrorRecovery nvme::FirmwarePart nvme::FirmwareSlotLog nvme::HostBehaviorSupport
        nvme::IdentifyController nvme::IdentifyNamespace nvme::InterruptCoalescing
        nvme::InterruptVectorConfiguration nvme::LbaFormat nvme::Le128 nvme::NamespaceIdDescriptor
        nvme::NumberOfQueues nvme::PowerManagement nvme::PowerState nvme::PrpError nvme::PrpListPage
        nvme::Prps nvme::SmartLog nvme::StatusField nvme::SubmissionEntry nvme::SubmissionQueueSetup
        nvme::TemperatureThreshold nvme::VolatileWriteCache
    """,
    'no object of it exists: traits and bases': """
        EmbeddedHeader Ownership RequestTraits
    """,
    'nothing in it changes after its construction, and its members have printers': """
        TagSet::TagDemand dma::IdentityBackend dma::UringBuffers mq::AsyncDisk mq::IoOperation
        mq::RequestSegments mq::RequestSegments::Begin mq::RequestSegments::Cut
        mq::RequestSegments::Iterator TrackedPlace
    """,
    "made of the standard library's classes, which have printers of their own": """
        mq::LoopRuntime mq::ThreadRuntime mq::Task mq::Task::promise_type
        dma::BasicVfio dma::BasicVfioPciDevice dma::BasicVfioRegisters dma::VfioSystem
    """,
    'one pointer, to a Disk and its gate': """
        mq::DiskAccess mq::DiskRef
    """,
    'the simulation prints its state itself, with each finding': """
        sim::
    """,
}


def public_classes():
    tags = subprocess.run(
        ['ctags', '-f', '-', '-R', '--languages=C++', '--kinds-C++=cs', '--fields=+aK', 'include'],
        stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in tags.splitlines():
        name, _, *fields = line.split('\t')
        if line.startswith('!') or 'access:private' in fields or 'access:protected' in fields:
            continue
        scope = ''.join(field.partition(':')[2] + '::' for field in fields
                        if re.match('(namespace|class|struct|union):', field))
        full = (scope + name).replace('BLKOWN_ABI::', '').replace('__anon', 'detail::')
        if full.startswith('blkown::') and 'detail::' not in full:
            yield full.removeprefix('blkown::')


def printed_classes():
    """The keys of PRINTERS, without the marks of templates."""
    script = pathlib.Path('include/blkown/gdb_printers.py').read_text()
    for node in ast.parse(script).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == 'PRINTERS':
            return {key.value.replace('<>', '').rstrip('<') for key in node.value.keys}
    return set()


def main():
    classes, printed = set(public_classes()), printed_classes()
    listed = [name for names in WITHOUT_PRINTER.values() for name in names.split()]
    spaces = tuple(name for name in listed if name.endswith('::'))
    listed = set(listed) - set(spaces)
    for name in sorted(classes - printed - listed):
        if not name.startswith(spaces):
            print(f'{name} has no printer in gdb_printers.py and no reason in gdb_types.py')
    for name in sorted(listed & printed):
        print(f'{name} has a printer, and a reason to have none in gdb_types.py')
    for name in sorted((listed | printed) - classes):
        print(f'{name} of gdb_printers.py or gdb_types.py is no public class')
    if len(classes) < 150:
        print(f'only {len(classes)} classes were found: this check does not see the headers')


main()
