"""The stages of an experiment, in order: data, anchor, experts, calibration, evaluation."""
