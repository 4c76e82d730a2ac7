// SPDX-License-Identifier: BSL-1.0
// A reference to the data of a temporary handle would outlive the handle. `look_up()->data()` is as
// wrong, and compiles: std::expected's operator-> gives the same lvalue for a temporary as for a
// variable. StopsAWriteThroughTheDataOfALookupsTemporary in tests/poison shows what stops it.
// EXPECT-FIRST(gcc): use of deleted function .*::data\(\) const && \[with name_the_handle_before_us
// EXPECT-FIRST(clang): deleted member function 'data': the reference would outlive the temporary
#include "snippet.hpp"

Owned make_owned();
Claim make_claim();
Idle make_idle();
Ended make_ended();
ReadableARef make_aref();
std::expected<Claim, blkown::LookupError> look_up();

void snippet(std::optional<Claim> found) {
#ifdef BLKOWN_WRONG
  Command& of_owned = make_owned().data();
  Command& of_claim = make_claim().data();
  Command& of_idle = make_idle().data();
  Command& of_ended = make_ended().data();
  const Geometry& of_aref = make_aref().data();
  Command& of_moved = std::move(*found).data();
  Command& of_lookup = (*look_up()).data();
  Command& of_value = look_up().value().data();
#else
  const Owned owned = make_owned();
  const Claim claim = make_claim();
  Command& of_owned = owned.data();
  Command& of_claim = claim.data();
  const Idle idle = make_idle();
  const Ended ended = make_ended();
  const ReadableARef aref = make_aref();
  Command& of_idle = idle.data();
  Command& of_ended = ended.data();
  const Geometry& of_aref = aref.data();
  Command& of_moved = found->data();
  const auto looked_up = look_up();
  Command& of_lookup = looked_up->data();
  Command& of_value = looked_up.value().data();
#endif
  use(of_owned), use(of_claim), use(of_idle), use(of_ended), use(of_aref), use(of_moved),
      use(of_lookup), use(of_value);
}
