"""What follows an alert: remediation, its execution, and the rows behind it."""
