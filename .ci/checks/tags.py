#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Names the public classes and members that ctags does not find: tags.py CLANG

The expected names come from CLANG's syntax tree of all headers in include/, the tags from ctags
without options. Not expected, because ctags has no tag for them without options: constructors,
destructors, operators, concepts, and functions that are declared without a body (pure virtual ones).
"""
import json
import pathlib
import re
import subprocess
import sys

NAMED = {'FunctionDecl', 'CXXMethodDecl', 'FieldDecl', 'VarDecl', 'EnumConstantDecl', 'TypeAliasDecl',
         'TypedefDecl'}
TEMPLATES = {'FunctionTemplateDecl', 'ClassTemplateDecl', 'TypeAliasTemplateDecl', 'VarTemplateDecl'}


declared = {}    # node id -> name, of the public functions that are declared without a body
defined = set()  # node ids of the declarations whose body stands outside the class


def public_names(declaration, scope):
    """The qualified names that this declaration gives to the users of the library."""
    kind, name = declaration['kind'], declaration.get('name', '')
    inner = declaration.get('inner', [])
    if declaration.get('isImplicit'):
        return
    if kind == 'NamespaceDecl':
        if name != 'detail':
            inline = declaration.get('isInline')
            for member in inner:
                yield from public_names(member, scope if inline else scope + name + '::')
    elif kind == 'LinkageSpecDecl':
        for member in inner:
            yield from public_names(member, scope)
    elif kind in TEMPLATES:
        # The pattern is the first declaration that is not a parameter; instances follow it.
        for member in inner:
            if member['kind'] in NAMED or member['kind'] == 'CXXRecordDecl':
                yield from public_names(member, scope)
                break
    elif kind == 'CXXRecordDecl' and declaration.get('completeDefinition') and name:
        yield scope + name
        is_public = declaration['tagUsed'] != 'class'
        for member in inner:
            if member['kind'] == 'AccessSpecDecl':
                is_public = member['access'] == 'public'
            elif is_public:
                yield from public_names(member, scope + name + '::')
    elif kind == 'EnumDecl':
        if name:
            yield scope + name
            scope += name + '::'
        for member in inner:
            yield from public_names(member, scope)
    elif kind in NAMED and name and not name.startswith('operator'):
        is_function = kind in ('FunctionDecl', 'CXXMethodDecl')
        has_body = any(part['kind'] == 'CompoundStmt' for part in inner)
        if kind == 'CXXMethodDecl' and 'parentDeclContextId' in declaration:
            defined.add(declaration['previousDecl'])
        elif is_function and not has_body:
            declared[declaration['id']] = scope + name
        else:
            yield scope + name


def expected(clang):
    headers = sorted(str(path.relative_to('include')) for path in pathlib.Path('include').rglob('*.hpp'))
    # Without the headers that need liburing or std::format.
    headers = [name for name in headers if not name.endswith(('uring_buffers.hpp', 'format.hpp'))]
    source = ''.join(f'#include <{header}>\n' for header in headers)
    dump = subprocess.run(
        [clang, '-std=c++23', '-Iinclude', '-fsyntax-only', '-Xclang', '-ast-dump=json', '-Xclang',
         '-ast-dump-filter=blkown', '-x', 'c++', '-'],
        input=source, stdout=subprocess.PIPE, check=True, text=True).stdout
    names, decoder, at = set(), json.JSONDecoder(), 0
    while (at := dump.find('{', at)) >= 0:
        declaration, at = decoder.raw_decode(dump, at)
        if declaration['kind'] == 'NamespaceDecl' and declaration['name'] == 'blkown':
            names.update(public_names(declaration, ''))
    names.update(name for node, name in declared.items() if node in defined)
    return names


def found():
    names = set()
    tags = subprocess.run(['ctags', '-f', '-', '-R', 'include'],
                          stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in tags.splitlines():
        fields = line.split('\t')
        if line.startswith('!') or len(fields) < 4:
            continue
        scope = ''
        for field in fields[4:]:
            if match := re.match(r'(?:namespace|class|struct|union|enum|function):(.*)', field):
                scope = match[1] + '::'
        name = (scope + fields[0]).replace('BLKOWN_ABI::', '')
        names.add(re.sub(r'__anon\w+::', '', name))
    return names


def main():
    names = expected(sys.argv[1])
    for name in sorted(names - found()):
        print(f'ctags does not find {name}')
    if len(names) < 500:
        print(f'only {len(names)} names were expected: this check does not see the headers')


main()
