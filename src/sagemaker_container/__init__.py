"""What SageMaker expects of a container: files, strings, CSV and HTTP.

This package may know what :mod:`lstm_ad` may not: where files are (``environment``),
what a line of CSV is (``csv_format``), how metrics are spelled in a log (``metrics``)
and what HTTP says (``app``). It holds no algorithm.
"""
