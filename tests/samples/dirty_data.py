"""Dirty and clean training data: two sines, and what is wrong with them.

What one model is fitted to, or one description made of, is small: 2000 rows.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.data.schema import Schema
from lstm_ad.quality.data_parts import Data, Source
from lstm_ad.quality.reasons import Level

N = 2000
T = np.arange(N)


def clean(n: int = N, seed: int = 0) -> FloatArray:
    """Return two noisy sines, around 0 and around 50."""
    phase = 2 * np.pi * np.arange(n) / 20
    x = np.column_stack([3 * np.sin(phase), 50 + 7 * np.sin(phase)])
    return x + np.random.default_rng(seed).normal(scale=0.2, size=x.shape)


def changed(
    rows: slice | list[int], series: int, value: float | FloatArray, n: int = N
) -> FloatArray:
    """Return these with some cells changed."""
    x = clean(n)
    x[rows, series] = value
    return x


def beside(column: npt.ArrayLike) -> FloatArray:
    """Return these with one more series."""
    column = np.asarray(column, dtype=np.float64)
    return np.column_stack([clean(len(column)), column])


def switch(*stretches: range) -> FloatArray:
    """Return a series that is 1 in some stretches of rows, and else 0."""
    column = np.zeros(N)
    for rows in stretches:
        column[rows] = 1
    return column


def resting(row: int) -> FloatArray:
    """Return these beside a pump that rests for 16 rows of 20, with a broken cell."""
    column = np.where(T % 20 < 16, 0, 4 + noise(0.1))
    column[row] = -9999
    return beside(column)


def noise(scale: float = 1.0, seed: int = 5) -> FloatArray:
    """Return Gaussian noise."""
    return np.random.default_rng(seed).normal(scale=scale, size=N)


@dataclasses.dataclass(frozen=True)
class Dirty:
    """Dirty data, and what must be said of them."""

    name: str
    """The finding."""
    series: int | None
    """The series, from 0; None for whole files."""
    row: int | None
    """The row, from 1; None if there is no single one."""
    training: FloatArray | Mapping[str, FloatArray]
    """The training files; an array is ``train.csv``."""
    validation: FloatArray | None = None
    """The validation file."""
    level: Level = Level.CHECK
    """The level of the finding."""
    margin: int = 0
    """How far from the row another one may be named."""
    is_refused: bool = False
    """Whether no model can be made of it."""
    first_sine: int = 0
    """The column of the first of the two sines."""

    @property
    def files(self) -> Mapping[str, FloatArray]:
        """The training files by their names."""
        if isinstance(self.training, np.ndarray):
            return {"train.csv": self.training}
        return self.training


def described(dirty: Dirty, schema: Schema | None = None) -> Data:
    """Return the description of dirty data, cut as by default."""

    def source(name: str, x: FloatArray) -> Source:
        """Return a file to describe."""
        return Source(name, x, hashlib.sha256(x.tobytes()).hexdigest())

    files = dirty.files
    training = [source(name, x) for name, x in files.items()]
    validation = dirty.validation
    return Data.of(
        training,
        [round(0.8 * len(x)) for x in files.values()],
        [] if validation is None else [source("valid.csv", validation)],
        schema,
    )


def far(series: int, row: int, x: FloatArray) -> Dirty:
    """Return data with an absurd value."""
    return Dirty("far value", series, row, x)


def code(series: int, row: int, x: FloatArray) -> Dirty:
    """Return data with a code for a missing reading in many rows."""
    return Dirty("sentinel", series, row, x)


def five(change: Callable[[FloatArray], FloatArray]) -> Mapping[str, FloatArray]:
    """Return five files, of which the fourth is changed."""
    files = {f"{k}.csv": clean(500, k) for k in range(5)}
    return files | {"3.csv": change(files["3.csv"])}


def clock(series: int, x: FloatArray) -> Dirty:
    """Return data with a column that is refused."""
    return Dirty("clock", series, None, x, level=Level.DO_NOT_USE, is_refused=True)


POSITIVE = np.abs(50 + 7 * np.sin(T / 3)) + noise(0.2)
HUNDRED = np.sort(np.random.default_rng(1).choice(N, 100, replace=False)).tolist()
THREE = np.isin(T, [*range(300, 340), *range(700, 780), *range(1200, 1260)])
LINE = np.linspace(50, 55, 200)
FAHRENHEIT = clean()[:, 1] * 1.8 + 32
NOISY = clean()[:, 1] + noise(15)
START_UP = clean()
START_UP[:100] += 60 * np.exp(-np.arange(100) / 40)[:, np.newaxis] + 20
OTHER_UNIT = clean()
OTHER_UNIT[:600] /= 100

DIRTY = {
    "one cell of -9999": far(0, 701, changed([700], 0, -9999)),
    "-9999 in the calibration part": far(0, 1901, changed([1900], 0, -9999)),
    "-9999 in a pump that mostly rests": far(2, 1901, resting(1900)),
    "three cells of -200": far(1, 101, changed([100, 500, 900], 1, -200)),
    "0 among 50s": Dirty("far value", 1, 301, changed([300], 1, 0)),
    "0 in nine rows of 50s": Dirty(
        "far value", 1, 101, changed(list(range(100, 1800, 200)), 1, 0)
    ),
    "3.4e38": far(0, 1201, changed([1200], 0, 3.4e38)),
    "a run of 65535": far(1, 41, changed(slice(40, 44), 1, 65535)),
    "1e20 in the last row": far(0, N, changed([N - 1], 0, 1e20)),
    "a short run of 999": far(0, 601, changed(slice(600, 606), 0, 999)),
    "-9999 in the validation data": Dirty(
        "far value", 0, 78, clean(seed=1), changed([77], 0, -9999)
    ),
    "-200 in every twentieth row": code(0, 8, changed(slice(7, None, 20), 0, -200)),
    "999.99 in every thirteenth row": code(
        0, 6, changed(slice(5, None, 13), 0, 999.99)
    ),
    "-1 in every twentieth row of a positive series": code(
        2, 4, beside(np.where(T % 20 == 3, -1, POSITIVE))
    ),
    "0 in a hundred rows of 50s": code(1, 39, changed(HUNDRED, 1, 0)),
    "-999 behind -9999": code(
        1, 39, changed(HUNDRED, 1, np.where(np.arange(100) % 2, -999, -9999))
    ),
    "-9999 in three hundred rows": code(1, 701, changed(slice(700, 1000), 1, -9999)),
    "0 in a hundred rows around 0": Dirty(
        "repeated value", 0, 39, changed(HUNDRED, 0, 0)
    ),
    "a run of ten of -1": Dirty(
        "sentinel", 2, 501, beside(np.where((T >= 500) & (T < 510), -1, POSITIVE))
    ),
    "a sensor at its limit": Dirty(
        "at its limit", 2, 3, beside(np.minimum(POSITIVE, 53))
    ),
    "a start-up": Dirty("unlike stretch", 0, 1, START_UP),
    "drift in the last 13 %": Dirty(
        "unlike stretch",
        1,
        1741,
        changed(slice(1740, N), 1, noise()[:260] + 90),
        margin=40,
    ),
    "another unit in the first 30 %": Dirty("unlike stretch", 1, 1, OTHER_UNIT),
    "a fault inside": Dirty(
        "unlike stretch",
        1,
        801,
        changed(slice(800, 900), 1, noise()[:100] + 120),
        margin=40,
    ),
    "a gain of 3 from the middle on": Dirty(
        "change", 0, 1001, np.where(T[:, np.newaxis] < 1000, clean(), clean() * [3, 1])
    ),
    "degrees Fahrenheit from the middle on": Dirty(
        "change", 1, 1001, changed(slice(1000, N), 1, FAHRENHEIT[1000:])
    ),
    "a slow drift": Dirty("trend", 2, None, beside(T * 0.01 + noise())),
    "noise in one part": Dirty(
        "change", 1, 801, changed(slice(800, 1000), 1, NOISY[800:1000]), margin=40
    ),
    "a valve of the first 80 % alone": Dirty(
        "parts differ",
        2,
        201,
        beside(switch(*(range(k, k + 10) for k in (200, 500, 900, 1300)))),
    ),
    "a level of the last 20 % alone": Dirty(
        "parts differ", 1, 1601, changed(slice(1600, N), 1, noise()[:400] + 90)
    ),
    "a stand-by pump": Dirty(
        "constant until later",
        2,
        None,
        beside(np.where(T < 1600, 0, 48_000 + noise(100))),
        level=Level.DO_NOT_USE,
    ),
    "a pump at one speed": Dirty(
        "constant until later", 2, 1601, beside(np.where(T < 1600, 0, 48_000))
    ),
    "a label column": Dirty(
        "constant until later",
        2,
        1501,
        beside(np.zeros(N)),
        np.column_stack([clean(seed=1), T >= 1500]),
    ),
    "a label column of few ones": Dirty(
        "label", 2, 501, beside(switch(range(500, 540), range(1700, 1720)))
    ),
    "a label column of unlike runs": Dirty(
        "label",
        2,
        301,
        beside(switch(range(300, 312), range(900, 930), range(1300, 1340))),
    ),
    "an index from 1000": clock(2, beside(1000 + T)),
    "a clock in tenths": clock(0, np.column_stack([T * 0.1, clean()])),
    "a clock that counts down": clock(2, beside(5000 - 2 * T)),
    "seconds since 1970": clock(2, beside(1.7e9 + 60 * T)),
    "uneven seconds since 1970": clock(2, beside(1.7e9 + 60 * T + T % 7)),
    "milliseconds since 1970": clock(2, beside(1.7e12 + 60e3 * T + T % 7)),
    "a unit number": Dirty(
        "unit number",
        0,
        None,
        {
            f"{k}.csv": np.column_stack([np.full(500, float(k)), clean(500, k)])
            for k in range(101, 105)
        },
        first_sine=1,
    ),
    "two columns exchanged in one file of five": Dirty(
        "disordered columns",
        0,
        None,
        five(lambda x: x[:, [1, 0]]),
        level=Level.DO_NOT_USE,
    ),
    "a file of another machine": Dirty(
        "other file", 1, None, five(lambda x: x * [1, 0.2] + [0, 90])
    ),
    "a file in another unit, around 0": Dirty(
        "other file", 0, None, five(lambda x: x * [3, 1])
    ),
    "a meter": Dirty(
        "counter",
        2,
        None,
        beside(np.cumsum(np.abs(noise()))),
        level=Level.DO_NOT_USE,
        is_refused=True,
    ),
    "a reserve that is used up": Dirty(
        "counter",
        2,
        None,
        beside(9e5 - np.cumsum(np.maximum(noise(), 0))),
        level=Level.DO_NOT_USE,
        is_refused=True,
    ),
    "a date in digits": Dirty(
        "counter",
        2,
        None,
        beside(202_601_010_000 + 10_000 * (T // 1440) + T // 60 % 24 * 100 + T % 60),
        level=Level.DO_NOT_USE,
        is_refused=True,
    ),
    "a meter of each batch": Dirty(
        "counter",
        2,
        None,
        {
            f"{n}.csv": np.column_stack(
                [clean(400, n), np.cumsum(np.abs(noise(seed=n)[:400]))]
            )
            for n in range(5)
        },
    ),
    "an angle": Dirty("angle", 2, None, beside(np.cumsum(5 + noise()) % 360)),
    "an angle in radians": Dirty(
        "angle", 2, None, beside(np.cumsum(0.1 + noise(0.01)) % (2 * np.pi))
    ),
    "a meter that starts again": Dirty(
        "restarting counter", 2, None, beside(np.cumsum(np.abs(noise())) % 100)
    ),
    "a counter of 16 bits": Dirty(
        "overflow", 2, None, beside((50 * T + 30_000) % 2**16 - 2**15 + T % 7 // 4)
    ),
    "a level that overflows": Dirty(
        "overflow", 2, None, beside((40_000 * np.sin(T / 200)) % 2**16)
    ),
    "a constant of 0.004": Dirty("constant", 2, None, beside(np.full(N, 0.004))),
    "1.7e15 and a little": Dirty("constant", 2, None, beside(1.7e15 + T % 997)),
    "a stuck sensor": Dirty("stuck", 0, 401, changed(slice(400, 480), 0, 1.25)),
    "interpolated rows": Dirty(
        "straight line", 1, 602, changed(slice(600, 800), 1, LINE), margin=1
    ),
    "interpolated and rounded rows": Dirty(
        "straight line",
        1,
        602,
        np.round(changed(slice(600, 800), 1, LINE), 2),
        margin=1,
    ),
    "three runs of interpolated rows": Dirty(
        "straight line",
        2,
        301,
        beside(np.where(THREE, np.interp(T, T[~THREE], clean()[~THREE, 1]), POSITIVE)),
        margin=1,
    ),
    "two files alike": Dirty(
        "copied file", None, None, {"a.csv": clean(), "b.csv": clean()}
    ),
    "training data as validation": Dirty("copied file", None, None, clean(), clean()),
    "rows twice": Dirty(
        "copied rows", None, 1001, np.concatenate([clean(1000), clean(1000)])
    ),
    "validation cut from training": Dirty(
        "copied rows", None, 1, clean(), clean()[1000:1500]
    ),
    "two series alike": Dirty("copied series", 2, None, beside(clean()[:, 0])),
    "the same in Fahrenheit": Dirty(
        "copied series", 2, None, beside(np.round(FAHRENHEIT, 2))
    ),
}

RNG = np.random.default_rng(7)
CLEAN = {
    "sines": clean(),
    "few rows": clean(40),
    "a rare state": beside(switch(range(300, 303))),
    "a switch": beside(switch(*(range(k, k + 5) for k in range(0, N, 45)))),
    "a switch in the first column": beside(switch(range(500, 540), range(1700, 1720)))[
        :, [2, 0, 1]
    ],
    "two rare switches": np.column_stack(
        [
            clean(),
            switch(range(300, 310), range(1800, 1810)),
            switch(range(900, 910), range(1700, 1720)),
        ]
    )[:, [0, 2, 1, 3]],
    "one-hot series": np.column_stack([clean(), np.eye(3)[T // 50 % 3]]),
    "long constant stretches": beside(np.where(T // 400 % 2, 20.0, 20 + noise())),
    "heavy tails": beside(RNG.standard_t(3, N)),
    "skewed": beside(np.exp(RNG.normal(size=N))),
    "a slight trend": beside(T * 0.0015 + noise()),
    "a trend that goes up and down": beside(10 * np.sin(T / 500) + noise()),
    "loads that come and go": beside(np.where(T // 200 % 2 == 0, 10, 40) + noise()),
    "a random walk": beside(np.cumsum(noise())),
    "a sawtooth": beside(T % 60 + noise(0.3)),
    "rounded": beside(np.round(noise())),
    "a machine that stops": beside(np.where(T % 200 < 20, 0, 40 + noise())),
    "pulses of a height that varies": beside(
        np.where(T % 20 == 3, 90 + 5 * noise(), POSITIVE)
    ),
    "a near value in every twentieth row": beside(np.where(T % 20 == 3, 36, POSITIVE)),
    "an idle speed far below the others": beside(np.where(T % 20 < 6, 10, POSITIVE)),
    "a valve fully open": beside(np.clip(110 - POSITIVE, 0, 63) + 37),
    "a measurement in steps, at its limit": beside(
        np.round(np.minimum(POSITIVE, 53), 1)
    ),
    "a flow that ends": beside(np.maximum(POSITIVE - 46, 0)),
    "rain": beside(np.maximum(POSITIVE, 50)),
    "a level that comes again": beside(np.where(T // 500 % 2, 9.0, 90.0) + noise()),
    "a small step": beside(np.where(T < 1000, 0, 7.0) + noise()),
    "a machine that runs faster, and varies more": beside(
        noise() * np.where(T < 1000, 1, 2)
    ),
    "a season longer than the rows": beside(30 * np.sin(T / 600) + noise()),
    "noise over all integers of 16 bits": beside(RNG.integers(0, 2**16, N)),
    "a few rows in a line": changed(slice(600, 618), 1, np.linspace(50, 55, 18)),
    "a ramp that recurs": beside(
        np.where(np.isin(T // 100, [3, 12]), T % 100 / 3, 30 + noise())
    ),
    "ramps as a thermostat makes them": beside(
        np.round(18 + np.abs(T % 240 - 120) / 30 + noise(0.02), 1)
    ),
    "a set point with one ramp": beside(
        np.interp(T, [0, 500, 800, 1200, 1300], [20, 20, 50, 50, 20])
    ),
    "ramps": beside(np.where(T % 100 < 30, T % 100, 30 + noise())),
    "a set point": beside(np.where(T < 1500, np.clip(T, 500, 800), 650) / 7),
    "a smooth curve": beside(np.sin(T / 300)),
    "a valve that opens for about as long each time": beside(
        switch(*(range(k, k + 10 + k // 200) for k in range(0, N, 180)))
    ),
    "a pause of a battery": beside(
        np.where(T % 50 < 10, 0, 5 * np.sin(T / 9) + noise())
    ),
    "a dead band": beside(np.where(np.abs(3 * np.sin(T / 9)) < 0.5, 0, noise() + 9)),
    "held values": beside(np.repeat(noise()[: N // 4], 4)),
    "held values at random": beside(noise()[np.cumsum(np.abs(noise()) > 0.4)]),
    "bursts": beside(noise(0.01) + (T // 50 % 8 == 3) * 5),
}
