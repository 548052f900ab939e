"""LSTM-AD: anomaly detection in multivariate time series. Arrays in, arrays out.

The pipeline (Malhotra et al., ESANN 2015), one module per step::

    scaling         each series to mean 0 and standard deviation 1
    layout          how a series is divided into sequences
    sequences       a series into sequences, and reconstructions back to its rows
    network         a stacked LSTM reconstructs each sequence from the rows before it
    training        the LSTM learns that on the first part of the normal data
    onnx_graph      the trained network as ONNX
    runtime         ONNX Runtime runs it, here and in the server alike
    reconstruction  the errors: target minus reconstruction, in the series' own units
    gaussian        a multivariate Gaussian fitted to the errors on the other part
    detector        the score: the log-likelihood of each time step's errors
    fitting         all of the above, in order

What a report is made of::

    inspection      a closer look at a fitted detector, in bounded time and memory
    verdict         whether to use it, and why

Several processes can do it together: :mod:`lstm_ad.shares` divides the rows between
them, and :mod:`lstm_ad.team` adds up what each has of them.

The letters of the axes are in :mod:`lstm_ad.axes`. Only ``network``, ``training``,
``team`` and ``fitting`` import torch, and nothing that scores imports them. This file
imports nothing, so that a server can read its settings before it loads a runtime.
"""
