// SPDX-License-Identifier: BSL-1.0
//
// Free tags as the objects of a DPDK mempool with its per-thread cache.

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mempool.h>

#include <array>
#include <cstdint>
#include <string>
#include <support/io.hpp>
#include <tags/take_give.hpp>

namespace bench {
namespace {

/// Starts DPDK's environment once for the program: no huge pages, no devices, nothing shared.
[[nodiscard]] bool start_environment() {
  static const bool started = [] {
    std::array<std::string, 9> words{
        "bench", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "--log-level=error",
        "-l0",   "-m",        "64"};
    std::array<char*, words.size()> arguments{};
    for (std::size_t i = 0; i != words.size(); ++i) arguments[i] = words[i].data();
    return rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) >= 0;
  }();
  return started;
}

class DpdkPool {
 public:
  explicit DpdkPool(int) {
    must(start_environment());
    std::uint32_t next = 0;
    pool_ = rte_mempool_create("tags", pool_tags, sizeof(std::uint32_t), pool_cache_tags, 0,
                               nullptr, nullptr, &DpdkPool::number, &next, SOCKET_ID_ANY, 0);
    must(pool_ != nullptr);
  }
  DpdkPool(const DpdkPool&) = delete;
  DpdkPool& operator=(const DpdkPool&) = delete;
  ~DpdkPool() { rte_mempool_free(pool_); }

  [[nodiscard]] std::uint32_t take(int) {
    // A thread that DPDK has not started has no cache until it is registered.
    thread_local const bool registered =
        rte_lcore_id() != LCORE_ID_ANY || rte_thread_register() == 0;
    must(registered);
    void* object = nullptr;
    must(rte_mempool_get(pool_, &object) == 0);
    taken = object;
    return *static_cast<std::uint32_t*>(object);
  }
  void give(int, std::uint32_t) { rte_mempool_put(pool_, taken); }

 private:
  static void number(rte_mempool*, void* next, void* object, unsigned) {
    *static_cast<std::uint32_t*>(object) = (*static_cast<std::uint32_t*>(next))++;
  }

  static inline thread_local void* taken = nullptr;
  rte_mempool* pool_ = nullptr;
};

const Registration registration{
    [](int max_threads) { register_pool<DpdkPool>("tags/dpdk_mempool", max_threads); }};

}  // namespace
}  // namespace bench
