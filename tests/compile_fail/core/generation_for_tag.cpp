// SPDX-License-Identifier: BSL-1.0
// A Generation does not convert to a Tag or to an integer, nor an integer to a Generation.
// EXPECT(gcc): no match for 'operator==' .*Tag' and '.*Generation'
// EXPECT(gcc): cannot convert '.*Generation' to 'const uint32_t'
// EXPECT(gcc): conversion from '.*Generation' to non-scalar type 'const .*Tag' requested
// EXPECT(gcc): conversion from 'int' to non-scalar type 'const .*Generation' requested
// EXPECT(clang): invalid operands to binary expression .*Tag' and '.*Generation'
// EXPECT(clang): no viable conversion from '.*Generation' to 'const (std::uint32_t|.*Tag)'
// EXPECT(clang): no viable conversion from 'int' to 'const .*Generation'
#include "snippet.hpp"

void snippet(const Owned& owned, blkown::Generation generation) {
#ifdef BLKOWN_WRONG
  use(owned.tag() == generation);
  const std::uint32_t number = generation;
  const blkown::Tag tag = generation;
  const blkown::Generation counted = 7;
#else
  use(owned.cookie().generation == generation);
  const std::uint32_t number = generation.value;
  const blkown::Tag tag{number};
  const blkown::Generation counted{7};
#endif
  use(number);
  use(tag);
  use(counted);
}
