"""Dates that spreadsheet programs make of codes and numbers."""

import re

_MONTH = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"

#: What becomes of codes such as 3-1 or MAR1, and of numbers such as 1.5.
DATE = re.compile(
    rf"\d{{4}}-\d\d-\d\d( .*)?|\d{{1,2}}[./-]\d{{1,2}}[./-](\d\d)?\d\d"
    rf"|\d{{1,2}}-({_MONTH})|({_MONTH})-\d\d",
    re.IGNORECASE,
)

ADVICE = (
    "spreadsheet programs turn codes such as 3-1 and numbers such as 1.5 into dates: "
    "format the column as text and type them again"
)
