"""LSTM-AD: anomaly detection in multivariate time series. Arrays in, arrays out.

The pipeline (Malhotra et al., ESANN 2015), in reading order::

    data/       the rows of a job: divided between fitting and calibration, checked
    model/      the stacked LSTM: sequences, scaling, network, ONNX graph and runtime
    training/   the loop that fits it, alone or in several processes
    scoring/    errors, the Gaussian fitted to them, and the score: the log-likelihood
    threshold/  how rare a score is on normal data, and which scores are anomalies
    fitting     all of the above, in order
    artifacts   what is saved of it
    quality/    a closer look at a fitted detector, and the verdict on it

The letters of the axes are in :mod:`lstm_ad.axes`. Only ``model.network``,
``model.export``, ``training`` and ``fitting`` import torch, and nothing that scores
imports them. This file imports nothing, so that a server can read its settings before
it loads a runtime.
"""
