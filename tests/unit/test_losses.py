import numpy as np

from lstm_ad.losses import Loss


def test_the_loss_is_a_mean_over_all_elements() -> None:
    """Errors 1, -2, 3 and 4, -5, 0, in two parts of other lengths."""
    loss = Loss.of(iter([np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([[-5.0, 0.0]])]))

    assert loss == Loss(mse=(1 + 4 + 9 + 16 + 25 + 0) / 6, mae=(1 + 2 + 3 + 4 + 5) / 6)


def test_the_loss_does_not_depend_on_how_the_errors_are_cut() -> None:
    """Losses of jobs with other sequence lengths or files compare."""
    errors = np.arange(-6.0, 6.0).reshape(6, 2)

    assert Loss.of([errors]) == Loss.of([errors[:1], errors[1:4], errors[4:]])
