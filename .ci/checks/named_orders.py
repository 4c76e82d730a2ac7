#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Names the atomic operations that do not name their memory order: named_orders.py FILE...

An operation without an order is sequentially consistent, which is stronger than any reason for it. A
compare-exchange names two orders, that of its failure too. An argument called `order` counts as one.
"""
import re
import sys

COMMENT = re.compile(r'//[^\n]*')
# A compare-exchange, and an operation with another name, up to its opening parenthesis.
OPERATION = re.compile(
    r'(?:\.|->)\s*(compare_exchange_(?:weak|strong)|load|store|exchange|fetch_\w+|test_and_set)\s*\(')
ORDER = re.compile(r'\bmemory_order(?:_|::)\w+|\border\b')


def arguments(text, begin):
    """The text from `begin`, behind a parenthesis, to the parenthesis that closes it."""
    depth = 1
    for end in range(begin, len(text)):
        depth += {'(': 1, ')': -1}.get(text[end], 0)
        if depth == 0:
            return text[begin:end]
    sys.exit('a parenthesis is not closed')


def main():
    for path in sys.argv[1:]:
        with open(path, encoding='utf-8') as file:
            text = COMMENT.sub('', file.read())
        for match in OPERATION.finditer(text):
            needed = 2 if match[1].startswith('compare') else 1
            if len(ORDER.findall(arguments(text, match.end()))) < needed:
                print(f'{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[1]} names no order')


main()
