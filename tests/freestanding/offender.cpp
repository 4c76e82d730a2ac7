// SPDX-License-Identifier: BSL-1.0
//
// What must not get into the core, so that the check of undefined symbols is seen to find it.

#include <cstdlib>
#include <new>

namespace {

struct Destroyed {
  explicit Destroyed(int* number) : owned{number} {}
  ~Destroyed() { ::operator delete(owned); }
  int* owned;
};

}  // namespace

int* offend(int number) {
  static Destroyed once{static_cast<int*>(::operator new(sizeof(int)))};
  if (number == 0) std::abort();
  return once.owned;
}
