"""Traffic against its own past: outages, drops and floods."""
