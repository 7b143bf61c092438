"""How measurements are printed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from machine import Machine
from measure import CHOOSING, Measurement

_HEAD = (
    f"{'row':<32}{'points':>7}{'engine s':>10}{'first s':>9}{'floor s':>9}{'error':>9}"
    f"  {'loop':<8}{'user s':>8}{'ratio':>8}{'range':>13}{'target':>8}  strategy"
)


def print_header(machine: Machine, imports: Mapping[str, float], matrix_rates: Mapping[str, float]) -> None:
    """The machine, the imports and the rates, and the names of the columns."""
    facts = machine.describe()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print("imports, in none of the rows: " + ", ".join(f"{name} {spent:.2f} s" for name, spent in imports.items()))
    rates = ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in matrix_rates.items())
    print(f"matrix product: {rates}; memory {machine.bandwidth() / 1e9:.0f} GB/s")
    print(_HEAD, flush=True)


def print_row(found: Measurement, machine: Machine) -> None:
    """The row, and below it what else there is to say of it."""
    begin = (
        f"{found.name:<32}{found.points:>7,}{statistics.median(found.engine):>10.3g}{found.first:>9.3g}"
        f"{found.floor:>9.3g}{found.error:>9.0e}"
    )
    end = f"  {found.strategy}"
    for allocator, ratios in found.ratios.items():
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        target = f"{found.targets[allocator]:g}" if allocator in found.targets else ""
        loses = "  LOSES" if found.misses(allocator) else ""
        print(
            f"{begin}  {allocator:<8}{statistics.median(found.user[allocator]):>8.3g}{found.ratio[allocator]:>8.2f}"
            f"{spread:>13}{target:>8}{end}{loses}"
        )
        begin, end = " " * len(begin), " " * len(end)
    for note in _notes(found, machine):
        print(f"    {note}")
    print(end="", flush=True)


def print_contest(name: str, spent: Mapping[str, Sequence[float]]) -> str | None:
    """`auto` against the best single strategy; what it loses by: more than a tenth and the time that choosing took."""
    medians = {strategy: statistics.median(seconds) for strategy, seconds in spent.items()}
    auto, choosing = medians.pop("auto"), medians.pop(CHOOSING)
    best = min(medians, key=lambda strategy: medians[strategy])
    ratio = auto / medians[best]
    loses = auto > 1.1 * medians[best] + choosing
    others = ", ".join(f"{strategy} {seconds:.3g} s" for strategy, seconds in medians.items())
    print(
        f"{name:<32}auto {auto:.3g} s, of which {choosing:.2g} s until it has chosen, {ratio:.2f} of the best single "
        f"strategy, {best} ({others})"
        f"{'  LOSES' if loses else ''}",
        flush=True,
    )
    return f"{name}: {ratio:.2f} of the time of {best}, not 1.1 and what choosing took" if loses else None


def print_losers(losers: Sequence[str]) -> None:
    """The end of the table."""
    if not losers:
        print("No row falls short.")
        return
    print("Rows that fall short:")
    for loser in losers:
        print(f"    {loser}")


def _notes(found: Measurement, machine: Machine) -> list[str]:
    notes = []
    if found.timed_points < found.points:
        notes.append(f"user loop timed on {found.timed_points:,} of {found.points:,} points, and scaled")
    if found.user_reduced is not None and found.user_reduced_error is not None:
        notes.append(
            f"user loop in {found.dtype}: {found.user_reduced:.3g} s, {found.user_reduced_error:.0e} off; the ratio to "
            f"it is {found.user_reduced / statistics.median(found.engine):.2f}"
        )
    if found.timings:
        notes.append("tried: " + ", ".join(f"{name} {spent:.3g} s" for name, spent in found.timings.items()))
    if found.reason:
        notes.append(f"given up: {found.reason}")
    if found.bytes_moved is not None:
        engine = statistics.median(found.engine)
        notes.append(
            f"{found.floor / engine:.0%} of the rate of matrix products, "
            f"{found.bytes_moved / engine / machine.bandwidth():.0%} of the memory bandwidth (fused layers)"
        )
    return notes
