"""A typed config as it is written: keys in the specification's order, what is empty left out.

``null`` lists and zero values of keys that are always written are put in, as Go's encoder does.
"""

from __future__ import annotations

from typing import Any

from .schema import Struct, Type

_ZERO = {"str": "", "int": 0, "bool": False, "uint": 0}


def ordered(value: dict[str, Any], struct: Struct, *, keep_empty: bool = False) -> dict[str, Any]:
    """``value`` with its keys in order.

    ``keep_empty`` writes structs that hold nothing (ct's output: ``"verification":{}``) instead of dropping them.
    """
    result: dict[str, Any] = {}
    for field in struct.fields:
        kind, item = field.type, value.get(field.json)
        if kind.struct is not None:
            if item is None and (kind.optional or not (keep_empty or field.always)):
                continue
            below = ordered(item or {}, kind.struct, keep_empty=keep_empty)
            if below or keep_empty or field.always or kind.optional:
                result[field.json] = below
        elif kind.item is not None:
            if item:
                result[field.json] = [_element(each, kind.item, keep_empty) for each in item]
            elif field.always:
                result[field.json] = None
        elif item is not None and (kind.optional or field.always or item not in ("", 0, False)):
            result[field.json] = item
        elif item is None and field.always:
            result[field.json] = None if kind.optional else _ZERO[kind.scalar]
    return result


def _element(each: Any, kind: Type, keep_empty: bool) -> Any:
    return ordered(each, kind.struct, keep_empty=keep_empty) if kind.struct is not None else each
