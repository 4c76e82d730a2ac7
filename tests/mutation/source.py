# SPDX-License-Identifier: BSL-1.0
"""Texts of headers as clang-format lays them out: what is code, and where functions begin and end."""

import re

# What is not code: comments, strings, characters, preprocessor lines.
_NO_CODE = re.compile(
    r"//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'|^#(?:[^\\\n]|\\\n)*",
    re.MULTILINE)
# A macro that expands to a static_assert is one, too.
_STATIC_ASSERT = re.compile(r"\b(?:static_assert\s*|BLKOWN_MQ_DETAIL_NOT)\(")
_HEAD = re.compile(
    r"^(?P<indent> *)(?!(?:return|if|else|while|for|switch|using|class|struct|template|namespace|"
    r"static_assert|public|private|requires|concept|//)\b)[\w\[<:*&](?:[^\n;{}]|\n(?! *(?://|\n)))*?"
    r"\b(?P<name>~?\w+)\((?:[^;{}]|\{\})*?\)(?: const)?(?: &&)?(?: noexcept)?"
    r"(?:\s+requires [^{;]*)?\s*\{",
    re.MULTILINE)


def functions(text):
    """(name, begin, end) of each function body, found by its head."""
    return [(match["name"], match.end(), closed(text, match.end() - 1))
            for match in _HEAD.finditer(text) if match["name"] != "requires"]


def without_comments(text):
    """The text with spaces in the place of its comments."""
    return re.sub(r"//[^\n]*", lambda match: " " * len(match[0]), text)


def code_of(text):
    """The text with spaces for comments, preprocessor lines and static_asserts, and _ for literals.

    Positions stay. A literal stays an operand: "_____".
    """
    def hidden(match):
        if match[0][0] in "\"'":
            return "_" * len(match[0])
        return re.sub(r"[^\n]", " ", match[0])

    code = _NO_CODE.sub(hidden, text)
    for match in list(_STATIC_ASSERT.finditer(code)):
        end = code.find(";", closed(code, match.end() - 1)) + 1
        code = code[:match.start()] + re.sub(r"[^\n]", " ", code[match.start():end]) + code[end:]
    return code


def closed(code, at):
    """The position behind the bracket that closes the one at this position."""
    depth = 0
    for position in range(at, len(code)):
        if code[position] in "([{":
            depth += 1
        elif code[position] in ")]}":
            depth -= 1
            if depth == 0:
                return position + 1
    return len(code)


def parts(code, begin, end, separator):
    """(begin, end) of the parts between separators that are in no brackets."""
    found = []
    depth = 0
    for position in range(begin, end):
        if code[position] in "([{":
            depth += 1
        elif code[position] in ")]}":
            depth -= 1
        elif code[position] == separator and depth == 0:
            found.append((begin, position))
            begin = position + 1
    found.append((begin, end))
    return found


def trimmed(code, begin, end):
    """The same range without white space at its ends."""
    text = code[begin:end]
    return begin + len(text) - len(text.lstrip()), begin + len(text.rstrip())


def line_of(text, position):
    return text.count("\n", 0, position) + 1
