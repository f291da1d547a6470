"""Beyond the paper: uncertainty of the readout, several parameters, more experts, drift, other equations."""
