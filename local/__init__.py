"""The recipe's twelve rooms; README.md says what each is for."""

from local.utils import streams, threads

threads.settle()
streams.leave_out_of_no_concern()
