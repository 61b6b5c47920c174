"""What a variable part of a path may look like, where it could be taken for a word of ours."""

from __future__ import annotations

from starlette.convertors import StringConvertor, register_url_convertor


class NumberConvertor(StringConvertor):
    """Whatever is none of our words. That it is a number, the route checks, and says so.

    Without it ``GET .../sentences/delete`` would ask for the sentence of the number "delete", and
    not be told that the address is for POST only.
    """

    regex = "(?!(?:get|scroll|delete)$)[^/]+"


NUMBER = "number"
"""As in ``"/sentences/{id:number}"``."""

register_url_convertor(NUMBER, NumberConvertor())
