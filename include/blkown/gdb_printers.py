# SPDX-License-Identifier: BSL-1.0
"""gdb's pretty-printers for blkown.

    (gdb) python import blkown_printers      the installed copy, or
    (gdb) source include/blkown/gdb_printers.py

A program that includes <blkown/gdb_printers.hpp> contains the printers: gdb loads them with the
program where its auto-load safe-path allows that.

    (gdb) print claim
    $1 = Claim of queue 0 tag 5, count 3 claimed, generation 101 = {sectors = 8}
    (gdb) print tags
    $2 = TagSet of 2 queues of 8, 1 not idle = {[queue 0 tag 5] = in flight, generation 101}

The printers read memory only. They call no function of the program, so that they work on a core
dump.
"""

import re

import gdb
import gdb.printing

MAX_ROWS = 200


def plain(enumerator):
    """The name of an enumerator without its scope."""
    return str(enumerator).rsplit('::', 1)[-1]


def raw_integer(value):
    """The value of an atomic or of another type that holds one integer."""
    memory = gdb.selected_inferior().read_memory(int(value.address), value.type.sizeof)
    return int.from_bytes(bytes(memory), 'little')


def word_text(header):
    """The state in an ownership word, as the table in include/blkown/README.md names it."""
    word = header['word_']['word_']
    bits = raw_integer(word)
    half = word.type.sizeof * 4
    count_bits = half - 3
    count = bits & ((1 << count_bits) - 1)
    finished, claimed, owned = ((bits >> (count_bits + i)) & 1 for i in range(3))
    generation = bits >> half
    if owned:
        state = 'owned' if count == 0 else 'count %d owned, which is corrupt' % count
    elif claimed:
        state = 'count %d claimed' % count
    elif finished:
        state = 'ended, completing' if count == 1 else 'ended, %d pins left' % (count - 1)
    elif count == 0:
        state = 'idle'
    elif count == 1:
        state = 'in flight'
    else:
        state = 'count %d shared' % count
    return '%s, generation %d' % (state, generation)


def is_idle(header):
    word = header['word_']['word_']
    return raw_integer(word) & ((1 << (word.type.sizeof * 4)) - 1) == 0


def place_text(header):
    return 'queue %d tag %d' % (int(header['queue_']), int(header['tag_']['value']))


def header_of(request):
    """The RequestHeader in a Request, or in a struct of the user's own."""
    for field in request.type.strip_typedefs().fields():
        if re.match(r'blkown::(\w+::)?RequestHeader$', str(field.type.strip_typedefs())):
            return request[field]
    return None


def data_of(request):
    """The driver's data: the member of a Request, or the whole struct."""
    names = [field.name for field in request.type.strip_typedefs().fields()]
    return request['data_'] if 'header_' in names and 'data_' in names else request


def pointee(handle):
    """The object of a handle, or None. A Claim has its origin in the pointer's low bits."""
    pointer = handle['pointer_']
    request = handle.type.strip_typedefs().template_argument(0)
    if pointer.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
        bits = int(pointer)
    else:
        bits = int(pointer['bits_']) & ~3
    if bits == 0:
        return None
    return gdb.Value(bits).cast(request.pointer()).dereference()


def type_name(value):
    name = re.sub(r'<.*', '', str(value.type.strip_typedefs().unqualified()))
    return name.rsplit('::', 1)[-1]


def members(value):
    """The fields of a value, as gdb would print them; bases are left out."""
    type_ = value.type.strip_typedefs()
    if type_.code not in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        yield 'data', value
        return
    for field in type_.fields():
        if not field.is_base_class and hasattr(field, 'bitpos') and field.name:
            yield field.name, value[field]


class Text:
    """A value whose text is a function of the value."""

    text = None

    def __init__(self, value):
        self.value = value

    def to_string(self):
        return self.text()


class Tag(Text):
    def text(self):
        return 'tag %d' % int(self.value['value'])


class QueueIndex(Text):
    def text(self):
        return 'queue %d' % int(self.value['value'])


class Generation(Text):
    def text(self):
        return 'generation %d' % int(self.value['value'])


class Cookie(Text):
    def text(self):
        value = self.value
        return 'cookie 0x%x (queue %d tag %d generation %d)' % (
            int(value['value']), int(value['queue']['value']), int(value['tag']['value']),
            int(value['generation']['value']))


class Segment(Text):
    def text(self):
        return '%d bytes at 0x%x' % (int(self.value['length_bytes']), int(self.value['data']))


class IovaSegment(Text):
    def text(self):
        return '%d bytes at 0x%x' % (int(self.value['length_bytes']), int(self.value['iova']))


class CookieField(Text):
    def text(self):
        bits = int(self.value['bits'])
        return 'none' if bits == 0 else '%d bits at %d' % (bits, int(self.value['shift']))


class CookieLayout(Text):
    def text(self):
        value = self.value
        fields = ', '.join('%s %s' % (name, CookieField(value[name]).text())
                           for name in ('queue', 'tag', 'generation', 'user'))
        return '%d bits: %s' % (int(value['width_bits']), fields)


class LookupError(Text):
    def text(self):
        value = self.value
        return '%s: queue %d tag %d, id has generation %d, request has generation %d' % (
            plain(value['reason']), int(value['queue']['value']), int(value['tag']['value']),
            int(value['expected_generation']['value']), int(value['seen_generation']['value']))


