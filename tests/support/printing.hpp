// SPDX-License-Identifier: BSL-1.0
//
// Printers of the library's values for GoogleTest's failure messages.

#ifndef BLKOWN_TESTS_SUPPORT_PRINTING_HPP
#define BLKOWN_TESTS_SUPPORT_PRINTING_HPP

#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_set_config.hpp>
#include <ostream>

namespace blkown {

inline void PrintTo(LookupReason reason, std::ostream* out) { *out << to_string(reason); }
inline void PrintTo(Status status, std::ostream* out) { *out << to_string(status); }
inline void PrintTo(TagSetReason reason, std::ostream* out) { *out << to_string(reason); }
inline void PrintTo(QueueIndex queue, std::ostream* out) { *out << "queue " << queue.value; }
inline void PrintTo(Tag tag, std::ostream* out) { *out << "tag " << tag.value; }
inline void PrintTo(Generation generation, std::ostream* out) {
  *out << "generation " << generation.value;
}
inline void PrintTo(const Cookie& cookie, std::ostream* out) {
  *out << "cookie " << cookie.value << " (queue " << cookie.queue.value << " tag "
       << cookie.tag.value << " generation " << cookie.generation.value << ')';
}
inline void PrintTo(const LookupError& error, std::ostream* out) {
  *out << to_string(error.reason) << ", queue " << error.queue.value << " tag " << error.tag.value
       << " expected generation " << error.expected_generation.value << " seen "
       << error.seen_generation.value;
}

}  // namespace blkown

#endif
