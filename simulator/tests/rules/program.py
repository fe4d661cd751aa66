"""Reads the text of a program (`scnnc disasm`): tables, layers, instructions, machine.

Only the form of the text is known here: `.kind name value`, where a value is a map, a list, a name, a number, a span
`a..b`, uniform cuts `a..b by step in parts` or extents `1x3x8x8`.
"""

import json
import re
from dataclasses import dataclass, field

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,=]|[^\s{}\[\]:,=";]+|;[^\n]*|\n')


@dataclass
class Program:
    """What the text declares, by name, and its instructions in order as (mnemonic, operands)."""

    inputs: list
    outputs: list
    value: dict = field(default_factory=dict)
    tensor: dict = field(default_factory=dict)
    region: dict = field(default_factory=dict)
    segment: dict = field(default_factory=dict)
    layer: dict = field(default_factory=dict)
    code: list = field(default_factory=list)
    machine: dict = field(default_factory=dict)

    def operations(self) -> list:
        """Layers and host segments in the order of execution: (kind, name, instructions)."""
        operations = []
        for mnemonic, operands in self.code:
            if mnemonic == "cfg":
                operations.append(("layer", operands["layer"], []))
            elif mnemonic == "hst":
                operations.append(("segment", operands["segment"], []))
            elif mnemonic != "end":
                operations[-1][2].append((mnemonic, operands))
        return operations


def read(text: str) -> Program:
    """The program of a text."""
    head, _, rest = text.partition("\n.code\n")
    code, _, rest = rest.partition("\n.machine\n")
    program = Program([], [])
    tokens = Tokens(head)
    while (token := tokens.take()) is not None:
        if token == "\n":
            continue
        kind = token.lstrip(".")
        if kind in ("inputs", "outputs"):
            setattr(program, kind, tokens.value())
        elif kind == "provenance":
            tokens.value()
        else:
            name = plain(tokens.take())
            body = tokens.value()
            if kind != "section":
                getattr(program, kind)[name] = body
    program.code = list(instructions(code))
    program.machine = machine(rest.split("\n; What the sections")[0])
    return program


def instructions(code: str):
    """(mnemonic, operands) of each line."""
    for line in code.splitlines():
        if not line.startswith("  "):
            continue
        tokens = Tokens(line)
        mnemonic, operands = tokens.take(), {}
        while (name := tokens.take()) is not None:
            tokens.take()
            operands[name] = tokens.value()
        yield mnemonic, operands


def machine(text: str) -> dict:
    """The machine's parameters: two or three levels of `key: value` by indentation."""
    root: dict = {}
    levels = [(-1, root)]
    for line in text.splitlines():
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        key, _, value = line.strip().partition(":")
        while levels[-1][0] >= indent:
            levels.pop()
        if value.strip():
            levels[-1][1][key] = scalar(value.strip())
        else:
            levels[-1][1][key] = {}
            levels.append((indent, levels[-1][1][key]))
    return root


def scalar(text: str):
    """A number, a truth value or a word of YAML."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text.strip("'\"")


def plain(token: str) -> str:
    """A name without its quotes."""
    return json.loads(token) if token.startswith('"') else token


class Tokens:
    """Tokens of a text, comments left out."""

    def __init__(self, text: str):
        self.rest = [token for token in TOKEN.findall(text) if not token.startswith(";")]
        self.at = 0

    def peek(self):
        return self.rest[self.at] if self.at < len(self.rest) else None

    def take(self):
        token = self.peek()
        self.at += 1
        return token

    def value(self):
        """A value: what stands for spans, cuts and extents becomes a list of numbers."""
        token = self.take()
        if token == "{":
            return self.map()
        if token == "[":
            return self.list()
        if token.startswith('"'):
            return plain(token)
        if token[0] in "0123456789-+":
            return self.number(token)
        return {"none": None, "true": True, "false": False}.get(token, token)

    def map(self) -> dict:
        fields = {}
        while (token := self.take()) != "}":
            if token not in ("\n", ","):
                self.take()
                fields[token] = self.value()
        return fields

    def list(self) -> list:
        items = []
        while self.peek() != "]":
            if self.peek() in ("\n", ","):
                self.take()
                continue
            spans = ".." in self.peek()
            item = self.value()
            # In a list, cuts stand for the spans between them.
            items += [list(pair) for pair in zip(item, item[1:])] if spans else [item]
        self.take()
        return items

    def number(self, token: str):
        if ".." not in token:
            if re.fullmatch(r"\d+(x\d+)+", token):
                return [int(extent) for extent in token.split("x")]
            return scalar(token)
        begin, end = map(int, token.split(".."))
        if self.peek() != "by":
            return [begin, end]
        self.take()
        step = int(self.take())
        parts = -(-(end - begin) // step)
        if self.peek() == "in":
            self.take()
            parts = int(self.take())
        return [min(begin + part * step, end) for part in range(parts + 1)]
