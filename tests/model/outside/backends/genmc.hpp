// SPDX-License-Identifier: BSL-1.0
//
// The backend for GenMC: its own <atomic>, pthreads, and data that is a plain member, whose
// accesses GenMC sees in the intermediate code.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_BACKENDS_GENMC_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_BACKENDS_GENMC_HPP

#include <assert.h>
#include <pthread.h>

#include <atomic>

namespace checker {

template <class T>
struct Atomic : std::atomic<T> {
  using std::atomic<T>::atomic;

  // The <atomic> of GenMC is an older one and lacks this member in some modes.
  static constexpr bool is_always_lock_free = __atomic_always_lock_free(sizeof(T), nullptr);

  // GenMC 0.11 adds in 64 bits and keeps the carry out of a narrower atomic: a compare-exchange
  // then never finds the value that a load returned. A negative addend is therefore subtracted.
  T fetch_add(T value, std::memory_order order) noexcept {
    const T negative = static_cast<T>(T{0} - value);
    return negative < value ? std::atomic<T>::fetch_sub(negative, order)
                            : std::atomic<T>::fetch_add(value, order);
  }
};

}  // namespace checker

#define BLKOWN_ATOMIC checker::Atomic
#define BLKOWN_ATOMIC_NAME genmc

namespace checker {

inline void require(bool condition) { assert(condition); }

template <class T>
class Data {
 public:
  explicit Data(T value) : value_{value} {}
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  [[nodiscard]] T get() const { return value_; }
  void set(T value) { value_ = value; }

 private:
  T value_;
};

template <class P>
struct Run {
  using Object = typename P::Object;

  template <unsigned Index>
  static void* body(void* object) {
    P::run_thread(*static_cast<Object*>(object), Index);
    return nullptr;
  }

  static void run() {
    static_assert(P::thread_count == 2 || P::thread_count == 3);
    Object object;
    pthread_t first;
    pthread_t second;
    pthread_create(&first, nullptr, &body<0>, &object);
    pthread_create(&second, nullptr, &body<1>, &object);
    if constexpr (P::thread_count == 3) {
      pthread_t third;
      pthread_create(&third, nullptr, &body<2>, &object);
      pthread_join(third, nullptr);
    }
    pthread_join(first, nullptr);
    pthread_join(second, nullptr);
    object.finish();
  }
};

}  // namespace checker

#endif
