# SPDX-License-Identifier: BSL-1.0
"""Mutants by operators: every place of a header at which an operator changes its code.

The operators work in the bodies of functions. They leave out comments, texts, preprocessor lines,
static_asserts and memory orders.
"""

import re
from dataclasses import dataclass

from source import closed, code_of, functions, line_of, parts, trimmed

OPERATORS = ("condition negated", "bound off by one", "statement dropped", "arguments swapped",
             "enumerator swapped", "logic swapped", "step reversed", "order reversed",
             "constant returned", "truth swapped")

_KEYWORDS = re.compile(
    r"^(?:return|break|continue|using|typedef|goto|throw|case|default|delete|co_\w+|template|struct|class|enum|public|"
    r"private|friend|if|for|while|switch|do|else)\b")
_DECLARATION = re.compile(
    r"^(?:(?:const|constexpr|static|unsigned|thread_local|typename) )*(?:::)?\w+(?:::\w+)*"
    r"(?:\s*[&*]+\s*|\s+)(?:const\s+)?(?:\w+|\[[^\]]*\])\s*(?:=(?!=)|;|\(|\{|\[|,)")
_CONTROL = re.compile(r"(?:else\b|(?:if|while|for|switch)\b(?:\s+constexpr)?\s*(?=\())\s*")
_ATTRIBUTE = re.compile(r"\s*\[\[(?:un)?likely\]\]")
_LABEL = re.compile(r"(?:case\s[^;{}?]*?[\w)]|default)\s*:(?!:)\s*")
_BLOCK = re.compile(
    r"(?:[){};:\]]|\b(?:else|do|try|const|noexcept|mutable|override)|->\s*[\w:<>&*, ]+)\s*$")
_COMMUTATIVE = re.compile(r"\b(?:saturating_add|min|max|swap)$")
_BEGINNING = re.compile(r"[\w*(:\[~!]|\+\+|--")
_TYPE = re.compile(r"\b(?:struct|class|union|enum)\b[^;{}()]*$")
_NO_CALL = re.compile(r"\b(?:if|while|for|switch|return|sizeof|alignof|decltype|noexcept|catch)\s*$")


@dataclass(frozen=True)
class Site:
    """A change: the text from `begin` to `end` becomes `new`."""
    operator: str
    begin: int
    end: int
    new: str


@dataclass(frozen=True)
class Statement:
    begin: int      # without labels, and without the control statement that it belongs to
    end: int        # behind the semicolon
    block: int      # its block, by number
    controlled: bool


def statements(code, begin, end):
    """The simple statements of a body in the order of their ends, and the ends of its blocks."""
    found = []
    ends = {0: end}
    # Of each open brace that is a block: its number (None: of a type's members), the depth of brackets
    # in it, where its present statement begins, and whether the brace ends a statement of the outer one:
    # that of a lambda or a type does not.
    stack = [[0, 0, begin, True]]
    kinds = []
    for position in range(begin, end):
        character = code[position]
        if character == "{":
            before = code[max(begin - 1, position - 120):position]
            number = None if _TYPE.search(before) else len(ends)
            is_block = number is None or _BLOCK.search(before) is not None
            kinds.append(is_block)
            if is_block:
                head = _statement(code, stack[-1][2], position, 0)
                is_whole = stack[-1][1] == 0 and code[head.begin:position].strip() in ("", "do", "try")
                stack.append([number, 0, position + 1, is_whole])
                if number is not None:
                    ends[number] = end
        elif character == "}":
            if not kinds:
                break
            if kinds.pop():
                number, _, _, is_whole = stack.pop()
                ends[number] = position
                if is_whole:
                    stack[-1][2] = position + 1
        elif character in "([":
            stack[-1][1] += 1
        elif character in ")]":
            stack[-1][1] -= 1
        elif character == ";" and stack[-1][1] == 0:
            statement = _statement(code, stack[-1][2], position + 1, stack[-1][0])
            if statement.block is not None and _BEGINNING.match(code, statement.begin):
                found.append(statement)
            stack[-1][2] = position + 1
    return found, ends


def probes_of(code, begin, end):
    """(position, end of what it stands for, whether it needs braces) for the body and each statement."""
    found, ends = statements(code, begin, end)
    return [(begin, end, False)] + [
        (s.begin, s.end, True) if s.controlled else (s.begin, ends[s.block], False)
        for s in sorted(found, key=lambda s: s.begin) if s.begin > begin]


