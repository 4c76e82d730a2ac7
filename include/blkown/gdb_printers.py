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


def function_text(function, argument):
    """A function pointer with its symbol, and the argument that it is called with."""
    if int(function) == 0:
        return 'no function'
    symbol = re.search(r'<(.*)>', str(function), re.DOTALL)
    name = symbol[1] if symbol else '0x%x' % int(function)
    return '%s, argument 0x%x' % (name, int(argument))


def enclosed(value, field):
    """The value of an atomic, a RelaxedFlag or a RelaxedNumber, as an integer."""
    return raw_integer(value[field])


def place_of_call(place):
    """file:line of a Place, or nothing if the caller is unknown."""
    try:
        location = place['_M_impl'].dereference()
        return ' at %s:%d' % (location['_M_file_name'].string(), int(location['_M_line']))
    except (gdb.error, gdb.MemoryError):
        return ''


def ring_of(ring):
    """The requests in a Ring, in order."""
    last = ring['last_']
    if int(last) == 0:
        return
    request = last
    for _ in range(MAX_ROWS):
        header = header_of(request.dereference())
        request = header['next_'].cast(last.type)
        yield request.dereference()
        if int(request) == int(last):
            return


def bounded(rows):
    for number, row in enumerate(rows):
        if number == MAX_ROWS:
            return
        yield row


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
    slot = (request.sizeof + line - 1) // line * line
    first = int(state['slots'])
    for queue in range(int(state['queue_count'])):
        begin = first + queue * int(state['slots_per_queue']) * slot
        for tag in range(int(state['depth'])):
            one = gdb.Value(begin + tag * slot).cast(request.pointer()).dereference()
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
            plain(value['op_']), int(value['sector_']), int(value['length_bytes_']), where)


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


class RequestState(Text):
    def text(self):
        value = self.value
        flags = [name for name in ('owned', 'claimed', 'finished') if bool(value[name])]
        return 'generation %d, count %d%s' % (
            int(value['generation']['value']), int(value['count']),
            ' ' + ' '.join(flags) if flags else '')


class LimitError(Text):
    """TagSetError, MapError, DiskError."""

    def text(self):
        value = self.value
        names = [field.name for field in value.type.strip_typedefs().fields()]
        where = ''
        if 'field' in names:
            where = ' in %s' % value['field'].string()
        elif 'segment' in names:
            where = ' in element %d' % int(value['segment'])
        return '%s%s: given %d, limit %d' % (
            plain(value['reason']), where, int(value['given']), int(value['limit']))


class Refused:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        return 'Refused'

    def children(self):
        return members(self.value)


class RequestList:
    """EndedList, IdleList."""

    def __init__(self, value):
        self.name = type_name(value)
        self.rows = list(ring_of(value['requests_']))

    def to_string(self):
        return '%s of %d' % (self.name, len(self.rows))

    def children(self):
        for request in self.rows:
            header = header_of(request)
            yield '[%s]' % place_text(header), plain(header['status_'])


class TagCache:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        value = self.value
        if int(value['bitmap_']) == 0:
            return 'TagCache, empty'
        return 'TagCache of queue %d, %d of %d tags' % (
            int(value['queue_']['value']), int(value['size_']), int(value['capacity_']))

    def children(self):
        for i in range(int(self.value['size_'])):
            yield '[%d]' % i, int(self.value['tags_'][i])


class EndSink(Text):
    def text(self):
        value = self.value
        if int(value['function_']) != 0:
            return 'EndSink of ' + function_text(value['function_'], value['context_'])
        if int(value['delivery_']) == 0:
            return 'EndSink, no function'
        return 'EndSink to 0x%x' % int(value['context_'])


class EndProof(Text):
    def text(self):
        value = self.value
        if bool(value['is_of_request_']):
            return 'EndProof of the request at 0x%x, generation %d' % (
                int(value['about_']), int(value['number_']))
        return 'EndProof of device %d, epoch %d' % (int(value['about_']), int(value['number_']))


class BouncePool(Text):
    def text(self):
        value = self.value
        return 'BouncePool of %d slots of %d bytes, %d free' % (
            int(value['slot_count_']), int(value['slot_bytes_']), int(value['free_slots_']))


class Coherent(Text):
    def text(self):
        if int(self.value['block_']) == 0:
            return 'Coherent, empty'
        block = self.value['block_'].dereference()
        return 'Coherent at 0x%x, device address 0x%x, %d bytes' % (
            int(block['data']), int(block['segment']['iova']), int(block['segment']['length_bytes']))


