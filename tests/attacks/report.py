"""Attack the service in every way, and print a table: ``python tests/attacks/report.py``."""

import argparse
import os
import platform
import sys
from pathlib import Path

import attacks
import harness

BEGIN, END = "<!-- attacks -->\n", "<!-- end of attacks -->"
# What is promised, on two cores: p99 of good clients in milliseconds, memory in MB, and no more.
PROMISED = {"/healthz": 50, "28x28": 50, "photo": 300, "peak": 600}
HEAD = (
    "| attack | tried | refused or ended | good answers | lost or wrong | /healthz | 28x28 | photo "
    "| MB, peak | overdue | survived |\n" + "| --- " * 11 + "|\n"
)


def broken(row, bounds):
    """Return which promises an attack broke: names of the table's columns."""
    measured = {kind: p99 for kind, (_, p99) in row["milliseconds"].items()}
    measured |= {name: row[name] for name in ("peak", "lost", "wrong", "overdue", "tracebacks")}
    found = [name for name, value in measured.items() if value > bounds.get(name, 0)]
    return found if row["ended"] else [*found, "ended"]


def line(row):
    """Return a row of the table."""
    answers = row["answers"]
    refused = sum(n for what, n in answers.items() if what not in ("tried", "200"))
    times = (f"{p50:.0f} / {p99:.0f}" for p50, p99 in row["milliseconds"].values())
    found = ", ".join(broken(row, PROMISED))
    memory = f"{row['memory']:.0f}, {row['peak']:.0f}"
    cells = [
        row["attack"], f"{answers.get('tried', 0):,}", f"{refused:,}", f"{row['good']:,}",
        row["lost"] + row["wrong"], *times, memory, row["overdue"],
        f"no: {found}" if found else "yes",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |\n"


def written(path, table):
    """Put a table between the marks of a document."""
    text = path.read_text(encoding="utf-8")
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        sys.exit(f"{path} lacks the marks {BEGIN.strip()} and {END.strip()}: put them back.")
    path.write_text(before + begun + table + ended + after, encoding="utf-8")


def main():
    """Attack, print, and write the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="of each attack")
    parser.add_argument("--deadline", type=float, default=5, help="of a request to arrive")
    parser.add_argument("--only", choices=attacks.ATTACKS, help="this attack alone")
    parser.add_argument("--write", type=Path, metavar="FILE", help="where the table stands")
    given = parser.parse_args()
    print(HEAD, end="")
    lines = []
    for name in [given.only] if given.only else attacks.ATTACKS:
        row = harness.measure(name, seconds=given.seconds, deadline=given.deadline)
        lines.append(line(row))
        print(lines[-1], end="", flush=True)
    if given.write:
        note = (
            f"\n{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}; "
            f"{given.seconds:g} seconds each, --max-seconds {given.deadline:g}; p50 / p99 in ms.\n"
        )
        written(given.write, HEAD + "".join(lines) + note)


if __name__ == "__main__":
    main()
