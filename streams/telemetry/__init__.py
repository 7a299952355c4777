"""What the worker shows of itself: metrics, health, logs."""
