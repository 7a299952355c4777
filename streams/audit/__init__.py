"""The audit trail: who decided what, in chains of hashes that no one can rewrite unseen."""
