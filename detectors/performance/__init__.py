"""How good predictions were: exact counts and sums, and the metrics that follow from them."""
