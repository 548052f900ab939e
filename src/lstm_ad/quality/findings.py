"""Find what is wrong with training data before anything is learnt from them.

====================== ============ ===================================================
finding                level        when
====================== ============ ===================================================
clock                  refused      every step of a series is the same and not 0, or it
                                    only rises and lies where times since 1970 do
constant               check        one value in all rows, or too little variation for
                                    the size of the values
constant until later   do not use   one value in the training rows, many others later;
                                    check if these are few
far value              do not use   at most 1 row in 200, at least 10 ranges of all
                                    others from them, where a series varies by itself
                                    (its tenths differ); check from 2 ranges on
sentinel               do not use   the extreme of a part is at least a range of all
                                    others from them and is a known code for a missing
                                    reading, or one exact value that at most a fifth of
                                    the rows have, one or two at a time; check if up to
                                    1 % of the rows have it in a run. It is replaced
                                    wherever something is learnt, if it comes in one or
                                    two rows at a time (known codes: ten, or any number
                                    if they are as far as above)
repeated value         check        one value amid others comes in 1 % to 20 % of the
                                    rows, one or two at a time, the others once each
at its limit           check        1 % to 40 % of the rows have the extreme, in 5 runs
                                    or more of 2 rows on average; other values are
                                    distinct and near; 0, 1 and 100 are no limits
unlike stretch         check        one stretch, at most a third of the rows, lies as
                                    far from all others as these from each other
change                 check        in a training file the level changes by more than
                                    the range of either part, or in the only one up to
                                    two thirds of the rows vary over twice the range
                                    of all others
trend                  check        the level rises (or falls) in each twelfth of the
                                    rows, in all by 1.5 times what 80 % of a twelfth
                                    span
parts differ           check        a state entered 3 times or in 1 % of the rows of
                                    one part is absent from the other, or the levels
                                    of the parts are as far apart as above
other file             check        of 3 files at least, at most a third lie as far
                                    from all others, or vary over twice their range
disordered columns     do not use   of such a file: each odd series lies where exactly
                                    one other does in all other files
unit number            check        constant within each file, but not in all
missing values         check        more than a fifth of the values of a part
label                  check        0 and 1 in a column with the name of a label; or
                                    without names, in the last column alone, with ones
                                    in at most a tenth of the rows, 5 on average, in
                                    one or two runs, or in up to 20 of which one is
                                    over twice as long as another
counter                check        never falls (or never rises), but changes; refused
                                    if it goes on beyond the rows for the LSTM
angle                  check        jumps by nearly its range, which is 360 or 2 pi
overflow               check        likewise, and goes through nearly all integers of
                                    16 or 32 bits, with or without a sign
restarting counter     check        only rises, but for falls of most of its range
stuck                  check        changes in nearly every row, but for one stretch
straight line          check        30 rows or more lie on one line, not level, as
                                    exactly as printed, at most 7 times, none of them
                                    as long and steep as another, and at most
                                    5 % of the others on a line with both neighbours
copied file            check        the values of two files are the same
copied rows            check        2 % of the rows are copies of others, or 2 % of the
                                    validation rows are in the training channel
copied series          check        the values of two series are the same, but for
                                    unit and rounding (1 % of their middle half)
====================== ============ ===================================================

Rare states, one-hot series, long constant stretches, heavy tails, trends and loads that
come and go are normal: each rule compares with what the rest of the series does, and
asks for a distance that these do not have. The distance, one range of the rest, is not
tuned: of the benchmarks' series, half and twice of it find nearly the same.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from lstm_ad.model.scaling import name_series
from lstm_ad.quality import (
    changes,
    codes,
    columns,
    contrasts,
    copies,
    counters,
    files,
    labels,
    outlying,
    straight,
    trends,
)
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Reason

Rule = Callable[[Data], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    columns.find_clocks,
    columns.find_constants,
    outlying.find_far_values,
    codes.find_sentinels,
    codes.find_repeats,
    codes.find_limits,
    outlying.find_unlike_stretches,
    changes.find_changes,
    trends.find_trends,
    contrasts.find_different_parts,
    files.find_other_files,
    columns.find_missing,
    columns.find_unit_numbers,
    labels.find_labels,
    counters.find_counters,
    counters.find_wraps,
    columns.find_stuck,
    straight.find_straight_lines,
    copies.find_copied_files,
    copies.find_copied_rows,
    copies.find_copied_series,
)

_EXPLAIN_ALL = ("clock", "constant", "constant until later")
"""Findings beside which no other one of the same series is worth telling."""

_WRAPS = ("angle", "overflow", "restarting counter")

_EXPLAINED = {
    "change": ("unlike stretch", "parts differ", *_WRAPS),
    "unlike stretch": ("counter", *_WRAPS),
    "copied rows": ("copied file",),
    "parts differ": ("label",),
}
"""Findings that say nothing new beside others of the same series, or files."""

_MAX_SHOWN = 3


def find(data: Data) -> list[Finding]:
    """Return what is wrong with data, the worst first."""
    found = [finding for rule in RULES for finding in rule(data)]
    useless = {s for f in found if f.name in _EXPLAIN_ALL for s in f.series}
    kept = [
        f
        for f in found
        if f.name in _EXPLAIN_ALL
        or not (
            (f.series and useless.issuperset(f.series))
            or any(_explains(other, f) for other in found)
        )
    ]
    return sorted(kept, key=lambda finding: -finding.importance)


def _explains(one: Finding, other: Finding) -> bool:
    """Return whether the other finding says nothing new beside this one.

    A long run of a code is unlike the rest, and the sensor seems stuck.
    """
    is_code_there = one.code is not None and other.code is None
    is_code_there &= (one.file, one.row) == (other.file, other.row)
    is_known = one.name in _EXPLAINED.get(other.name, ()) or is_code_there
    return one.series == other.series and is_known


def reasons(findings: Iterable[Finding], names: Sequence[str] = ()) -> list[Reason]:
    """Return findings as reasons of a verdict: one for each kind, however many.

    Args:
        findings: What is wrong, the worst first.
        names: The names of all series; without any they are counted from 1.
    """
    by_name: dict[str, list[Finding]] = collections.defaultdict(list)
    for finding in findings:
        by_name[finding.name].append(finding)
    result = []
    for some in by_name.values():
        said = " ".join(f.found for f in some[:_MAX_SHOWN])
        if len(some) > _MAX_SHOWN:
            more = {s for f in some[_MAX_SHOWN:] for s in f.series}
            chosen = np.isin(np.arange(max(more, default=0) + 1), list(more))
            likewise = f"{len(some) - _MAX_SHOWN} more"
            said += f" Likewise: {name_series(chosen, names) if more else likewise}."
        result.append(Reason(some[0].level, f"{said} {some[0].harm}", some[0].advice))
    return result
