// SPDX-License-Identifier: BSL-1.0
//
// Code that the core must not contain. The check of undefined symbols must find this code.

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
