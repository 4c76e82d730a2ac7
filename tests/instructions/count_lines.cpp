// SPDX-License-Identifier: BSL-1.0
//
// Bios through the block layer, whose accesses to memory lackey traces. The driver has 72 bytes of
// data, the most with which a request has three lines, writes all of it at the issue and reads all
// of it at the completion.
//
//   count_lines           for lines.py, which counts the cache lines of the bios and of their
//                         requests that a round of submits and ends touches
//   count_lines small     the same with 8 bytes of the driver's data
//   count_lines contexts  for own_lines.py, which looks for lines that one context writes and
//                         another touches, where each context has a hardware queue of its own

#include <algorithm>
#include <array>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace mq = blkown::mq;

constexpr std::uint32_t depth = 32;

template <std::size_t count>
struct DriverWith {
  struct RequestData {
    std::array<std::uint64_t, count> words{};
  };
  struct alignas(128) HwData {
    std::array<std::uint64_t, depth> ids{};
    std::size_t issued = 0;
    std::uint64_t bytes = 0;
    std::uint64_t sum = 0;
    const void* submitter = nullptr;
  };
  struct QueueData {};
  using Hw = mq::HwQueue<DriverWith>;
  using Rq = mq::Request<DriverWith>;

  mq::Dispatch<DriverWith> queue_rq(Hw& hw, QueueData&, blkown::Idle<Rq> idle, bool) {
    HwData& own = hw.data;
    auto owned = std::move(idle).start();
    owned.data().driver_data.words.fill(owned.data().sector() + owned.data().length_bytes());
    for (const blkown::Segment piece : owned.data().segments()) own.bytes += piece.length_bytes;
    own.submitter = mq::detail::state_of(owned.data()).submitter;
    std::move(owned).publish([&](const blkown::Cookie& id) { own.ids[own.issued++] = id.value; });
    return mq::Dispatch<DriverWith>::accepted();
  }
  static void reap(Hw& hw) {
    HwData& own = hw.data;
    for (std::size_t i = 0; i != own.issued; ++i) {
      auto claim = hw.claim(own.ids[i]);
      if (!claim.has_value()) std::abort();
      for (const std::uint64_t word : claim->data().driver_data.words) own.sum += word;
      std::move(*claim).end_ok();
    }
    own.issued = 0;
  }
};

using Driver = DriverWith<9>;

/// A bio at the beginning of a cache line.
struct alignas(64) Slot {
  mq::Bio bio;
};

alignas(64) std::uint64_t volatile marker = 0;
alignas(4096) std::array<std::byte, 4096> memory;

void print(const char* what, const void* object, std::size_t bytes) {
  std::printf("%s %" PRIxPTR " %zu\n", what, reinterpret_cast<std::uintptr_t>(object), bytes);
}
void print(const char* what, std::uint32_t number, const void* object, std::size_t bytes) {
  print((what + std::to_string(number)).c_str(), object, bytes);
}

/// The bios of a context, in lines of their own.
struct alignas(128) Bios {
  Bios() : slots(depth) {
    for (std::uint32_t i = 0; i != depth; ++i) {
      slots[i].bio.set_read(
          8 * i, blkown::Segment{memory.data(), memory.size()},
          {[](void* count, mq::Bio&) { ++*static_cast<std::uint64_t*>(count); }, &ended});
    }
  }
  std::uint64_t ended = 0;
  std::vector<Slot> slots;
};

template <class D>
void reap(mq::Disk<D>& disk, mq::Context& context) {
  {
    const mq::Context::Scope here{context};
    D::reap(disk.hw_queue(blkown::QueueIndex{context.index()}));
  }
  context.run();
}
template <class D>
void round(mq::Disk<D>& disk, mq::Context& context, Bios& bios) {
  {
    const mq::Context::Scope here{context};
    for (Slot& slot : bios.slots) disk.submit(context, slot.bio);
  }
  reap(disk, context);
}

