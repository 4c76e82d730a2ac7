#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""check_junit.py FILE TESTS FAILURES ERRORS

Checks a report of the kit: the rules of the schemas of Apache Ant's JUnit task and of Jenkins's xUnit
plugin, and these numbers. Prints what is wrong, and exits with 1.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree

SUITE_ATTRIBUTES = {
    'name': r'\S.*', 'package': r'\S.*', 'id': r'0', 'hostname': r'\S+',
    'timestamp': r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d', 'tests': r'\d+', 'failures': r'\d+',
    'errors': r'\d+', 'time': r'\d+\.\d{3}'}
CASE_ATTRIBUTES = {'name': r'seed \d+', 'classname': r'[^\s/.].*', 'time': r'\d+\.\d{3}'}
problems = []


def expect(condition, problem):
    if not condition:
        problems.append(problem)


def check_attributes(element, patterns):
    expect(set(element.attrib) == set(patterns), f'{element.tag} has {sorted(element.attrib)}')
    for name, pattern in patterns.items():
        value = element.get(name, '')
        expect(re.fullmatch(pattern, value), f'{element.tag} has {name}="{value}"')


def check_case(case):
    check_attributes(case, CASE_ATTRIBUTES)
    expect(len(case) <= 1, 'a test case has several results')
    for result in case:
        expect(result.tag in ('failure', 'error'), f'a test case has {result.tag}')
        expect(set(result.attrib) == {'type', 'message'}, f'{result.tag} has {result.attrib}')
        seed = case.get('name')
        text = result.text or ''
        expect(f'{seed}' in text and f'--first-seed {seed[5:]} ' in text and 'replay: ' in text,
               f'{seed} has the report {text!r}')
        expect(result.get('message') and result.get('message') in text,
               f'{seed} has the message {result.get("message")!r}')


def main():
    path, numbers = sys.argv[1], [int(word) for word in sys.argv[2:5]]
    root = ElementTree.parse(path).getroot()
    expect(root.tag == 'testsuites' and not root.attrib, f'the root is {root.tag} {root.attrib}')
    expect([suite.tag for suite in root] == ['testsuite'], 'there is not one testsuite')
    suite = root[0]
    check_attributes(suite, SUITE_ATTRIBUTES)
    tags = [element.tag for element in suite]
    cases = suite.findall('testcase')
    expect(tags == ['properties'] + ['testcase'] * len(cases) + ['system-out', 'system-err'],
           f'the suite has {tags}')
    for case in cases:
        check_case(case)
    counts = [len(cases), len(suite.findall('testcase/failure')), len(suite.findall('testcase/error'))]
    expect(counts == numbers, f'{counts} tests, failures and errors; expected {numbers}')
    stated = [int(suite.get(name)) for name in ('tests', 'failures', 'errors')]
    expect(stated == counts, f'the suite states {stated}, and has {counts}')
    for problem in problems:
        print(f'{path}: {problem}')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
