"""The contract: what may be said to the ledger, and how it is written down.

Pure: no module here does I/O, reads a clock or imports from `services`.
"""
