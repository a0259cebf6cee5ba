"""`python -m ledger_client` is `ledger-outbox`."""

from ledger_client.command import main

main(prog_name="ledger-outbox")