class RequestHeader(Text):
    def text(self):
        return '%s, %s' % (place_text(self.value), word_text(self.value))


class Request:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        header = header_of(self.value)
        return 'Request %s, %s' % (place_text(header), word_text(header))

    def children(self):
        return members(data_of(self.value))


class Handle:
    """Idle, Owned, Claim, ARef, Ended."""

    def __init__(self, value):
        self.name = type_name(value)
        self.request = pointee(value)

    def to_string(self):
        if self.request is None:
            return '%s, empty' % self.name
        header = header_of(self.request)
        if header is None:
            return '%s of a %s' % (self.name, type_name(self.request))
        status = ''
        if self.name == 'Ended':
            status = ', requeued' if bool(header['requeue_']) else ', ' + plain(header['status_'])
        return '%s of %s, %s%s' % (self.name, place_text(header), word_text(header), status)

    def children(self):
        return members(data_of(self.request)) if self.request is not None else iter(())


def requests_of(tag_set):
    """Each request of a TagSet with its header."""
    state = tag_set['state_'].dereference()
    request = tag_set.type.strip_typedefs().template_argument(0)
    try:
        line = int(gdb.parse_and_eval('blkown::cache_line_bytes'))
    except gdb.error:
        line = 64
    alignment = max(request.alignof, line)
    slot = (request.sizeof + alignment - 1) // alignment * alignment
    first = int(state['slots'])
    for index in range(int(state['queue_count']) * int(state['depth'])):
        one = gdb.Value(first + index * slot).cast(request.pointer()).dereference()
        yield one, header_of(one)


class TagSet:
    def __init__(self, value):
        self.value = value

    def busy(self):
        if int(self.value['state_']) == 0:
            return []
        return [header for _, header in requests_of(self.value) if not is_idle(header)]

    def to_string(self):
        if int(self.value['state_']) == 0:
            return 'TagSet, empty'
        state = self.value['state_'].dereference()
        return 'TagSet of %d queues of %d, %d not idle' % (
            int(state['queue_count']), int(state['depth']), len(self.busy()))

    def children(self):
        for header in self.busy()[:MAX_ROWS]:
            yield '[%s]' % place_text(header), word_text(header)


class Bio(Text):
    def text(self):
        value = self.value
        state = value['state_']
        where = 'in flight, %d parts' % int(state['parts']) if bool(state['in_flight']) else (
            'not in flight, ' + plain(state['status']))
        return 'Bio %s, sector %d, %d bytes, %s' % (
            plain(value['op_']), int(state['sector']), int(value['length_bytes_']), where)


class Disk:
    def __init__(self, value):
        self.value = value
        pool = value['pool_']
        self.tags = TagSet(pool.dereference()['tags_']) if int(pool) != 0 else None

    def to_string(self):
        config = self.value['config_']
        name = config['name'].string() if int(config['name']) != 0 else '(unnamed)'
        life = 'up' if bool(self.value['is_live_']) else 'removed'
        count = len(self.tags.busy()) if self.tags else 0
        return "Disk '%s', %s, %d requests not idle" % (name, life, count)

    def children(self):
        return self.tags.children() if self.tags else iter(())


class Mapping:
    """PreparedMapping, ActiveMapping."""

    def __init__(self, value):
        self.name = type_name(value)
        self.fields = value['list_'].dereference() if int(value['list_']) != 0 else None

    def to_string(self):
        if self.fields is None:
            return '%s, empty' % self.name
        return '%s of %d elements, %s, for %s' % (
            self.name, int(self.fields['count']), plain(self.fields['direction']),
            Cookie(self.fields['cookie']).text())

    def children(self):
        if self.fields is not None:
            for i in range(min(int(self.fields['count']), MAX_ROWS)):
                yield '[%d]' % i, self.fields['segments'][i]


PRINTERS = {
    'Tag': Tag, 'QueueIndex': QueueIndex, 'Generation': Generation, 'Cookie': Cookie,
    'Segment': Segment, 'CookieField': CookieField, 'CookieLayout': CookieLayout,
    'LookupError': LookupError, 'RequestHeader': RequestHeader, 'Request<': Request,
    'Idle<': Handle, 'Owned<': Handle, 'Claim<': Handle, 'ARef<': Handle, 'Ended<': Handle,
    'TagSet<': TagSet, 'mq::Bio': Bio, 'mq::Disk<': Disk, 'dma::IovaSegment': IovaSegment,
    'dma::PreparedMapping': Mapping, 'dma::ActiveMapping': Mapping,
}


def build():
    """One collection for all types. The inline namespace has a build's choices in its name."""
    collection = gdb.printing.RegexpCollectionPrettyPrinter('blkown')
    for name, printer in PRINTERS.items():
        end = '.*>$' if name.endswith('<') else '$'
        scopes = name.rstrip('<').split('::')
        pattern = r'^blkown::(v\w+::)?' + '::'.join(scopes) + ('<' if end != '$' else '') + end
        collection.add_printer(name.rstrip('<'), pattern, printer)
    return collection


gdb.printing.register_pretty_printer(None, build(), replace=True)
