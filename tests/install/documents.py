#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Names what is wrong with the installed documents: documents.py FOLDER [TREE].

Each link leads to a file within FOLDER, and to a heading of it. With TREE: the license and each page of
include/ are there, and every line without a link is that of the tree.
"""
import pathlib
import re
import sys

LINK = re.compile(r"\]\(([A-Za-z0-9_./-]*)(#[a-z0-9-]+)?\)")
NOTE = "(An installed copy: `examples/`, `tests/` and `bench/` are folders of the repository only.)"


def text_of(page):
    """The text without its programs, in which brackets are no links."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def headings_of(page):
    """The anchors of the page's headings."""
    titles = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    return {"#" + re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(folder, page):
    """The links of the page that lead nowhere, and the number of links that it has."""
    dead, count = [], 0
    for path, anchor in LINK.findall(text_of(page)):
        target = (page.parent / path).resolve() if path else page
        count += 1
        if not (path or anchor) or not target.is_file() or folder not in target.parents:
            dead.append(f"{page}: the link ({path}{anchor}) leads to no installed file")
        elif anchor and anchor not in headings_of(target):
            dead.append(f"{page}: {target} has no heading {anchor}")
    return dead, count


def changed_lines(tree, folder):
    """What of the tree's documents is not in the folder."""
    places = {page: page for page in tree.glob("include/blkown/**/README.md")}
    places |= {tree / name: tree / pathlib.Path(name).name
               for name in ("LICENSE", "README.md", ".github/CHANGELOG.md", ".github/CONTRIBUTING.md")}
    for page, place in places.items():
        installed = folder / place.relative_to(tree)
        if not installed.is_file():
            yield f"{page} is not installed as {installed}"
            continue
        lines = page.read_text(encoding="utf-8").splitlines()
        seen = installed.read_text(encoding="utf-8").splitlines()
        if page == tree / "README.md":
            if NOTE not in seen:
                yield f"{installed} does not say that it is an installed copy"
                continue
            at = seen.index(NOTE)
            del seen[at:at + 2]
        if len(lines) != len(seen):
            yield f"{installed} has {len(seen)} lines, and {page} {len(lines)}"
        for line, other in zip(lines, seen):
            if line != other and "](" not in line:
                yield f"{installed}: '{other}' is '{line}' in {page}"


def main():
    folder, *tree = (pathlib.Path(name).resolve() for name in sys.argv[1:])
    pages = sorted(folder.rglob("*.md"))
    wrong, total = [], 0
    for page in pages:
        dead, count = dead_links(folder, page)
        wrong += dead
        total += count
    if total < 40:
        wrong.append(f"{folder}: only {total} links in {len(pages)} pages: this check does not see them")
    for root in tree:
        wrong += changed_lines(root, folder)
    if wrong:
        sys.exit("\n".join(wrong))


main()
