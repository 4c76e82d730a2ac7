// SPDX-License-Identifier: BSL-1.0
//
// std::format and std::print for the values that ostream.hpp, dma/ostream.hpp, mq/ostream.hpp,
// nvme/ostream.hpp and sim/ostream.hpp give a text: include the one with the type as well. The
// format specification is that of a string, as in "{:>20}".

#ifndef BLKOWN_FORMAT_HPP
#define BLKOWN_FORMAT_HPP

#include <blkown/ostream.hpp>
#include <string>
#include <string_view>
#include <version>

#ifndef __cpp_lib_format
#error \
    "blkown/format.hpp needs std::format, which this standard library does not have (libstdc++ has it from GCC 13 on, libc++ from 17 on): use blkown/ostream.hpp or to_string"
#else

#include <format>

/// Formats the text of the value as a string.
template <class T>
  requires blkown::detail::has_text<T>
struct std::formatter<T, char> : std::formatter<std::string_view, char> {
  /// Source: [format.formatter].
  template <class FormatContext>
  auto format(const T& value, FormatContext& context) const {
    const std::string text{to_string(value)};
    return std::formatter<std::string_view, char>::format(text, context);
  }
};

#endif

#endif
