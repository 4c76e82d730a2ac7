// SPDX-License-Identifier: BSL-1.0
//
// A request type of your own. A disk library in C has its struct disk_request, integers for ids and
// callbacks with an untyped argument. With a RequestHeader inside, that struct gets Idle, Owned,
// Claim, ARef and lookups; nothing else about it changes, and nothing is allocated.
//
// The disk completes out of order, one command twice, and one after its timeout, when its tag is in
// use again. All other reads must end once, with the right bytes; else the program exits with 1.

#include <blkown/blkown.hpp>
#include <cstdio>
#include <cstring>
#include <utility>

// --- in C: the disk and the host's work queue, which know nothing of ownership -------------------

extern "C" {

enum { sector_bytes = 512, disk_sectors = 32 };

struct disk_request {
  unsigned long long lba;
  unsigned count_sectors;
  unsigned char* buffer;
  int error;
  blkown::RequestHeader header;  // the one line that is new
};

struct disk_command {
  unsigned short id;  // comes back with the completion
  unsigned long long lba;
  unsigned count_sectors;
  unsigned char* buffer;
};

struct disk {
  unsigned char media[disk_sectors * sector_bytes];
  disk_command queue[4];
  unsigned queued;
  void (*interrupt)(void* context, unsigned short id, int error);
  void* context;
};

static void disk_submit(disk* self, const disk_command* cmd) { self->queue[self->queued++] = *cmd; }

/* Completes all commands but the oldest `stuck` ones, newest first. */
static void disk_run(disk* self, unsigned stuck) {
  while (self->queued > stuck) {
    const disk_command* const command = &self->queue[--self->queued];
    std::memcpy(command->buffer, self->media + command->lba * sector_bytes,
                std::size_t{command->count_sectors} * sector_bytes);
    self->interrupt(self->context, command->id, 0);
  }
}

/* Drops what is queued: from now on the disk does not touch these buffers. */
static void disk_abort(disk* self) { self->queued = 0; }

struct work {
  void (*function)(void* argument);
  void* argument;
};
static work work_queue[4];
static unsigned work_queued;

static void run_work(void) {
  for (unsigned i = 0; i != work_queued; ++i) work_queue[i].function(work_queue[i].argument);
  work_queued = 0;
}

}  // extern "C"

// --- in C++: the driver --------------------------------------------------------------------------

template <>
struct blkown::RequestTraits<disk_request> : blkown::EmbeddedHeader<&disk_request::header> {};

