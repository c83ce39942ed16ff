"""Numbers and names as a reader wants them: few digits, never a false 0 or 1."""

DASH = "–"


def number(value, digits=2):
    """A number with so many digits behind the point; more where it would be 0 or 1.

    >>> number(0.827), number(-0.05), number(0.9991), number(0.99999), number(1.0)
    ('0.83', '−0.05', '0.999', '>0.999', '1.00')
    """
    text = f"{abs(value):.{digits}f}"
    if float(text) in (0, 1) and 0 < abs(value) < 1:
        text = f"{abs(value):.3f}"
        text = {"0.000": "<0.001", "1.000": ">0.999"}.get(text, text)
    return f"−{text}" if value < 0 else text


def printable(name):
    """A name in one line, without what a terminal or a yaml would obey.

    >>> printable("a\\x1b[2J\\nb.wav")
    'a?[2J?b.wav'
    """
    return "".join(c if c.isprintable() else "?" for c in name)


def measured(value):
    """A number of any size, with three digits that count.

    >>> measured(12.345), measured(0.01234), measured(12345.0)
    ('12.3', '0.0123', '12345')
    """
    text = f"{abs(value):.3g}" if abs(value) < 1000 else f"{abs(value):.0f}"
    return f"−{text}" if value < 0 else text


def three_digits(value):
    """A number of any size with exactly three digits, or all before the point.

    >>> [three_digits(value) for value in (1.2, 0.04, 1234.5, -100.0)]
    ['1.20', '0.0400', '1234', '−100']
    """
    text = f"{abs(value):#.3g}" if abs(value) < 1000 else f"{abs(value):.0f}"
    return ("−" if value < 0 else "") + text.removesuffix(".")


def interval(low, high, form=number):
    """Bounds in brackets, with words where a dash could be taken for a minus.

    >>> interval(0.71, 0.9), interval(-0.1, 0.2), interval(0.9, 0.9999)
    ('(0.71–0.90)', '(−0.10 to 0.20)', '(0.90 to >0.999)')
    """
    bounds = [form(low), form(high)]
    between = DASH if all(text[0].isdigit() for text in bounds) else " to "
    return f"({between.join(bounds)})"


def p_value(p):
    """A p value; those below a thousandth only as such.

    >>> p_value(0.0004), p_value(0.032), p_value(0.5)
    ('<0.001', '0.032', '0.50')
    """
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def listed(names):
    """Names in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    names = list(map(str, names))
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def counted(n, noun, plural=None):
    """A number and its noun.

    >>> counted(1, "subject"), counted(1200, "subject"), counted(0, "entry", "entries")
    ('1 subject', '1,200 subjects', '0 entries')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"
