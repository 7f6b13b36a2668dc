"""Tokens → money, a spend limit and a ledger. Arithmetic and counters."""
