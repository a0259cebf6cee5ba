"""What may be asked of the projector: a module a subject, with its routes and how each is answered."""
