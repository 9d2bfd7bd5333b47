"""What the reports say about repeated measurements: means, errors, intervals."""
import math
import statistics

# 97.5 % quantiles of Student's t by degrees of freedom; beyond them the normal distribution's. Source: Student 1908.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
            2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
_NORMAL = 1.959964


def wilson(correct, n, z=_NORMAL):
    """95 % score interval of a proportion. Source: Wilson 1927."""
    p = correct / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def deviation(values):
    return statistics.stdev(values) if len(values) > 1 else math.nan


def standard_error(values):
    """Of the mean; NaN for one value, which says nothing about it."""
    return deviation(values) / math.sqrt(len(values))


def student_interval(values):
    """95 % interval of the mean, for values from a normal distribution."""
    degrees = len(values) - 1
    if degrees == 0:
        return math.nan, math.nan
    half = (_STUDENT[degrees - 1] if degrees <= len(_STUDENT) else _NORMAL) * standard_error(values)
    mean = statistics.mean(values)
    return mean - half, mean + half


def percent(share):
    return "unknown" if math.isnan(share) else f"{100 * share:.1f}"


def proportion(correct, n):
    low, high = wilson(correct, n)
    return f"{percent(correct / n)} % ({percent(low)} to {percent(high)}, n = {n})"


def spread(values, digits=2):
    """Median and range."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
