"""What people and policies decide: commands, their effect, and remediation."""
