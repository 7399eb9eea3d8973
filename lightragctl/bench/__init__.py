"""Load generator: schedules, workers, measurements, validity, experiments and reports."""