def _statement(code, begin, end, block):
    controlled = False
    while True:
        begin = trimmed(code, begin, end)[0]
        if label := _LABEL.match(code, begin, end):
            begin = label.end()
        elif control := _CONTROL.match(code, begin, end):
            controlled = True
            begin = control.end()
            if code[begin] == "(":
                begin = closed(code, begin)
            if attribute := _ATTRIBUTE.match(code, begin, end):
                begin = attribute.end()
        else:
            return Statement(begin, end, block, controlled)


def is_expression(code, statement):
    """Whether the statement computes something: it is neither a declaration nor a jump."""
    text = re.sub(r"<[^<>;()]*>", "", code[statement.begin:statement.end])
    text = re.sub(r"<[^<>;()]*>", "", text)
    return (len(text) > 1 and not _KEYWORDS.match(text) and not _DECLARATION.match(text)
            and not text.startswith("[[")
            and not re.match(r"static_cast<void>\([^(]*\);", code[statement.begin:statement.end]))


def conditions(code, begin, end):
    """(begin, end) of each condition of an if, a while or a for."""
    for match in re.finditer(r"\b(if|while|for)\s*\(", code[begin:end]):
        opening = begin + match.end() - 1
        inside = parts(code, opening + 1, closed(code, opening) - 1, ";")
        if match[1] == "for":
            if len(inside) != 3:
                continue
            chosen = inside[1]
        else:
            chosen = inside[-1]
        first, last = trimmed(code, *chosen)
        if first < last and not re.match(r"(?:const |auto\b)|[^=!<>]*[^=!<>]=[^=]", code[first:last]):
            yield first, last


def _negations(code, begin, end):
    whole = set()
    for first, last in conditions(code, begin, end):
        whole.add(first)
        yield Site("condition negated", first, last, f"!({code[first:last]})")
    for match in re.finditer(r"!(?=[\w(:*])", code[begin:end]):
        if begin + match.start() not in whole:
            yield Site("condition negated", begin + match.start(), begin + match.end(), "")
    for match in re.finditer(r" \?\s+", code[begin:end]):
        then = begin + match.end()
        otherwise = _top_level(code, then, end, r"\s:\s+")
        if otherwise is None:
            continue
        finish = _top_level(code, otherwise[1], end, r"[;,)}]")
        if finish is not None:
            new = (code[otherwise[1]:finish[0]] + code[otherwise[0]:otherwise[1]]
                   + code[then:otherwise[0]])
            yield Site("condition negated", then, finish[0], new)


def _top_level(code, begin, end, pattern):
    """The first match that is in no brackets, as (begin, end)."""
    wanted = re.compile(pattern)
    position = begin
    while position < end:
        if match := wanted.match(code, position, end):
            return match.span()
        if code[position] in "([{":
            position = closed(code, position)
        elif code[position] in ")]};":
            return None
        else:
            position += 1
    return None


def _bounds(code, begin, end):
    others = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
    for match in re.finditer(r"(?<=\s)(<=|>=|==|!=|<|>)(?=\s)", code[begin:end]):
        yield Site("bound off by one", begin + match.start(), begin + match.end(), others[match[1]])
    for match in re.finditer(r" [+-] 1\b(?![.\w])", code[begin:end]):
        yield Site("bound off by one", begin + match.start(), begin + match.end(), "")


def _steps(code, begin, end):
    others = {"++": "--", "--": "++", "+=": "-=", "-=": "+=", "+": "-", "-": "+"}
    for match in re.finditer(r"\+\+|--|(?<= )(?:[+-]=|[+-])(?= )", code[begin:end]):
        if re.match(r"[+-] 1\b", code[begin + match.start():begin + match.start() + 4]):
            continue
        yield Site("step reversed", begin + match.start(), begin + match.end(), others[match[0]])


def _logic(code, begin, end):
    for match in re.finditer(r"(?<=\s)(&&|\|\|)(?=\s)", code[begin:end]):
        yield Site("logic swapped", begin + match.start(), begin + match.end(),
                   "||" if match[1] == "&&" else "&&")


