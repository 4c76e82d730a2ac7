// SPDX-License-Identifier: BSL-1.0
//
// A struct of a C library as the request type. The library has its own struct disk_request, integer
// ids, and callbacks with a void* argument. With a RequestHeader as a new member, the struct works
// with Idle, Owned, Claim, ARef and lookups. The rest of the library does not change, and the
// program allocates nothing.
//
// The disk completes commands out of order. The disk also completes one command twice, and another
// after the command's timeout, when its tag is in use again. The program exits with 1 unless every
// other read ends once with the right bytes.

#include <blkown/blkown.hpp>
#include <cstdio>
#include <cstring>
#include <utility>

// --- in C: the disk and the host's work queue, without ownership ---------------------------------

extern "C" {

enum { sector_bytes = 512, disk_sectors = 32 };

struct disk_request {
  unsigned long long lba;
  unsigned count_sectors;
  unsigned char* buffer;
  int error;
  blkown::RequestHeader header;  // the only new line
};

struct disk_command {
  unsigned short id;  // the completion returns this id
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

/* Completes the commands, newest first. The oldest `stuck` commands stay in the queue. */
static void disk_run(disk* self, unsigned stuck) {
  while (self->queued > stuck) {
    const disk_command* const command = &self->queue[--self->queued];
    std::memcpy(command->buffer, self->media + command->lba * sector_bytes,
                std::size_t{command->count_sectors} * sector_bytes);
    self->interrupt(self->context, command->id, 0);
  }
}

/* Drops the queued commands: the disk no longer accesses their buffers. */
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

// An id has the 16 bits of an NVMe command identifier: 12 for the tag, 4 for the generation.
const blkown::TagSetConfig config{.depth = 4, .layout = blkown::CookieLayout::nvme()};
alignas(Tags::storage_alignment_bytes()) std::byte storage[2048];

struct Driver {
  disk& device;
  Tags* tags = nullptr;
  unsigned right = 0;  // reads that ended with ok and the medium's bytes
  unsigned timed_out = 0;
  unsigned duplicates = 0;
  unsigned stale = 0;
};

/// Receives ended I/Os, in the context in which they ended, and frees their tags.
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

/// The bottom half. The Claim comes through the C work queue as a void*.
extern "C" void finish(void* raw) {
  auto claim = blkown::Claim<disk_request>::from_raw(raw);
  const bool good = claim.data().error == 0;
  std::move(claim).end(good ? blkown::Status::ok : blkown::Status::medium_error);
}

/// The interrupt handler. The lookup finds a request only if the id's I/O is in flight.
extern "C" void on_interrupt(void* context, unsigned short id, int error) {
  auto& driver = *static_cast<Driver*>(context);
  auto claim = driver.tags->claim(blkown::QueueIndex{0}, id);
  if (!claim) {
    const blkown::LookupError& why = claim.error();
    std::printf("  id %04x refused: %s (tag %u, generation %u, seen %u)\n", id,
                to_string(why.reason), why.tag.value, why.expected_generation.value,
                why.seen_generation.value % 16);  // the id has 4 bits of it
    driver.duplicates += why.reason == blkown::LookupReason::owned ? 1U : 0U;
    driver.stale += why.reason == blkown::LookupReason::stale_generation ? 1U : 0U;
    return;
  }
  claim->data().error = error;
  work_queue[work_queued++] = {&finish, std::move(*claim).into_raw()};
}

void read(Driver& driver, blkown::TagCache& cache, unsigned long long lba, unsigned char* buffer) {
  auto idle = driver.tags->allocate(blkown::QueueIndex{0}, cache);
  if (!idle) return;  // no free tag; a real driver would wait
  auto owned = std::move(*idle).start();
  disk_request& request = owned.data();
  request.lba = lba;
  request.count_sectors = 8;
  request.buffer = buffer;
  const disk_command command{static_cast<unsigned short>(owned.next_cookie().value), request.lba,
                             request.count_sectors, request.buffer};
  // After the publication the request may complete at any moment, so the disk gets a copied
  // command.
  std::move(owned).publish([&](blkown::Cookie) { disk_submit(&driver.device, &command); });
}

/// Times out all I/Os in flight: aborts them on the disk first, then ends them.
void time_out(Driver& driver) {
  disk_abort(&driver.device);
  driver.tags->for_each_in_flight(
      blkown::QueueIndex{0}, [&](blkown::ARef<disk_request> pin, const blkown::Cookie& cookie) {
        auto claim = blkown::claim(pin, cookie);  // refused if the I/O has completed
        if (!claim) return;
        std::printf("  tag %u is late: it ends when this scan's pin is dropped\n", pin.tag().value);
        std::move(*claim).end(blkown::Status::timed_out);
      });
}

}  // namespace

int main() {
  static disk device;
  static unsigned char buffers[8][8 * sector_bytes];
  for (unsigned i = 0; i != sizeof device.media; ++i) {  // every sector is different
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
  auto cache = tags->tag_cache(blkown::QueueIndex{0});

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
  if (!good) std::fprintf(stderr, "own_request: the counts are not as expected\n");
  return good ? 0 : 1;
}