class Device(Text):
    def text(self):
        state = as_base(self.value['state_'], 'DeviceState')
        count, lists = 0, state['first_attached_']
        while int(lists) != 0 and count < MAX_ROWS:
            count, lists = count + 1, lists['next_attached']
        return 'Device %d, epoch %d, %d lists in use' % (
            int(state['number_']), raw_integer(state['epoch_']), count)


class OnEnd(Text):
    def text(self):
        return function_text(self.value['function'], self.value['argument'])


class Work(Text):
    """Work and IdleHook: a function that a context calls."""

    def text(self):
        value = self.value
        if type_name(value) == 'Work':
            is_queued = bool(value['is_listed_']) or enclosed(value, 'is_in_inbox_') != 0
            state = 'queued' if is_queued else 'not queued'
        elif int(value['added_to_']) != 0:
            state = 'added to context %d' % int(value['added_to_']['index_'])
        else:
            state = 'not added'
        return '%s of %s, %s' % (
            type_name(value), function_text(value['function_'], value['argument_']), state)


def as_base(value, name):
    """The base class of that name, at any depth, or None."""
    for field in value.type.strip_typedefs().fields():
        if field.is_base_class:
            if field.name.rsplit('::', 1)[-1] == name:
                return value[field]
            found = as_base(value[field], name)
            if found is not None:
                return found
    return None


class Timer(Text):
    """Timer, Alarm."""

    def text(self):
        value = self.value
        node = as_base(value, 'TimerNode')
        context = raw_integer(node['armed_on'])
        if context == 0:
            state = 'not armed'
        else:
            armed_on = gdb.Value(context).cast(
                gdb.lookup_type(str(node.type.strip_typedefs().unqualified()).replace(
                    'detail::TimerNode', 'Context')).pointer())
            state = 'armed on context %d, due at %d ns' % (
                int(armed_on['index_']), int(node['deadline_ns']))
        return '%s of %s, %s' % (
            type_name(value), function_text(value['function_'], value['argument_']), state)


class Context:
    def __init__(self, value):
        self.value = value

    def works(self):
        work = self.value['first_']
        while int(work) != 0:
            yield work.dereference()
            work = work['next_']

    def inbox(self):
        """Works that the context has not pulled, the last one posted first."""
        ends = (0, int(self.value['asleep_'].address))
        work = gdb.Value(raw_integer(self.value['inbox_'])).cast(self.value['first_'].type)
        while int(work) not in ends:
            yield work.dereference()
            work = work['inbox_next_']

    def to_string(self):
        value = self.value
        asleep = ', asleep' if raw_integer(value['inbox_']) == int(value['asleep_'].address) else ''
        timers = ', timers armed' if int(value['timers_']['root_']) != 0 else ''
        return 'Context %d, %d works queued, %d in the inbox%s%s' % (
            int(value['index_']), len(list(bounded(self.works()))),
            len(list(bounded(self.inbox()))), timers, asleep)

    def children(self):
        for i, work in enumerate(bounded(self.works())):
            yield '[%d]' % i, work


class Scope(Text):
    def text(self):
        before = self.value['before_']
        return 'Scope, in context %d' % int(before['index_']) if int(before) != 0 else 'Scope'


class Control(Text):
    def text(self):
        value = self.value
        name = value['disk_name_']
        state = 'running' if enclosed(value, 'is_running_') else 'not running'
        return "Control: %s of disk '%s'%s, %s, %s" % (
            plain(value['kind_']), name.string() if int(name) != 0 else '(unnamed)',
            place_of_call(value['place_']), state, plain(value['status_']))


class Event(Text):
    def text(self):
        return 'Event, set' if bool(self.value['is_set_']) else 'Event, not set'


class HwQueue:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        value = self.value
        return 'HwQueue %d, %s%s' % (int(value['index_']['value']), plain(value['type_']),
                                     ', stopped' if enclosed(value, 'stopped_') else '')

    def children(self):
        yield 'data', self.value['data']


class Dispatch(Text):
    def text(self):
        value = self.value
        if int(value['request_']) == 0:
            return 'Dispatch, accepted'
        return 'Dispatch, rejected with %s: %s' % (
            plain(value['status_']), place_text(header_of(value['request_'].dereference())))


