"""Prediction rows before the bank: signals, episodes, and what is told of them."""
