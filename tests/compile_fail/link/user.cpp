// SPDX-License-Identifier: BSL-1.0
// One half of a program that hands a request to the other half.
#include <blkown/blkown.hpp>

void take(blkown::Owned<blkown::Request<int>> owned);

int main(int count, char** arguments) {
  if (count > 1) {
    auto* const raw = reinterpret_cast<blkown::Request<int>*>(arguments);
    take(blkown::Owned<blkown::Request<int>>::from_raw(raw));
  }
}