def _truths(code, begin, end):
    for match in re.finditer(r"\b(true|false)\b", code[begin:end]):
        before = code[:begin + match.start()]
        if re.search(r"(?:while \(|return )$", before):
            continue
        yield Site("truth swapped", begin + match.start(), begin + match.end(),
                   "false" if match[1] == "true" else "true")


def _statement_sites(code, text, begin, end):
    found, _ = statements(code, begin, end)
    for statement in found:
        jump = re.match(r"(?:return|break|continue)\s*;", code[statement.begin:statement.end])
        if jump or is_expression(code, statement):
            yield Site("statement dropped", statement.begin, statement.end, ";")
    simple = [s for s in found if is_expression(code, s) and not s.controlled]
    for first, second in zip(simple, simple[1:]):
        between = code[first.end:second.begin]
        if (first.block == second.block and not between.strip()
                and not _are_independent(code[first.begin:first.end], code[second.begin:second.end])):
            new = (text[second.begin:second.end] + text[first.end:second.begin]
                   + text[first.begin:first.end])
            yield Site("order reversed", first.begin, second.end, new)


def _are_independent(first, second):
    """Whether these are two assignments without calls, neither of which uses what the other changes."""
    changed = []
    for text in (first, second):
        match = (re.match(r"[\w.\[\]*]*?(\w+)(?:\[\w+\])? [|&+-]?= [^(]*;$", text)
                 or re.match(r"(?:\+\+|--)(\w+);$", text))
        if match is None:
            return False
        changed.append(match[1])
    return changed[0] not in re.findall(r"\w+", second) and changed[1] not in re.findall(r"\w+", first)


def _is_empty(value, enums):
    """Whether `{}` has the same value: that of a first enumerator is 0."""
    enumerator = re.fullmatch(r"(?:\w+::)*(\w+)::(\w+)", value)
    return (value in ("{}", "0", "nullptr", "std::nullopt") or re.fullmatch(r"[\w:]+\{\}", value) is not None
            or enumerator is not None and enums.get(enumerator[1], ("",))[0] == enumerator[2])


def _returns(code, begin, end, gives_bool, enums):
    for match in re.finditer(r"\breturn\s+", code[begin:end]):
        first = begin + match.end()
        last = code.find(";", first, end)
        value = code[first:last]
        if "{" in value and ";" in code[first:closed(code, code.find("{", first))]:
            continue  # a lambda
        if value in ("true", "false"):
            yield Site("constant returned", first, last, "false" if value == "true" else "true")
        elif gives_bool or re.search(r" (?:&&|\|\||==|!=|<=|>=|<|>) |^!", value):
            yield Site("constant returned", first, last, "true")
            yield Site("constant returned", first, last, "false")
        elif not _is_empty(value, enums) and not value.startswith("*this"):
            yield Site("constant returned", first, last, "{}")


def _arguments(code, begin, end):
    for match in re.finditer(r"[\w>]([({])", code[begin:end]):
        opening = begin + match.end() - 1
        before = code[max(0, opening - 20):opening]
        if _NO_CALL.search(before) or _COMMUTATIVE.search(before):
            continue
        if match[1] == "{" and _BLOCK.search(code, max(begin - 1, opening - 120), opening):
            continue
        inside = [trimmed(code, *part)
                  for part in parts(code, opening + 1, closed(code, opening) - 1, ",")]
        whole = code[opening:closed(code, opening)]
        if len(inside) < 2 or "memory_order" in whole or ";" in whole:
            continue
        texts = [code[first:last] for first, last in inside]
        # A comma of a template's arguments is not one of the call.
        if any(re.search(r"\w<", t) and ">" not in t or t.startswith(".") for t in texts):
            continue
        for (first, first_end), (second, second_end) in zip(inside, inside[1:]):
            if code[first:first_end] != code[second:second_end]:
                new = (code[second:second_end] + code[first_end:second] + code[first:first_end])
                yield Site("arguments swapped", first, second_end, new)


def _enumerators(code, begin, end, enums):
    for match in re.finditer(r"\b(\w+)::(\w+)\b", code[begin:end]):
        names = enums.get(match[1], ())
        if match[2] not in names or re.search(r"\bcase [\w:]*$", code[:begin + match.start()]):
            continue
        at = names.index(match[2])
        for other in sorted({names[(at + 1) % len(names)], names[at - 1]} - {match[2]}):
            yield Site("enumerator swapped", begin + match.start(2), begin + match.end(2), other)


