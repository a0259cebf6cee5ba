"""`python -m services.projector`: the read side as a process."""

from services import allocator, process

LARGE_OCTETS = 256 * 1024  # Columns of megabytes come and go; what is computed in blocks is smaller, and is used again.

allocator.give_back_from(LARGE_OCTETS)
process.main("services.projector.app")
