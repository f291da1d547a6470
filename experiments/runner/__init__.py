"""How a run lives on a machine: processes and devices, its folder and locks, logs and progress. Knows no stage."""