template <class D>
int count_lines() {
  D driver;
  mq::LoopRuntime runtime;
  auto made = mq::Disk<D>::create({.capacity_sectors = 1 << 20, .depth = depth}, driver, runtime);
  if (!made.has_value()) return 1;
  mq::Disk<D>& disk = **made;
  mq::Context& context = runtime.context(0);
  Bios bios;
  for (int i = 0; i != 3; ++i) round(disk, context, bios);
  print("marker", const_cast<const std::uint64_t*>(&marker), sizeof marker);
  for (Slot& slot : bios.slots) print("bio", &slot.bio, sizeof(mq::Bio));
  auto& tags = disk.pool().tags();
  for (blkown::Tag tag; tag.value != depth; ++tag.value) {
    print("request", &tags.header(blkown::QueueIndex{0}, tag), sizeof(typename D::Rq));
  }
  std::fflush(stdout);
  marker = 1;
  round(disk, context, bios);
  marker = 2;
  const typename D::HwData& data = disk.hw_queue(blkown::QueueIndex{0}).data;
  if (bios.ended != 4 * depth || data.bytes != bios.ended * memory.size()) return 1;
  return mq::remove(runtime, disk) == blkown::Status::ok ? 0 : 1;
}

constexpr std::uint32_t context_count = 2;
struct alignas(128) Marker {
  std::uint64_t volatile word = 0;
};
Marker markers[context_count + 1];  // of each context, and of the end of its part
thread_local int in_thread = 0;     // beside the library's thread_local variables

/// A disk with a hardware queue for each of its contexts.
class Contexts {
 public:
  explicit Contexts(std::uint32_t tags) : tags_{tags} {
    auto made = mq::Disk<Driver>::create(
        {.capacity_sectors = 1 << 20, .normal_queues = context_count, .depth = tags}, driver_,
        runtime_);
    if (!made.has_value()) std::abort();
    disk_ = *std::move(made);
    for (int i = 0; i != 3; ++i) all([](std::uint32_t) {});
  }
  /// Each context submits its bios and ends them. `begin(i)` is called before the part of context
  /// i, and with context_count behind each part.
  template <class Begin>
  void all(Begin begin) {
    for (std::uint32_t i = 0; i != context_count; ++i) {
      begin(i);
      const std::uint64_t until = bios_[i].ended + depth;
      round(*disk_, runtime_.context(i), bios_[i]);
      while (bios_[i].ended != until) reap(*disk_, runtime_.context(i));
      begin(context_count);
    }
  }
  void print_objects() {
    print("Disk", disk_.get(), sizeof *disk_);
    auto& pool = disk_->pool();
    for (std::uint32_t i = 0; i != context_count; ++i) {
      const blkown::QueueIndex queue{i};
      auto& hw = disk_->hw_queue(queue);
      print("HwQueue", i, &hw, sizeof hw);
      print("Context", i, &runtime_.context(i), sizeof(mq::Context));
      print("SubmitQueue", i, hw.data.submitter, sizeof(mq::detail::SubmitQueue<Driver>));
      print("TagLine", i, &pool.line(queue), sizeof pool.line(queue));
      print("requests", i, &pool.tags().header(queue, blkown::Tag{0}), tags_ * sizeof(Driver::Rq));
    }
  }
  void remove() { static_cast<void>(mq::remove(runtime_, *disk_)); }

 private:
  std::uint32_t tags_;
  Driver driver_;
  mq::LoopRuntime runtime_{context_count};
  std::array<Bios, context_count> bios_;
  std::unique_ptr<mq::Disk<Driver>> disk_;
};

int look_at_contexts() {
  Contexts enough{depth};
  Contexts few{5};  // bios wait for tags
  print("stack", &enough, 0);
  print("thread", &in_thread, 0);
  for (std::uint32_t i = 0; i != context_count + 1; ++i) {
    print("marker", i, const_cast<const std::uint64_t*>(&markers[i].word), sizeof(Marker));
  }
  for (Contexts* const contexts : {&enough, &few}) contexts->print_objects();
  std::fflush(stdout);
  for (Contexts* const contexts : {&enough, &few}) {
    contexts->all([](std::uint32_t context) { markers[context].word = 1; });
  }
  for (Contexts* const contexts : {&enough, &few}) contexts->remove();
  return 0;
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count == 1) return count_lines<Driver>();
  if (arguments[1] == std::string{"small"}) return count_lines<DriverWith<1>>();
  return arguments[1] == std::string{"contexts"} ? look_at_contexts() : 1;
}
