"""Make the sample data: ``python scripts/make_data.py [FOLDER]``, by default ``data``.

One story: a circulating pump, read once a minute for ten days and ten hours. The first
series is its discharge pressure in bar, the second its motor current in amperes. The
pump's valve goes through a duty cycle of 40 minutes, on top of a demand that rises and
falls over 10 hours; the current follows the pressure 5 minutes late, with its own
offset and amplitude. Neither cycle keeps perfect time, and both readings are noisy.

The record is cut in time: 10 000 rows to train on, 2 500 to validate and 2 500 to test.
The test rows hold five faults. None of them leaves the range of the training values, so
no threshold on a value can see one: what gives them away is that the pump does not go
on as it began.

The same pump as a historian would export it is under ``historian``: with the time and
the pump's name in front, names on top, cells that are missing, rows that are, and an
hour in which the pump was switched off.

Everything follows from one seed: the same bytes each time.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SEED = 5
"""One of those with which no fault leaves the range of the training values."""
N_TRAIN, N_VALID, N_TEST = 10_000, 2_500, 2_500

DUTY_CYCLE, DEMAND_CYCLE = 40.0, 600.0
"""The periods of the two cycles, in rows."""
DUTY_WANDER, DEMAND_WANDER = 0.004, 0.001
"""How far a cycle's phase strays from one row to the next, in radians."""

LAG = 5.0
"""How many rows the current is behind the pressure."""
OFFSET = np.array([6.0, 40.0])
"""The middle of each series, in bar and in amperes."""
DUTY = np.array([1.0, 6.0])
DEMAND = np.array([1.1, 8.5])
"""How far each cycle moves each series, in the same units."""
NOISE = np.array([0.12, 0.8])
"""The standard deviation of each series' noise, in the same units."""

DECIMALS = 3
"""What the instruments show. Coarse enough to hide the last bits of a sine, in which
processors differ."""


N_EXPORTED = 6000
"""The last training rows that the historian exports; of the other files, all."""
HISTORIAN = {
    "training/pump.csv": "training/train.csv",
    "validation/pump.csv": "training/valid.csv",
    "inference/pump.csv": "inference/input/test_data.csv",
}
"""The files that it exports, and the ones that have the same readings."""
BEGIN = np.datetime64("2026-03-02T00:00", "m")
"""When the record begins."""
MISSING = 0.02
"""The fraction of readings that the historian has not."""
ABSENT = range(1700, 1725)
"""Rows of each file that were never written."""
OFF = slice(500, 560)
"""Rows of each file in which the pump was switched off."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What a stretch of the pump's life is made of, of ``T`` rows."""

    duty: FloatArray
    """The phase of the duty cycle, in radians, of shape ``(T, 2)``: one per series."""
    demand: FloatArray
    """The phase of the demand, likewise."""
    noise: FloatArray
    """Of shape ``(T, 2)``, in standard deviations."""

    def clean(self) -> FloatArray:
        """Return the readings without noise, of shape ``(T, 2)``."""
        # Two harmonics: the valve opens faster than it closes.
        duty = np.sin(self.duty) + 0.25 * np.sin(2 * self.duty + 0.6)
        readings: FloatArray = OFFSET + DUTY * duty + DEMAND * np.sin(self.demand)
        return readings

    def readings(self) -> FloatArray:
        """Return what the instruments show, of shape ``(T, 2)``."""
        readings: FloatArray = np.round(self.clean() + NOISE * self.noise, DECIMALS)
        return readings

    def rows(self, rows: slice) -> "Record":
        """Return the record of some of the rows."""
        return Record(self.duty[rows], self.demand[rows], self.noise[rows])


def record(n_rows: int, random: np.random.Generator) -> Record:
    """Return ``n_rows`` of a healthy pump."""
    duty = _phase(n_rows, DUTY_CYCLE, DUTY_WANDER, random)
    demand = _phase(n_rows, DEMAND_CYCLE, DEMAND_WANDER, random)
    return Record(
        duty=_lagged(duty, DUTY_CYCLE),
        demand=_lagged(demand, DEMAND_CYCLE),
        noise=random.standard_normal((n_rows, 2)),
    )


def _phase(
    n_rows: int, period: float, wander: float, random: np.random.Generator
) -> FloatArray:
    """Return the phase of a cycle that does not keep perfect time, in radians."""
    steps = 2 * np.pi / period + wander * random.standard_normal(n_rows)
    return np.cumsum(steps)


