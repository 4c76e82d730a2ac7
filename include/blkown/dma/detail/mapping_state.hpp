// SPDX-License-Identifier: BSL-1.0
//
// What contexts share about mappings: a lock for what happens seldom, a device's epoch, and the
// state of a list.

#ifndef BLKOWN_DMA_DETAIL_MAPPING_STATE_HPP
#define BLKOWN_DMA_DETAIL_MAPPING_STATE_HPP

#include <blkown/config.hpp>
#include <blkown/detail/spin_lock.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma::detail {

// For what happens seldom, when a list is first used, a bounce slot taken, a mapping quarantined:
// never on the way of a plain I/O.
using blkown::detail::SpinLock;

/// Counts how often a device was stopped. A mapping remembers the epoch in which it was activated.
class Epoch {
 public:
  [[nodiscard]] Word current() const noexcept {
    // No transition. Relaxed: a number on its own; that nothing is activated while the device is
    // being stopped is the caller's to see to.
    return value_.load(std::memory_order_relaxed);
  }
  /// The epoch that is over.
  Word end() noexcept {
    // n -> n+1. Relaxed: as in current.
    return value_.fetch_add(1, std::memory_order_relaxed);
  }

 private:
  Atomic<Word> value_{1};
};

/// A pointer that a scan reads while the list may be another mapping's by now.
template <class T>
class PublishedPointer {
 public:
  [[nodiscard]] T* get() const noexcept {
    // No transition. Partner: set. Acquire: the state of the list from before it, so that whoever
    // reads a later mapping's pointer sees that the mapping it means is over.
    return pointer_.load(std::memory_order_acquire);
  }
  void set(T* pointer) noexcept {
    // Old pointer -> new pointer. Partner: get. Release: the list's state, prepared anew.
    pointer_.store(pointer, std::memory_order_release);
  }

 private:
  Atomic<T*> pointer_{nullptr};
};

/// Whose a list is, and for which mapping: a state, and a serial number that each mapping has anew.
/// Free and prepared belong to one context, which is told so by its handles. From active on, the
/// mapping's handle and a drain of the stopped device may both want to unmap it, and one does:
/// whoever changes the word. The next mapping never repeats it; one that is renewed does.
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
    // No transition. Partner: free, activate. Acquire: what they wrote into the list.
    return {word_.load(std::memory_order_acquire)};
  }
  /// free -> prepared, by the context that maps. Returns the mapping's serial number.
  Word prepare() noexcept {
    // No transition. Relaxed: nobody else writes now.
    const Word serial = static_cast<Word>((word_.load(std::memory_order_relaxed) >> 2) + 1);
    // free -> prepared. Relaxed: whoever still looks at the last mapping has to see this only if it
    // sees one of the list's new pointers, and they are released after it.
    word_.store(word(serial, Value::prepared), std::memory_order_relaxed);
    return serial;
  }
  void activate(Word serial) noexcept {
    // prepared -> active. Partners: look, quarantine. Release: what was written into the list. A
    // plain store, for nobody else writes now.
    word_.store(word(serial, Value::active), std::memory_order_release);
  }
  void free(Word serial) noexcept {
    // prepared -> free. Partner: look of the next user. Release: the list is done with. As above.
    word_.store(word(serial, Value::free), std::memory_order_release);
  }

  /// active or quarantined -> prepared: the caller, and nobody else, unmaps it now.
  /// Precondition: it has the mapping's handle, or has found it quarantined.
  [[nodiscard]] bool take(Word serial, Value from) noexcept {
    // Relaxed: the caller knows the list, from its handle or from look.
    return change<std::memory_order_relaxed>(serial, from, Value::prepared);
  }
  /// active -> quarantined: it has no handle any more that could unmap it.
  bool quarantine(Word serial) noexcept {
    // Partner: activate. Acquire: a mapping that was renewed or given back has the same word again,
    // so that what this changes may be a later activation than the one that was looked at. Whoever
    // looks at the new state acquires the activation too: this goes on with its release sequence.
    return change<std::memory_order_acquire>(serial, Value::active, Value::quarantined);
  }

 private:
  [[nodiscard]] static Word word(Word serial, Value value) noexcept {
    return static_cast<Word>((serial << 2) | static_cast<Word>(value));
  }
  template <std::memory_order order>
  [[nodiscard]] bool change(Word serial, Value from, Value to) noexcept {
    Word expected = word(serial, from);
    // As the caller says. Relaxed on failure: nothing is read of the list.
    return word_.compare_exchange_strong(expected, word(serial, to), order,
                                         std::memory_order_relaxed);
  }

  Atomic<Word> word_{0};
};

}  // namespace dma::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
