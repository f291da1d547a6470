"""Past the paper: how sure a readout is, several parameters, more experts, drift, other equations."""
