"""The recipe's modules; README.md tells what each is for."""

from local.utils import threads

threads.settle()
