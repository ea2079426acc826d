"""Numbers as the reader meets them: losses, counts, parameters, intervals, times, always in the same dress."""

import math

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
SUPERSCRIPT = str.maketrans("-0123456789", "\N{SUPERSCRIPT MINUS}⁰¹²³⁴⁵⁶⁷⁸⁹")


def known(value):
    """True for a finite number; None, NaN and infinities are not known."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def fixed(value, digits=3):
    """`1.234`, with a true minus sign; an en dash where nothing is known."""
    if not known(value):
        return NOTHING
    text = f"{abs(value):,.{digits}f}"
    negative = value < 0 and float(text.replace(",", "")) != 0
    return (MINUS if negative else "") + text


def signed(value, digits=3):
    """`+0.120` or `−0.120`; zero carries no sign."""
    if not known(value):
        return NOTHING
    text = fixed(value, digits)
    positive = value > 0 and float(text.replace(",", "")) != 0
    return "+" + text if positive else text


def nats(value):
    """`1.234 nats`."""
    return f"{fixed(value)} nats"


def count(value):
    """`4,096`; whole numbers only, others keep one digit."""
    if not known(value):
        return NOTHING
    return fixed(value, 0 if float(value).is_integer() else 1)


def short(value):
    """Three significant digits with K, M, B or T: `18.6K`, `2.1M`; below 1,000 as it is."""
    if not known(value):
        return NOTHING
    if abs(value) < 1000:
        return count(value)
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= limit * 0.9995:
            scaled = abs(value) / limit
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            text = f"{scaled:.{digits}f}"
            text = text.rstrip("0").rstrip(".") if "." in text else text
            return (MINUS if value < 0 else "") + text + letter
    return count(value)


def level(value):
    """A level of a factor on an axis: `4,096` up to six digits, else `2.1M`."""
    return count(value) if known(value) and abs(value) < 100_000 and float(value).is_integer() else short(value)


def significant(value, digits=4):
    """`0.1503`, `2.6 × 10⁵`: a parameter of a law at a readable precision."""
    if not known(value):
        return NOTHING
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 5:
        return fixed(value, max(0, digits - 1 - exponent))
    return _powers(value, max(0, digits - 2))


def interval(low, high, show=fixed):
    """`0.110 to 0.136`; an unbounded or unknown end is said in words."""
    if not known(low) and not known(high):
        return "unknown"
    if not known(low):
        return f"up to {show(high)}"
    if not known(high):
        return f"{show(low)} or more"
    return f"{show(low)} to {show(high)}"


def rate(value):
    """A learning rate: `0.0003`, `3e-05`."""
    return f"{value:.3g}" if known(value) else NOTHING


def percent(value):
    """`53 %` of a share between 0 and 1."""
    return f"{100 * value:.0f} %" if known(value) else NOTHING


def duration(seconds):
    """`41 s`, `4 min 12 s`, `1 h 50 min`."""
    if not known(seconds):
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = int(round(whole / 60))
    return f"{minutes // 60:,} h {minutes % 60} min"


def flops(value):
    """`3.1 × 10¹³`."""
    if not known(value) or abs(value) < 1000:
        return count(value)
    return _powers(value, 1)


def _powers(value, decimals):
    """`3.1 × 10¹³`; rounded before the power is taken, so that 9.97 × 10⁵ becomes 1.0 × 10⁶."""
    mantissa, exponent = f"{value:.{decimals}e}".split("e")
    return f"{fixed(float(mantissa), decimals)} × 10{str(int(exponent)).translate(SUPERSCRIPT)}"


def plural(number, word, many=None):
    """`1 seed`, `3 seeds`."""
    return f"{count(number)} {word if number == 1 else many or word + 's'}"


def listed(words, joiner="and"):
    """`a`, `a and b`, `a, b and c`."""
    words = [str(word) for word in words]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {joiner} {words[-1]}"
