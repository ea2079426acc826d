"""Reads YAML 1.2 into a tree that knows where everything stands, and refuses what would be read as something else.

Built on PyYAML's event stream (libyaml's, if there), whose own resolver reads YAML 1.1: there `1e-4` is a string, `010` is
8, `no` is False, and the last of two equal keys wins silently. None of that can happen here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Iterator

import yaml

from compiler.diagnostics import Problem, Source, Span

LARGEST = 1 << 20
DEEPEST = 48
MOST_NODES = 50_000

_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL, _HEX = re.compile(r"0o[0-7]+"), re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {word: True for word in ("true", "True", "TRUE")} | {word: False for word in ("false", "False", "FALSE")}
_WORDS |= {sign + word: float(sign + "inf") for sign in ("", "-", "+") for word in (".inf", ".Inf", ".INF")}
_WORDS |= {word: float("nan") for word in (".nan", ".NaN", ".NAN")}
_TAG = "tag:yaml.org,2002:"
_LOADER = getattr(yaml, "CLoader", yaml.Loader)


@dataclass(slots=True, eq=False)
class Node:
    """A value and its place. `value`: dict of Node, list of Node, or a scalar; `keys`: where each key of a map stands."""

    kind: str  # map | list | scalar
    value: Any
    span: Span
    keys: dict[str, Span] = field(default_factory=dict)
    plain: bool = True  # a scalar without quotes
    text: str = ""  # a scalar as written

    def plain_value(self) -> Any:
        """The tree without places: dicts, lists and scalars."""
        if self.kind == "map":
            return {key: node.plain_value() for key, node in self.value.items()}
        return [node.plain_value() for node in self.value] if self.kind == "list" else self.value


class YamlError(Exception):
    """The text is not a YAML 1.2 document that can be read; `problems` says where and why."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(problem.render() for problem in problems))


def resolve_scalar(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2 (chapter 10.3.2): null, bool, int, float, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text) if len(text) < 400 else float(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text) and len(text) < 400:
        return int(text[2:], 16)
    return text


