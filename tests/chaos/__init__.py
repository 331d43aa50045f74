"""Several real schedulers on one real store, somebody who harms them, and who checks afterwards.

`trial` lets it all happen; each process keeps a `journal`. `checker` reads the `history` that the
journals tell, and what the store says at the end, and names what must not be. `python -m chaos`
does that for as long as it is told to.
"""
