"""A strict reader of the Prometheus text exposition format 0.0.4, as far as the server uses it.

Source: prometheus.io/docs/instrumenting/exposition_formats
"""
import re

_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def _labels(text):
    labels, at = {}, 0
    while at < len(text):
        found = _LABEL.match(text, at)
        if not found or found[1] in labels:
            raise ValueError(f"labels: got {text!r}")
        labels[found[1]], at = found[2], found.end()
    return labels


def parse(text):
    """{family: (type, [(name, labels, value)])}. ValueError for a line that is none of the format."""
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    families, current = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            if current in families or kind not in ("counter", "gauge", "histogram", "summary", "untyped"):
                raise ValueError(f"got {line!r}")
            families[current] = (kind, [])
            continue
        found = _SAMPLE.fullmatch(line)
        if not found or current is None or not found[1].startswith(current):
            raise ValueError(f"got {line!r}")
        families[current][1].append((found[1], _labels(found[2] or ""), float(found[3])))
    return families


def histograms(family, samples):
    """[(labels, bucket counts in order of their bounds, count)] of one histogram family."""
    series = {}
    for name, labels, value in samples:
        bound = labels.get("le")
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        buckets, counts = series.setdefault(key, ([], []))
        if name == family + "_bucket":
            buckets.append((float(bound), value))
        elif name == family + "_count":
            counts.append(value)
        elif name != family + "_sum":
            raise ValueError(f"got {name} in histogram {family}")
    return [(dict(key), [v for _, v in sorted(buckets)], counts[0]) for key, (buckets, counts) in series.items()]
