// SPDX-License-Identifier: BSL-1.0
// A request of the block layer ends in the block layer: a TagSet of them has no other sink.
// EXPECT-FIRST: EndSink of a request of the block layer: mq::TagPool makes the TagSet and its sink
#include "driver.hpp"

struct Mine : RightDriver<Mine> {};
using Sink = blkown::EndSink<mq::Request<Mine>>;
using List = blkown::EndedList<mq::Request<Mine>>;
struct Target {
  void operator()(List&&) const;
};

#ifdef BLKOWN_WRONG
Sink of_a_target(Target& target) { return Sink::to(target); }                        // refused
Sink of_a_function(void (*function)(void*, List&&)) { return {function, nullptr}; }  // refused
Sink freeing() { return Sink::freeing(); }                                           // refused
#else
auto pool() { return mq::TagPool<Mine>::create({}); }
#endif
