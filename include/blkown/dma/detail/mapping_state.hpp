// SPDX-License-Identifier: BSL-1.0
//
// MappingState: the atomic word of a list, which decides which context may unmap.
//
//     free ---prepare--> prepared --activate--> active --quarantine--> quarantined
//      ^                 |  ^  ^ |                |                      ^   |
//      +------free-------+  |  +-|-----take-------+                      |   |
//                           |    +-------------keep----------------------+   |
//                           +----------------take----------------------------+
//
// Parties: the context with the mapping's handle, and contexts that scan or drain the device. In
// the states free and prepared exactly one context uses the list: the one that maps it, or the one
// whose take has succeeded. The end of a map activates the list, for a PreparedMapping and an
// ActiveMapping alike. From then on, the handle and a drain may both try to unmap. The one whose
// take changes the word unmaps; the other finds the word changed and leaves the list alone. If the
// handle is destroyed without proof, or the backend cannot unmap, the one that has the list keeps
// it: a later drain takes it again.
//
// Each mapping of a list gets a new serial number, so a handle or a scan of an older mapping cannot
// change the word of a newer one. A mapping that is renewed, or given back after a wrong proof,
// returns to active with its old number and therefore with the same word.

#ifndef BLKOWN_DMA_DETAIL_MAPPING_STATE_HPP
#define BLKOWN_DMA_DETAIL_MAPPING_STATE_HPP

#include <atomic>
#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma::detail {

/// A pointer of a list that a scan reads while another context may map the list again.
template <class T>
class PublishedPointer {
 public:
  [[nodiscard]] T* get() const noexcept {
    // No transition. Partner: set. Acquire: the list's state from before the set. A scan that reads
    // the pointer of a later mapping then also sees that the earlier mapping has ended.
    return pointer_.load(std::memory_order_acquire);
  }
  void set(T* pointer) noexcept {
    // Old pointer -> new pointer. Partner: get. Release: the list's new state, prepared.
    pointer_.store(pointer, std::memory_order_release);
  }

 private:
  Atomic<T*> pointer_{nullptr};
};

/// The state of a list and the serial number of its mapping, in one word.
class MappingState {
 public:
  enum class Value : std::uint8_t { free, prepared, active, quarantined };

  /// The word at one moment.
  struct Seen {
    Word word = 0;
    [[nodiscard]] Value value() const noexcept { return static_cast<Value>(word & 3U); }
    [[nodiscard]] Word serial() const noexcept { return word >> 2; }
  };

  [[nodiscard]] Seen look() const noexcept {
    // No transition. Partners: free, activate, keep. Acquire: the fields of the list that they
    // released.
    return {word_.load(std::memory_order_acquire)};
  }

  /// free -> prepared. Returns the new mapping's serial number.
  /// Precondition: the list is free, and no other context maps it.
  Word prepare() noexcept {
    // No transition. Relaxed: no other context writes a free list's word.
    const Word serial = static_cast<Word>((word_.load(std::memory_order_relaxed) >> 2) + 1);
    // free -> prepared. Relaxed: a scan of the last mapping has to see this store only if it reads
    // one of the list's new pointers, and PublishedPointer::set releases those after it.
    word_.store(word(serial, Value::prepared), std::memory_order_relaxed);
    return serial;
  }
  /// prepared -> active.
  /// Precondition: the caller has the list, from prepare or take.
  void activate(Word serial) noexcept {
    // prepared -> active. Partners: look, quarantine. Release: the fields of the list. A plain
    // store: no other context writes a prepared list's word.
    word_.store(word(serial, Value::active), std::memory_order_release);
  }
  /// prepared -> free.
  /// Precondition: the caller has the list, from prepare or take.
  void free(Word serial) noexcept {
    // prepared -> free. Partner: look by the list's next user. Release: all uses of the list. A
    // plain store, as in activate.
    word_.store(word(serial, Value::free), std::memory_order_release);
  }

  /// Takes the list: active or quarantined -> prepared. True: the caller has the list and unmaps
  /// it.
  /// Precondition: the caller has the mapping's handle, or has seen the mapping in quarantine.
  [[nodiscard]] bool take(Word serial, Value from) noexcept {
    // Relaxed: the caller has acquired the list's fields by its handle or by look.
    return change<std::memory_order_relaxed>(serial, from, Value::prepared);
  }
  /// prepared -> quarantined: the handle is destroyed without proof, or the backend could not unmap
  /// the list.
  /// Precondition: the caller has the list, from prepare or take.
  void keep(Word serial) noexcept {
    // prepared -> quarantined. Partners: look, take. Release: the fields of the list, with what is
    // unmapped already. A plain store, as in activate.
    word_.store(word(serial, Value::quarantined), std::memory_order_release);
  }
  /// active -> quarantined: the I/O has ended, so no handle is left in the request's data that
  /// could unmap the list.
  bool quarantine(Word serial) noexcept {
    // Partner: activate. Acquire: a mapping that was renewed or given back has the same word again,
    // so this exchange may read a later activation than the one that was looked at. A context that
    // looks at the new state acquires the activation too: the exchange continues its release
    // sequence.
    return change<std::memory_order_acquire>(serial, Value::active, Value::quarantined);
  }

 private:
  [[nodiscard]] static Word word(Word serial, Value value) noexcept {
    return static_cast<Word>((serial << 2) | static_cast<Word>(value));
  }
  template <std::memory_order order>
  [[nodiscard]] bool change(Word serial, Value from, Value to) noexcept {
    Word expected = word(serial, from);
    // from -> to. The caller chooses the order. Relaxed on failure: no field of the list is read.
    return word_.compare_exchange_strong(expected, word(serial, to), order,
                                         std::memory_order_relaxed);
  }

  Atomic<Word> word_{0};
};

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
