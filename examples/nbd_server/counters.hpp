// SPDX-License-Identifier: BSL-1.0
//
// The counters of a worker, which the report of the server adds up.

#ifndef NBD_SERVER_COUNTERS_HPP
#define NBD_SERVER_COUNTERS_HPP

#include "storage/counter.hpp"

namespace nbd_server {

using storage::Counter;

struct Counters {
  Counter opened;     ///< Connections.
  Counter closed;     ///< Of those, all that were closed, for whatever reason.
  Counter broken;     ///< Of those, by a client that does not keep to the protocol.
  Counter hung_up;    ///< Of those, by a client that was gone in the middle of something.
  Counter timed_out;  ///< Of those, by a client that stood still in the middle of something.
  Counter commands;   ///< Replied to, or dropped with their connection.
  Counter refused;    ///< Of those, the store did not get.
  Counter failed;     ///< Of those, the store has ended with an error.
  Counter dropped;    ///< Of those, the client was gone before its reply was sent.
  Counter waits;      ///< Calls of epoll_wait.
  Counter receives;   ///< Calls of recvmsg.
  Counter sends;      ///< Calls of sendmsg.
  Counter pauses;     ///< In which commands gather.
  Counter read_bytes;
  Counter written_bytes;
};

}  // namespace nbd_server

#endif
