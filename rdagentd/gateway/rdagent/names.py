"""Names for traces, such as `brave-otter-3f9a1c`: easy to say, and never the same twice, since directories stay behind."""

from __future__ import annotations

import secrets

_HOW = """
    able amber apt bold brave brief bright calm candid civil clear clever cool crisp deft eager early even exact fair fast
    fine firm fond frank free fresh gentle glad good grand great green handy hardy honest jolly keen kind late lively loyal
    lucid merry mild modest neat nimble noble open patient plain polite proud quick quiet ready rich robust sharp silent
    silver simple smart smooth sober solid steady stern still strong sturdy subtle sunny sure swift tame tidy tough true
    vivid warm wise witty young
""".split()  # noqa: SIM905
_WHO = """
    ant badger bear beaver bee bison buzzard carp cat cod crab crane crow deer dove duck eagle eel elk falcon ferret finch
    fox frog goat goose grouse gull hare hawk hen heron horse ibex jay kestrel kite lark linnet lion lizard lynx magpie
    marten mole moose moth mouse newt otter owl ox perch pike plover pony puffin quail rabbit ram raven robin rook salmon
    seal shrew snail snipe sparrow squid stork swan swift tern thrush tiger toad trout vole wasp weasel whale wolf wren
""".split()  # noqa: SIM905


def new_name() -> str:
    """A name that was most probably never given before."""
    return f"{secrets.choice(_HOW)}-{secrets.choice(_WHO)}-{secrets.token_hex(3)}"
