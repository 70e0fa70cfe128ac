"""`python -m envtune.cli`, the same as `envtune`."""

from envtune.cli import main

main()
