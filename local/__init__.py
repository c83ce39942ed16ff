"""The recipe's twelve rooms; README.md says what each is for."""

from local.utils import threads

threads.settle()
