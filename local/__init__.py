"""The recipe's modules; README.md tells what each is for."""

from local import threads

threads.settle()