def _lagged(phase: FloatArray, period: float) -> FloatArray:
    """Return the phase of the pressure and, behind it, of the current."""
    return np.column_stack([phase, phase - 2 * np.pi * LAG / period])


def phase_slip(normal: Record) -> FloatArray:
    """The duty cycle of both series is half a turn late."""
    return dataclasses.replace(normal, duty=normal.duty - np.pi).readings()


def flat_stretch(normal: Record) -> FloatArray:
    """Both instruments hang: they repeat one reading."""
    readings = normal.readings()
    return np.repeat(readings[:1], len(readings), axis=0)


def parting_company(normal: Record) -> FloatArray:
    """The current falls while the pressure rises, and rises while it falls."""
    opposed = normal.duty + np.array([0.0, np.pi])
    return dataclasses.replace(normal, duty=opposed).readings()


def change_of_noise(normal: Record) -> FloatArray:
    """A loose contact: each reading is four standard deviations further off."""
    louder = normal.noise + 4 * np.sign(normal.noise)
    return dataclasses.replace(normal, noise=louder).readings()


def modest_spike(normal: Record) -> FloatArray:
    """Both readings jump, in the trough of the cycle, about as high as its crest."""
    jump = np.array([0.6, 1.0, 0.6])[:, None] * 1.5 * DUTY
    readings: FloatArray = np.round(normal.readings() + jump, DECIMALS)
    return readings


FAULTS: list[tuple[slice, Callable[[Record], FloatArray]]] = [
    (slice(355, 391), phase_slip),
    (slice(812, 846), flat_stretch),
    (slice(1208, 1246), parting_company),
    (slice(1543, 1603), change_of_noise),
    (slice(2204, 2207), modest_spike),
]
"""The rows of the test series that are labelled, and what befalls the pump there."""


def make() -> dict[str, FloatArray]:
    """Return the table of each file by its name under the data folder."""
    random = np.random.default_rng(SEED)
    whole = record(N_TRAIN + N_VALID + N_TEST, random)
    test = whole.rows(slice(N_TRAIN + N_VALID, None))
    readings, labels = test.readings(), np.zeros((N_TEST, 1))
    for rows, fault in FAULTS:
        readings[rows] = fault(test.rows(rows))
        labels[rows] = 1
    return {
        "training/train.csv": whole.rows(slice(N_TRAIN)).readings(),
        "training/valid.csv": whole.rows(slice(N_TRAIN, N_TRAIN + N_VALID)).readings(),
        "inference/input/test_data.csv": readings,
        "inference/output/test_labels.csv": labels,
    }


def exported(readings: FloatArray, first_row: int) -> bytes:
    """Return readings as a historian's export, row by row, with its usual holes.

    Args:
        readings: Of shape ``(T, 2)``.
        first_row: The number of minutes from ``BEGIN`` to the first of them.
    """
    random = np.random.default_rng(SEED + first_row)
    kept = readings.copy()
    resting = np.abs(random.normal(0.0, 0.01, size=kept[OFF].shape))
    kept[OFF] = resting + np.array([2.1, 0.0])
    is_missing = random.random(kept.shape) < MISSING
    begin = BEGIN + np.timedelta64(first_row, "m")
    times = begin + np.arange(len(kept)) * np.timedelta64(1, "m")
    lines = ["time,pump,pressure,current"]
    for row, (values, missing) in enumerate(zip(kept, is_missing, strict=True)):
        if row in ABSENT:
            continue
        cells = [
            "" if is_empty else f"{value:.{DECIMALS}f}"
            for value, is_empty in zip(values, missing, strict=True)
        ]
        lines.append(",".join([f"{times[row]}:00Z", "P-7", *cells]))
    return "".join(f"{line}\n" for line in lines).encode()


def write(folder: Path) -> None:
    """Write the files of :func:`make` under a folder."""
    tables, first_row = make(), N_TRAIN - N_EXPORTED
    for name, source in HISTORIAN.items():
        path = folder / "historian" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        readings = tables[source][-N_EXPORTED:]
        path.write_bytes(exported(readings, first_row))
        first_row += len(readings)
    for name, table in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # The labels, which are whole numbers, are written as such.
        cell = "%d" if name.endswith("labels.csv") else f"%.{DECIMALS}f"
        # In binary: line ends are LF on every system.
        with path.open("wb") as file:
            np.savetxt(file, table, fmt=cell, delimiter=",")


def main() -> None:
    """Write the files where the command line says."""
    parser = argparse.ArgumentParser(description="Make the sample data.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data"))
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