def enums_of(texts):
    """The enumerators of each enum class. An enum whose name occurs twice is left out."""
    found = {}
    for text in texts:
        for match in re.finditer(r"\benum class (\w+)[^;{]*\{([^}]*)\}", code_of(text)):
            names = tuple(re.findall(r"(\w+)\s*(?:=[^,]*)?(?:,|$)", match[2].strip()))
            found[match[1]] = None if match[1] in found else names
    return {name: names for name, names in found.items() if names and len(names) > 1}


@dataclass(frozen=True)
class Mutant:
    """One change of a header. The name holds no line, so that it survives changes above it."""
    file: str        # below include/
    name: str
    operator: str
    line: int
    probe: int       # the last probe of its body that runs before it
    constant: bool   # whether its function is constexpr
    text: str        # the changed header


def mutants_of(file, text, enums):
    """Every mutant of the header."""
    code = code_of(text)
    bodies = functions(code)
    seen = {}
    for number, (name, begin, end) in enumerate(bodies):
        # A function in a function (of a local class) has its own turn.
        inner = [(b, e) for _, b, e in bodies[number + 1:] if begin < b and e <= end]
        probes = probes_of(code, begin, end)
        head = re.split(r"[;{}]\s*\n", code[max(0, begin - 400):begin - 1])[-1]
        gives_bool = re.search(rf"\bbool\s+(?:\w+::)?{re.escape(name)}\s*\((?!.*\n\n)[^{{}}]*\{{$",
                               code[max(0, begin - 400):begin]) is not None
        sites = [*_negations(code, begin, end), *_bounds(code, begin, end),
                 *_statement_sites(code, text, begin, end), *_arguments(code, begin, end),
                 *_enumerators(code, begin, end, enums), *_logic(code, begin, end),
                 *_steps(code, begin, end), *_returns(code, begin, end, gives_bool, enums),
                 *_truths(code, begin, end)]
        for site in sites:
            if any(b <= site.begin < e for b, e in inner):
                continue
            old = text[site.begin:site.end]
            new = restored(site, code, text)
            if "memory_order" in new + old and site.operator not in (
                    "statement dropped", "order reversed", "condition negated", "constant returned"):
                continue
            label = f"{name}: {site.operator}: {_short(old)}"
            if site.operator in ("bound off by one", "logic swapped", "step reversed", "truth swapped"):
                label = f"{name}: {site.operator}: {_around(text, site)}"
            elif site.operator not in ("statement dropped", "order reversed"):
                label += f" -> {_short(new)}"
            seen[label] = seen.get(label, 0) + 1
            if seen[label] > 1:
                label += f" ({seen[label]})"
            probe = max(position for position, last, _ in probes if position <= site.begin < last)
            yield Mutant(file, label, site.operator, line_of(text, site.begin), probe,
                         "constexpr" in head or "consteval" in head, text[:site.begin] + new + text[site.end:])


def restored(site, code, text):
    """The new text with the literals that code_of hides. They are in the order of the old text."""
    if "__" not in site.new or site.operator == "order reversed":
        return site.new
    pieces = {}
    for match in re.finditer(r"_{2,}", code[site.begin:site.end]):
        pieces.setdefault(len(match[0]), []).append(
            text[site.begin + match.start():site.begin + match.end()])
    return re.sub(r"_{2,}", lambda m: pieces[len(m[0])].pop(0) if pieces.get(len(m[0])) else m[0],
                  site.new)


def _short(text):
    text = " ".join(re.sub(r"//[^\n]*", "", text).split())
    return text if len(text) <= 90 else text[:87] + "..."


def _around(text, site):
    """The site in its line, between brackets: two equal signs of a function differ by what is around."""
    line = text.rfind("\n", 0, site.begin) + 1
    begin = max(line, site.begin - 30)
    if begin > line:
        begin = text.find(" ", begin, site.begin) + 1 or site.begin
    end = text.find("\n", site.end)
    end = end if end >= 0 else len(text)
    if end > site.end + 30:
        end = max(text.rfind(" ", site.end, site.end + 30), site.end)
    sign = text[site.begin:site.end].strip()
    return " ".join(f"{text[begin:site.begin]}[{sign}]{text[site.end:end]}".split())
