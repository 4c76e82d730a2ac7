// SPDX-License-Identifier: BSL-1.0
//
// model::Data: memory that is not atomic. Two accesses are a data race if one of them writes and
// neither happens before the other. The execution then fails and states both.

#ifndef BLKOWN_TESTS_MODEL_EXPLORER_DATA_HPP
#define BLKOWN_TESTS_MODEL_EXPLORER_DATA_HPP

#include <array>
#include <string>

#include "engine.hpp"

namespace model {

[[nodiscard]] inline std::string to_string(const Place& place) {
  std::string file = place.file_name();
  if (const std::size_t slash = file.rfind('/'); slash != std::string::npos) {
    file.erase(0, slash + 1);
  }
  return file + ":" + std::to_string(place.line());
}

template <class T>
class Data {
 public:
  explicit Data(T value = T{}, const char* name = "data", Place place = Place::current())
      : value_{value}, name_{name} {
    note(write_, place);
  }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  [[nodiscard]] T get(Place place = Place::current()) const {
    check(write_, "write", "read", place);
    note(reads_[Engine::current().current_thread()], place);
    return value_;
  }
  /// Whether the data has this value and the write of the value happens before this call. Only a
  /// call that returns true counts as a read. For data that is written once, so that the result
  /// depends on happens-before alone.
  [[nodiscard]] bool is_known_to_be(T value, Place place = Place::current()) const {
    const Engine& engine = Engine::current();
    if (value_ != value || !engine.current_knowledge().has(write_.thread, write_.tick))
      return false;
    note(reads_[engine.current_thread()], place);
    return true;
  }
  void set(T value, Place place = Place::current()) {
    check(write_, "write", "write", place);
    for (const Access& read : reads_) check(read, "read", "write", place);
    note(write_, place);
    value_ = value;
  }

 private:
  /// The last access of its kind. Tick 0 means none, also for thread 0.
  struct Access {
    unsigned thread = 0;
    std::uint16_t tick = 0;
    Place place;
  };

  static void note(Access& access, const Place& place) {
    const Engine& engine = Engine::current();
    access.thread = engine.current_thread();
    access.tick = engine.current_knowledge().ticks[access.thread];
    access.place = place;
  }

  void check(const Access& earlier, const char* what, const char* now, const Place& place) const {
    Engine& engine = Engine::current();
    // The accesses of one thread are ordered, and a thread always knows its own ticks.
    if (engine.current_knowledge().has(earlier.thread, earlier.tick)) [[likely]]
      return;
    engine.fail(std::string{"data race on "} + name_ + ": " + what + " by thread " +
                std::to_string(earlier.thread) + " at " + to_string(earlier.place) + ", " + now +
                " by thread " + std::to_string(engine.current_thread()) + " at " +
                to_string(place));
  }

  T value_;
  const char* name_;
  Access write_;
  mutable std::array<Access, max_threads> reads_{};
};

}  // namespace model

#endif
