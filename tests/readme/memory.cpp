// SPDX-License-Identifier: BSL-1.0
//
// The bytes of the block layer's objects, as a table. Compares the table with that of a README.
//
// An object's own size is sizeof. What one more of it costs is counted: the bytes that are
// allocated after a disk was made, beside those of a disk with one less of it.

#include <algorithm>
#include <array>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace {

namespace mq = blkown::mq;

std::size_t live_bytes = 0;

/// The bytes before an object's memory, which hold its size.
[[nodiscard]] std::size_t room_for(std::size_t alignment) {
  return std::max(alignment, std::size_t{__STDCPP_DEFAULT_NEW_ALIGNMENT__});
}
[[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment) {
  const std::size_t room = room_for(alignment);
  const std::size_t whole_bytes = (room + bytes + room - 1) / room * room;
  auto* const begin = static_cast<std::byte*>(std::aligned_alloc(room, whole_bytes));
  if (begin == nullptr) std::abort();
  new (begin) std::size_t{bytes};
  live_bytes += bytes;
  return begin + room;
}
void release(void* memory, std::size_t alignment) {
  if (memory == nullptr) return;
  std::byte* const begin = static_cast<std::byte*>(memory) - room_for(alignment);
  live_bytes -= *std::launder(reinterpret_cast<std::size_t*>(begin));
  std::free(begin);
}

struct Driver {
  struct RequestData {
    std::array<std::uint64_t, 8> words{};
  };
  struct HwData {};
  struct QueueData {};
  mq::Dispatch<Driver> queue_rq(mq::HwQueue<Driver>&, QueueData&,
                                blkown::Idle<mq::Request<Driver>> idle, bool) {
    std::move(idle).start().end_ok();
    return mq::Dispatch<Driver>::accepted();
  }
};

/// What is allocated for a disk.
[[nodiscard]] std::size_t bytes_of_disk(std::uint32_t queues, std::uint32_t depth,
                                        std::uint32_t contexts) {
  Driver driver;
  mq::LoopRuntime runtime{contexts};
  const std::size_t before = live_bytes;
  auto made = mq::Disk<Driver>::create(
      {.capacity_sectors = 1 << 20, .normal_queues = queues, .depth = depth}, driver, runtime);
  if (!made.has_value()) std::abort();
  const std::size_t bytes = live_bytes - before;
  if (mq::remove(runtime, **made) != blkown::Status::ok) std::abort();
  return bytes;
}
[[nodiscard]] std::size_t bytes_of_runtime(std::uint32_t contexts) {
  const std::size_t before = live_bytes;
  const mq::LoopRuntime runtime{contexts};
  return live_bytes - before;
}

[[nodiscard]] std::string number(std::size_t value) {
  std::string text = std::to_string(value);
  if (text.size() > 3) text.insert(text.size() - 3, ",");
  return text;
}
void add(std::string& table, const char* object, std::size_t bytes, const std::string& one_more) {
  table += std::string{"| "} + object + " | " + number(bytes) + " | " + one_more + " |\n";
}

[[nodiscard]] std::string table() {
  constexpr std::uint32_t depth = 64;
  const std::size_t one = bytes_of_disk(1, depth, 1);
  const std::size_t request = (bytes_of_disk(1, 2 * depth, 1) - one) / depth;
  const std::size_t queue = bytes_of_disk(2, depth, 1) - one - depth * request;
  // From 4 to 8, because the list of contexts grows by a factor of 2.
  const std::size_t side = (bytes_of_disk(1, depth, 8) - bytes_of_disk(1, depth, 4)) / 4;
  std::string made = "| object | bytes | one more allocates |\n|---|---|---|\n";
  add(made, "a bio", sizeof(mq::Bio), "nothing");
  add(made, "a request with 64 bytes of the driver's data", sizeof(mq::Request<Driver>),
      number(request));
  add(made, "a hardware queue with the bitmap of 64 tags", sizeof(mq::HwQueue<Driver>),
      number(queue));
  add(made, "a context's side of a disk", sizeof(mq::detail::SubmitQueue<Driver>), number(side));
  add(made, "a disk without its queues and contexts", sizeof(mq::Disk<Driver>),
      number(one - depth * request - queue - side));
  add(made, "a context", sizeof(mq::Context),
      number((bytes_of_runtime(8) - bytes_of_runtime(4)) / 4));
  return made;
}

/// The first table below a line of the file.
[[nodiscard]] std::string table_below(const char* path, const std::string& heading) {
  std::ifstream file{path};
  std::string line;
  while (std::getline(file, line) && line != heading) {
  }
  std::string found;
  while (std::getline(file, line) && (found.empty() || !line.empty())) {
    if (line.starts_with('|')) found += line + '\n';
  }
  return found;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes, 0); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, 0); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { release(memory, 0); }
void operator delete(void* memory, std::size_t) noexcept { release(memory, 0); }
void operator delete(void* memory, std::align_val_t alignment) noexcept {
  release(memory, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
  release(memory, static_cast<std::size_t>(alignment));
}

int main(int argc, char** argv) {
  const std::string made = table();
  if (argc == 1) {
    std::printf("%s", made.c_str());
    return 0;
  }
  if (table_below(argv[1], "## Memory") == made) return 0;
  std::printf("the table below \"## Memory\" in %s differs; it should be\n\n%s", argv[1],
              made.c_str());
  return 1;
}
