#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Names the functions that are longer than 50 lines: function_length.py FILE...

A function's lines are counted from the first line of its declaration to its closing brace. The lines
of lambdas and local classes belong to the function around them. The files are C++ in clang-format's
layout. Unbalanced braces, which only a macro could hide, are an error.
"""
import re
import sys

MAX_LINES = 50

# Comments, preprocessor directives and literals. Their newlines are kept, all else is removed.
IGNORED = re.compile(
    r'''//(?:\\\n|[^\n])*|/\*.*?\*/          # comments
      | ^[ \t]*\#(?:\\\n|[^\n])*             # directives
      | R"([^\s()\\]{0,16})\(.*?\)\1"        # raw strings
      | "(?:\\.|[^"\\\n])*"                  # strings
      | (?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+' # characters, not the separators in numbers
    ''', re.VERBOSE | re.DOTALL | re.MULTILINE)

# The end of the text before a lambda's body in an initializer.
LAMBDA = re.compile(r'[])](\s*(mutable|noexcept))*(\s*->\s*[\w:<>&*]+)? $')
ACCESS = re.compile(r'\b(public|private|protected):$')
MACRO_CALL = re.compile(r'\s*[A-Z][A-Z0-9_]+\([^()]*\)\n')
# Blocks between declarations that are not functions, and the end of a function's declaration, which
# may return a "struct X&".
NO_FUNCTION = re.compile(r'(^|[\s>\]])(namespace|class|struct|union|enum|extern\s*$)(\s|$)')
FUNCTION_END = re.compile(r'\)(\s*(const|noexcept|override|final))*$')
TEMPLATE = re.compile(r'template\s*<')


def without_template_head(text):
    """The declaration without its leading template parameter lists."""
    text = text.strip()
    while TEMPLATE.match(text):
        depth = 0
        for at, letter in enumerate(text):
            depth += (letter == '<') - (letter == '>')
            if depth == 0 and letter == '>':
                text = text[at + 1:].strip()
                break
        else:
            return text
    return text


def is_function(head):
    """Does this text before a brace declare a function?"""
    head = without_template_head(head)
    if NO_FUNCTION.search(head.split('(', 1)[0]) and not FUNCTION_END.search(head):
        return False
    return '(' in head


def functions(path):
    """(line, number of lines, declaration) of each outermost function of the file."""
    with open(path, encoding='utf-8') as file:
        text = IGNORED.sub(lambda match: '""' * match[0].startswith(('"', 'R"')) +
                           '\n' * match[0].count('\n'), file.read())
    stack = []     # of each open brace: whether its block is a function
    line = 1
    parentheses = 0
    head = ''      # since the last declaration's end
    head_line = 1
    first_line = 0
    declaration = ''
    for letter in text:
        if letter == '\n':
            line += 1
        if any(stack):  # in a function
            if letter == '{':
                stack.append(False)
            elif letter == '}':
                stack.pop()
                if not any(stack):
                    yield first_line, line - first_line + 1, declaration
            continue
        if not head.strip():
            head_line = line
        # clang-format puts a space before the brace of a block and none before an initializer's.
        if letter == '{' and parentheses and LAMBDA.search(head):
            stack.append(True)
            first_line, declaration = line, ' '.join(head.split())
        elif letter == '(' or (letter == '{' and (parentheses or (head and not head[-1].isspace()))):
            parentheses += 1
            head += letter
        elif letter == ')' or (letter == '}' and parentheses):
            parentheses -= 1
            head += letter
        elif letter == '{':
            is_body = is_function(head)
            stack.append(is_body)
            if is_body:
                first_line, declaration = head_line, ' '.join(head.split())
            head = ''
        elif letter == '}':
            if not stack:
                raise ValueError(f'{path}:{line}: a closing brace without an opening one')
            stack.pop()
            head = ''
        elif letter == ';' and parentheses == 0:
            head = ''
        else:
            head += letter
            if ACCESS.search(head) or MACRO_CALL.fullmatch(head):
                head = ''
    if stack:
        raise ValueError(f'{path}: the braces are not balanced')


def main():
    count = 0
    for path in sys.argv[1:]:
        for line, lines, declaration in functions(path):
            count += 1
            if lines > MAX_LINES:
                print(f'{path}:{line}: {lines} lines: {declaration[:70]}')
    if count == 0:
        print('function_length.py: no function was found')


main()
