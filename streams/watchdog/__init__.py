"""The monitor watches itself: vital signs, rules, pipeline alerts, the doctor."""
