// SPDX-License-Identifier: BSL-1.0
// A request can be neither copied nor moved: lookups find it by its address.
// EXPECT(gcc): use of deleted function '.*Request(<Command>|Header)(::R.*|::operator=)\(
// EXPECT(clang): call to implicitly-deleted copy constructor of 'Request'
// EXPECT(clang): object of type 'Request' .*copy assignment operator is implicitly deleted
#include "snippet.hpp"

void snippet(Request& request, Request& other) {
#ifdef BLKOWN_WRONG
  Request copy{request};
  Request moved{std::move(request)};
  request = other;
#else
  const Request& copy = request;
  const Request& moved = other;
#endif
  use(copy);
  use(moved);
}