class TagPool:
    def __init__(self, value):
        self.tags = TagSet(value['tags_'])

    def to_string(self):
        return 'TagPool: ' + self.tags.to_string()

    def children(self):
        return self.tags.children()


class Payload:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        state = self.value['state_']
        kind = '' if int(state['bio']) != 0 else 'private '
        return 'Payload of a %s%s of %d bytes at sector %d' % (
            kind, plain(state['op']), int(state['length_bytes']), int(state['sector']))

    def children(self):
        yield 'driver_data', self.value['driver_data']


class InFlightRow(Text):
    def text(self):
        value = self.value
        known = age = ''
        if bool(value['is_known']):
            known = ', %s of %d bytes at sector %d' % (
                plain(value['op']), int(value['length_bytes']), int(value['sector']))
        if bool(value['has_age']):
            age = ', for %d ms' % int(value['age_ms'])
        return 'queue %d tag %d: %s%s%s' % (
            int(value['queue']['value']), int(value['tag']['value']),
            RequestState(value['state']).text(), known, age)


class Plug(Text):
    def text(self):
        context = self.value['queue_'].referenced_value()['context_'].referenced_value()
        return 'Plug on context %d%s' % (
            int(context['index_']), place_of_call(self.value['where_']))


class LittleEndian(Text):
    """Without a name of its own, so that the structs of the wire format read as their fields."""

    def text(self):
        return '0x%x' % raw_integer(self.value['bytes_'])


class Version(Text):
    def text(self):
        value = int(self.value['value'])
        return 'NVMe %d.%d.%d' % (value >> 16, value >> 8 & 0xff, value & 0xff)


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


class IovaList(Mapping):
    def __init__(self, value):
        self.name = type_name(value)
        self.fields = as_base(value, 'ListState')['fields_']

    def to_string(self):
        if int(self.fields['count']) == 0:
            return 'IovaList of 0 elements, room for %d' % int(self.fields['capacity'])
        return Mapping.to_string(self)


PRINTERS = {
    'Tag': Tag, 'QueueIndex': QueueIndex, 'Generation': Generation, 'Cookie': Cookie,
    'Segment': Segment, 'CookieField': CookieField, 'CookieLayout': CookieLayout,
    'LookupError': LookupError, 'RequestHeader': RequestHeader, 'Request<': Request,
    'Idle<': Handle, 'Owned<': Handle, 'Claim<': Handle, 'ARef<': Handle, 'Ended<': Handle,
    'TagSet<': TagSet, 'mq::Bio': Bio, 'mq::Disk<': Disk, 'dma::IovaSegment': IovaSegment,
    'dma::PreparedMapping': Mapping, 'dma::ActiveMapping': Mapping,
    'RequestState': RequestState, 'TagSetError': LimitError, 'Refused<': Refused,
    'EndedList<': RequestList, 'EndSink<': EndSink, 'TagCache': TagCache,
    'dma::MapError': LimitError, 'dma::EndProof': EndProof, 'dma::IovaList<': IovaList,
    'dma::Device<': Device, 'dma::BouncePool': BouncePool, 'dma::Coherent': Coherent,
    'mq::OnEnd<': OnEnd, 'mq::Work': Work, 'mq::IdleHook': Work, 'mq::Timer<': Timer,
    'mq::Alarm': Timer, 'mq::Context': Context, 'mq::Context::Scope': Scope,
    'mq::Control': Control, 'mq::Event': Event, 'mq::HwQueue<': HwQueue,
    'mq::IdleList<': RequestList, 'mq::Dispatch<': Dispatch, 'mq::TagPool<': TagPool,
    'mq::Payload<': Payload, 'mq::InFlightRow': InFlightRow, 'mq::DiskError': LimitError,
    'mq::Disk<>::Plug': Plug, 'nvme::LittleEndian<': LittleEndian, 'nvme::Version': Version,
}


def build():
    """One collection for all types. The inline namespace has a build's choices in its name."""
    collection = gdb.printing.RegexpCollectionPrettyPrinter('blkown')
    for name, printer in PRINTERS.items():
        scopes = name.replace('<>', '<.*>') + ('.*>' if name.endswith('<') else '')
        collection.add_printer(name.rstrip('<'), r'^blkown::(v\w+::)?' + scopes + '$', printer)
    return collection


gdb.printing.register_pretty_printer(None, build(), replace=True)
