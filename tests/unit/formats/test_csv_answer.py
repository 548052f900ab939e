import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lstm_ad.scoring.detector import LSTMAD, Scores
from sagemaker_container.formats.csv_answer import (
    write_columns,
    write_header,
    write_scores,
)
from sagemaker_container.formats.frame import Frame


def test_scores_become_one_line_per_row_the_first_sequence_empty() -> None:
    """Score first, then one reconstruction per series; LF line ends, one at the end."""
    nan = np.nan
    scores = Scores(
        normality_score=np.array([nan, nan, -1.5, 2e-7]),
        reconstruction=np.array([[nan, nan], [nan, nan], [1.0, -2.25], [3e10, 4.0]]),
    )

    text = write_scores(scores)

    assert text == b",,\n,,\n-1.5,1.0,-2.25\n2e-7,30000000000.0,4.0\n"


def test_columns_become_cells_in_the_order_that_was_asked_for(
    detector: LSTMAD,
) -> None:
    """Booleans are 0 and 1; nothing is said of a row without a score."""
    nan = np.nan
    scores = Scores(
        normality_score=np.array([nan, -9.5, 2.0]),
        reconstruction=np.array([[nan, nan], [1.0, -2.25], [3e10, 4.0]]),
        contribution=np.array([[nan, nan], [0.25, 0.75], [1.0, 0.0]]),
        direction=np.array([[nan, nan], [1.0, -1.0], [1.0, 1.0]]),
        n_missing=np.array([0, 0, 1]),
    )
    decision = dataclasses.replace(
        detector.decision,
        alarm_threshold=-5.5,
        error_range=np.array([[-0.5, -1.0], [0.5, 2.0]]),
    )
    columns = ("contribution", "is_anomaly", "lower", "threshold", "upper", "score")
    columns += ("missing",)

    frame = Frame(("1", "2"))

    text = write_header(columns, frame) + write_columns(
        scores, decision, columns, frame
    )

    assert text == (
        b"contribution_1,contribution_2,is_anomaly,lower_1,lower_2,threshold,"
        b"upper_1,upper_2,score,missing\n"
        b",,,,,,,,,0\n"
        b"0.25,0.75,1,0.5,-3.25,-5.5,1.5,-0.25,-9.5,0\n"
        b"1.0,0.0,0,29999999999.5,3.0,-5.5,30000000000.5,6.0,2.0,1\n"
    )


def test_parts_of_scores_written_apart_join_to_the_whole() -> None:
    """A long answer is written part by part, of which nothing is seen."""
    scores = Scores(np.arange(7.0), np.arange(14.0).reshape(7, 2))
    parts = [
        Scores(scores.normality_score[rows], scores.reconstruction[rows])
        for rows in (slice(0, 1), slice(1, 5), slice(5, 7))
    ]

    assert b"".join(map(write_scores, parts)) == write_scores(scores)


@given(
    npst.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(2, 4)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_written_scores_read_back_bit_by_bit(table: np.ndarray) -> None:
    """Every score and reconstruction has as many digits as it takes."""
    text = write_scores(Scores(table[:, 0], table[:, 1:])).decode()

    assert text.endswith("\n")
    cells = [[float(c) for c in line.split(",")] for line in text[:-1].split("\n")]
    assert np.array(cells).tobytes() == table.tobytes()
