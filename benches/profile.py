"""What callgrind has counted, for profile.sh: `profile.py DIR NAME REQUESTS`.

Reads the dumps with the triggers `NAME.1` (REQUESTS requests) and `NAME.2` (twice as many) in DIR, of the thread with
the most instructions, prints the instructions per request, and writes the costliest functions, with and without what
they call, and lines, as instructions per request, to `DIR/NAME.txt`.
"""

import collections
import os
import re
import sys

POSITION = re.compile(r"[0-9+*-]")
NAME = re.compile(r"\((\d+)\)(?: (.*))?$")


class Dump:
    """One thread's counts of one dump."""

    def __init__(self, path):
        self.trigger = None
        self.own = collections.Counter()
        self.edges = collections.Counter()
        self.lines = collections.Counter()
        self.names = {"fn": {}, "fl": {}}
        with open(path, errors="replace") as file:
            self.read(file)
        self.total = sum(self.own.values())

    def name(self, kind, text):
        number, name = NAME.match(text).groups()
        if name is not None:
            self.names[kind][number] = name
        return self.names[kind].get(number, number)

    def read(self, file):
        function = place = callee = None
        line = 0
        is_call = False
        for text in file:
            text = text.rstrip("\n")
            key, _, value = text.partition("=")
            if text.startswith("desc: Trigger:"):
                self.trigger = text.split()[-1]
            elif key == "fn":
                function = self.name("fn", value)
            elif key in ("fl", "fi", "fe"):
                place = self.name("fl", value)
            elif key == "cfn":
                callee = self.name("fn", value)
            elif key in ("cfi", "cfl"):
                self.name("fl", value)
            elif key == "calls":
                is_call = True
            elif POSITION.match(text):
                words = text.split()
                line = moved(line, words[0])
                count = int(words[1])
                if is_call:
                    self.edges[function, callee] += count
                else:
                    self.own[function] += count
                    self.lines[place, line] += count
                is_call = False

    def minus(self, other):
        for mine, theirs in ((self.own, other.own), (self.edges, other.edges), (self.lines, other.lines)):
            mine.subtract(theirs)
        self.total -= other.total


def moved(line, word):
    """Positions may be relative to the one before."""
    if word == "*":
        return line
    return line + int(word) if word[0] in "+-" else int(word)


def short(path):
    return re.sub(r".*/(?:src/index\.[^/]*/|library/)", "", path)


def report(dump, requests, out):
    whole = collections.Counter(dump.own)
    for (caller, callee), count in dump.edges.items():
        if caller != callee:
            whole[caller] += count
    out.write(f"{dump.total / requests:.0f} instructions per request\n\nown, with callees, function\n")
    for function, count in dump.own.most_common(60):
        out.write(f"{count / requests:8.1f} {whole[function] / requests:8.1f}  {function}\n")
    out.write("\nown, line\n")
    for (place, line), count in dump.lines.most_common(60):
        out.write(f"{count / requests:8.1f}  {short(place or '?')}:{line}\n")


def main():
    folder, name, requests = sys.argv[1], sys.argv[2], int(sys.argv[3])
    largest = {}
    for entry in os.listdir(folder):
        if not entry.startswith("callgrind."):
            continue
        path = os.path.join(folder, entry)
        if os.path.getsize(path) == 0:
            continue
        with open(path, errors="replace") as file:
            head = file.read(2000)
        if f"{name}." not in head:
            continue
        dump = Dump(path)
        if dump.trigger and (dump.trigger not in largest or largest[dump.trigger].total < dump.total):
            largest[dump.trigger] = dump
    once, twice = largest[f"{name}.1"], largest[f"{name}.2"]
    twice.minus(once)
    with open(os.path.join(folder, f"{name}.txt"), "w") as out:
        report(twice, requests, out)
    print(round(twice.total / requests))


main()