def decode(data: bytes, name: str) -> Source:
    """Bytes to text. Raises YamlError for more than 1 MiB, a byte order mark, or bytes that are not UTF-8."""
    def refuse(id: str, message: str, hint: str, line: int = 1, column: int = 1) -> YamlError:
        return YamlError([Problem(id, "error", name, line, column, message, hint)])

    if len(data) > LARGEST:
        raise refuse("TOO_LARGE", f"the file has {len(data)} bytes; a study has at most {LARGEST}", "is this the right file?")
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise refuse("BYTE_ORDER_MARK", "the file begins with a byte order mark", "save it as UTF-8 without a byte order mark")
    try:
        return Source(name, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise refuse("NOT_UTF8", f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8", line, column) from None


def read(source: Source) -> tuple[Node, list[Problem]]:
    """The tree of the one document of a source, and what is wrong with it that does not stop the reading.

    Raises YamlError where reading cannot go on: syntax, nesting, aliases without end, more than one document.
    """
    for number, line in enumerate(source.text.split("\n"), 1):
        blank = line[: len(line) - len(line.lstrip(" \t"))]
        if "\t" in blank and line.strip() and not line.lstrip().startswith("#"):
            column = blank.index("\t") + 1
            span = Span(source, number, column, number, column + 1)
            raise YamlError([Problem.at(span, "TAB", "a tab stands in the indentation", "YAML indents with spaces only")])
    try:
        return _Builder(source).build(yaml.parse(source.text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = error.problem or "cannot be read"
        context = f" ({error.context})" if error.context else ""
        span = Span(source, line, column, line, column + 1)
        raise YamlError([Problem.at(span, "YAML_SYNTAX", f"this is not YAML: {words}{context}")]) from None
    except yaml.reader.ReaderError as error:
        before = source.text[: error.position] if isinstance(error.position, int) else ""
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        span = Span(source, line, column, line, column + 1)
        raise YamlError([Problem.at(span, "YAML_SYNTAX", f"a character is not allowed in YAML: {error.reason}")]) from None


class _Builder:
    """Builds the tree from parser events, without recursion, so that no input can exhaust the stack."""

    def __init__(self, source: Source):
        self.source = source
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.sizes: dict[int, tuple[int, int]] = {}  # of anchored nodes: nodes and depth, aliases followed
        self.open_anchors: set[str] = set()
        self.nodes = 0

    def span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        return Span(self.source, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def stop(self, event: Any, id: str, message: str, hint: str = "") -> YamlError:
        return YamlError([*self.problems, Problem.at(self.span(event), id, message, hint)])

    def grow(self, event: Any, by: int) -> None:
        self.nodes += by
        if self.nodes > MOST_NODES:
            raise self.stop(event, "TOO_MANY_NODES", f"with its aliases followed, the file holds more than {MOST_NODES} values", "write less, or fewer aliases")

    def build(self, events: Iterator[Any]) -> tuple[Node, list[Problem]]:
        root: Node | None = None
        documents = 0
        stack: list[tuple[Node, list[Node], str | None, int]] = []  # node, children, anchor, nodes before it
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.stop(event, "SECOND_DOCUMENT", "a second document begins here", "a study is one document: remove '---'")
                continue
            if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                node, children, anchor, before = stack.pop()
                end = event.end_mark
                node.span = Span(self.source, node.span.line, node.span.column, end.line + 1, end.column + 1)
                self.close(node, children)
                if anchor:
                    self.open_anchors.discard(anchor)
                    self.anchors[anchor] = node
                    self.sizes[id(node)] = (self.nodes - before, 0)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                if len(stack) >= DEEPEST:
                    raise self.stop(event, "TOO_DEEP", f"values are nested deeper than {DEEPEST} levels", "a study needs fewer than ten")
                self.check_tag(event, "map" if isinstance(event, yaml.MappingStartEvent) else "seq")
                before = self.nodes
                self.grow(event, 1)
                if event.anchor:
                    self.open_anchors.add(event.anchor)
                kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
                stack.append((Node(kind, None, self.span(event)), [], event.anchor, before))
                continue
            elif isinstance(event, yaml.ScalarEvent):
                self.grow(event, 1)
                node = self.scalar(event)
                if event.anchor:
                    self.anchors[event.anchor] = node
            elif isinstance(event, yaml.AliasEvent):
                node = self.alias(event)
            else:
                continue
            if stack:
                stack[-1][1].append(node)
            else:
                root = node
        if root is None:
            raise YamlError([Problem.at(Span(self.source, 1, 1, 1, 2), "EMPTY", "the file is empty", "`tunelaw new` writes a study to start from")])
        return root, self.problems

    def alias(self, event: Any) -> Node:
        if event.anchor in self.open_anchors:
            raise self.stop(event, "ENDLESS_ALIAS", f"the alias *{event.anchor} stands inside what it names")
        if event.anchor not in self.anchors:
            raise self.stop(event, "UNKNOWN_ALIAS", f"no anchor &{event.anchor} stands before this alias")
        node = self.anchors[event.anchor]
        self.grow(event, self.sizes.get(id(node), (1, 0))[0])
        # The same content at a place of its own: a problem in it is shown where the alias stands.
        return Node(node.kind, node.value, self.span(event), node.keys, node.plain, node.text)

    def check_tag(self, event: Any, word: str) -> None:
        if event.tag and event.tag != "!" and event.tag != _TAG + word:
            self.problems.append(Problem.at(self.span(event), "UNKNOWN_TAG", f"the tag {event.tag.replace(_TAG, '!!')} is not known here", "a study is written without tags"))

    def scalar(self, event: Any) -> Node:
        plain, text = event.implicit[0], event.value
        value = resolve_scalar(text) if plain else text
        if event.tag and not plain and event.tag != "!":
            resolved = resolve_scalar(text)
            kinds = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None)}
            expected = kinds.get(event.tag.removeprefix(_TAG)) if event.tag.startswith(_TAG) else None
            if expected is str:
                value = text
            elif expected is not None and type(resolved) is expected:
                value = resolved
            else:
                value = resolved
                self.problems.append(Problem.at(self.span(event), "UNKNOWN_TAG", f"the tag {event.tag.replace(_TAG, '!!')} cannot be read here", "a study is written without tags"))
        return Node("scalar", value, self.span(event), plain=plain, text=text)

    def close(self, node: Node, children: list[Node]) -> None:
        if node.kind == "list":
            node.value = children
            return
        node.value = {}
        for key, value in zip(children[::2], children[1::2]):
            if key.kind != "scalar" or type(key.value) is not str:
                shown = key.text if key.kind == "scalar" else f"a {key.kind}"
                hint = f'write "{key.text}"' if key.kind == "scalar" and key.text else "keys are words"
                self.problems.append(Problem.at(key.span, "KEY_NOT_TEXT", f"the key {shown} is not text", hint))
                if key.kind == "scalar":  # as the text that was meant, so that nothing else complains of its absence
                    node.value[key.text], node.keys[key.text] = value, key.span
            elif key.value in node.keys:
                first = node.keys[key.value]
                self.problems.append(Problem.at(key.span, "DUPLICATE_KEY", f"the key {key.value!r} stands twice", f"it stands first in line {first.line}"))
            else:
                node.value[key.value] = value
                node.keys[key.value] = key.span
