"""The demo: two real data sets, two real models, one real incident (`driftline demo`)."""
