"""What SageMaker expects of a container: files, strings, CSV and HTTP.

This package may know what :mod:`lstm_ad` may not: what a job is given (``job``), what
the server is asked for (``settings``), what the container may use (``limits``), what a
line of CSV is (``formats``), how metrics are spelled in a log (``metrics``) and what
HTTP says (``http``). It holds no algorithm.
"""