namespace {

using Tags = blkown::TagSet<disk_request>;

// NVMe's command identifier: 12 bits of tag, 4 bits of generation, in 16 bits.
const blkown::TagSetConfig config{.depth = 4, .layout = blkown::CookieLayout::nvme()};
alignas(Tags::storage_alignment_bytes()) std::byte storage[2048];

struct Driver {
  disk& device;
  Tags* tags = nullptr;
  unsigned right = 0;  // reads that ended well and brought what is on the medium
  unsigned timed_out = 0;
  unsigned duplicates = 0;
  unsigned stale = 0;
};

/// Where I/Os go that are over. It frees the tag, in whatever context the I/O ended.
void on_ended(void* context, blkown::EndedList<disk_request>&& list) {
  auto& driver = *static_cast<Driver*>(context);
  while (auto ended = list.pop_front()) {
    const disk_request& request = ended->data();
    std::printf("  tag %u: sectors %llu to %llu: %s\n", ended->tag().value, request.lba,
                request.lba + request.count_sectors - 1, to_string(ended->status()));
    const bool same = std::memcmp(request.buffer, driver.device.media + request.lba * sector_bytes,
                                  std::size_t{request.count_sectors} * sector_bytes) == 0;
    driver.right += ended->status() == blkown::Status::ok && same ? 1U : 0U;
    driver.timed_out += ended->status() == blkown::Status::timed_out ? 1U : 0U;
    std::move(*ended).release();
  }
}

/// The bottom half: a Claim went through C as an untyped pointer and is a Claim again.
extern "C" void finish(void* raw) {
  auto claim = blkown::Claim<disk_request>::from_raw(raw);
  const bool good = claim.data().error == 0;
  std::move(claim).end(good ? blkown::Status::ok : blkown::Status::medium_error);
}

/// The interrupt handler: the integer is a request only if its I/O is in flight.
extern "C" void on_interrupt(void* context, unsigned short id, int error) {
  auto& driver = *static_cast<Driver*>(context);
  auto claim = driver.tags->claim(0, id);
  if (!claim) {
    const blkown::LookupError& why = claim.error();
    std::printf("  id %04x refused: %s (tag %u, generation %u, seen %u)\n", id,
                to_string(why.reason), why.tag.value, why.expected_generation.value,
                why.seen_generation.value % 16);  // as many bits as the id has
    driver.duplicates += why.reason == blkown::LookupReason::owned ? 1U : 0U;
    driver.stale += why.reason == blkown::LookupReason::stale_generation ? 1U : 0U;
    return;
  }
  claim->data().error = error;
  work_queue[work_queued++] = {&finish, std::move(*claim).into_raw()};
}

void read(Driver& driver, blkown::TagCache& cache, unsigned long long lba, unsigned char* buffer) {
  auto idle = driver.tags->allocate(0, cache);
  if (!idle) return;  // all tags are in use; a real driver would wait for one
  auto owned = std::move(*idle).start();
  disk_request& request = owned.data();
  request.lba = lba;
  request.count_sectors = 8;
  request.buffer = buffer;
  const disk_command command{static_cast<unsigned short>(owned.next_cookie().value), request.lba,
                             request.count_sectors, request.buffer};
  // From here on the request may complete at any moment; the command is a copy of what it said.
  std::move(owned).publish([&](blkown::Cookie) { disk_submit(&driver.device, &command); });
}

/// What is still in flight when its time is over: aborted on the disk first, then ended.
void time_out(Driver& driver) {
  disk_abort(&driver.device);
  driver.tags->for_each_in_flight(
      0, [&](blkown::ARef<disk_request> pin, const blkown::Cookie& cookie) {
        auto claim = blkown::claim(pin, cookie);  // refused if a completion was faster
        if (!claim) return;
        std::printf("  tag %u is late: it ends when this scan's pin is dropped\n", pin.tag().value);
        std::move(*claim).end(blkown::Status::timed_out);
      });
}

}  // namespace

int main() {
  static disk device;
  static unsigned char buffers[8][8 * sector_bytes];
  for (unsigned i = 0; i != sizeof device.media; ++i) {  // no two sectors are alike
    device.media[i] = static_cast<unsigned char>((i >> 9) * 37 + i);
  }
  Driver driver{.device = device};
  auto tags = Tags::create_in(storage, config, {&on_ended, &driver});
  if (!tags) {
    std::fprintf(stderr, "own_request: %s\n", to_string(tags.error().reason));
    return 1;
  }
  driver.tags = &*tags;
  device.interrupt = &on_interrupt;
  device.context = &driver;
  auto cache = tags->tag_cache(0);

  std::printf("%u requests in %zu bytes\n", tags->depth(), Tags::storage_bytes(config));
  std::puts("first round: the newest command completes twice, the oldest one is stuck");
  for (unsigned i = 0; i != 4; ++i) read(driver, cache, 8 * i, buffers[i]);
  const unsigned short newest = device.queue[3].id, oldest = device.queue[0].id;
  disk_run(&device, 1);
  on_interrupt(&driver, newest, 0);
  run_work();
  time_out(driver);

  std::puts("second round, same tags: the stuck command completes after all");
  for (unsigned i = 0; i != 4; ++i) read(driver, cache, 8 * i, buffers[4 + i]);
  on_interrupt(&driver, oldest, 0);
  disk_run(&device, 0);
  run_work();

  std::printf("%u reads right, %u timed out, %u duplicate, %u stale, %zu in flight\n", driver.right,
              driver.timed_out, driver.duplicates, driver.stale, tags->in_flight());
  const bool good = driver.right == 7 && driver.timed_out == 1 && driver.duplicates == 1 &&
                    driver.stale == 1 && tags->in_flight() == 0;
  if (!good) std::fprintf(stderr, "own_request: that is not what should have happened\n");
  return good ? 0 : 1;
}
