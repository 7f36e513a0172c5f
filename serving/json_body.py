"""The JSON object of a request's body, read as RapidJSON does for TensorFlow Serving.

Beyond Python's reader: `Inf` is infinity (kParseNanAndInfFlag), what follows the object does not
count (kParseStopWhenDoneFlag), of two equal keys the first does (FindMember), and a number that no
double can hold is an error and not infinity.
"""

import json
import math
import re
from typing import Any

from serving.errors import RequestError

# An exponent of three digits, or digits for one: only then is a number looked at more closely.
_LARGE = re.compile(r"[eE]\+?0*[1-9][0-9]{2}|[0-9]{300}")
_INF = re.compile(r'"(?:[^"\\]|\\.)*"|-?\bInf\b')
_SPACE = " \t\r\n"


def parse(body: bytes, most: int) -> dict[str, Any]:
    """Return the object. Raises RequestError, also when it may have more than `most` values.

    Each is an object of Python's, 8 to 64 bytes for every two of the body, so they are counted by
    what separates them before any is made; commas and brackets in texts count as well.
    """
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > most:
        raise RequestError(
            "RESOURCE_EXHAUSTED",
            f"the body has {values} values and lists, more than the limit of {most}. Send several "
            "smaller requests, or images as files",
        )
    try:
        found = _decode(body.decode("utf-8-sig").lstrip(_SPACE))
    except (ValueError, RecursionError) as error:
        raise RequestError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    if not isinstance(found, dict):
        raise RequestError("INVALID_ARGUMENT", "JSON Parse error: the body must be an object")
    return found


def _decode(text: str) -> Any:
    decoder = _CAREFUL if _LARGE.search(text) else _QUICK
    try:
        return decoder.raw_decode(text)[0]
    except ValueError:
        if "Inf" not in text:
            raise
        return decoder.raw_decode(_INF.sub(_spelled_out, text))[0]


def _spelled_out(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else f"{found[0]}inity"


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("Number too big to be stored in double.")
    return value


def _int(text: str) -> int:
    _float(text)
    return int(text)


_QUICK = json.JSONDecoder(object_pairs_hook=_first_wins)
_CAREFUL = json.JSONDecoder(object_pairs_hook=_first_wins, parse_float=_float, parse_int=_int)
