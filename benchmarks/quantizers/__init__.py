"""Other tools' quantizers, each run in a process of its own on the same model and the same calibration data."""
