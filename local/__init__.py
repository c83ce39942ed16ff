"""The recipe's twelve rooms; README.md says what each is for."""

from local.utils import hub, streams, threads

threads.settle()
hub.settle()
streams.leave_out_of_no_concern()
