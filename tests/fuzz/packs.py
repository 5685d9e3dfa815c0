"""Prompt packs from strangers, and what a language model says of one."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

from core.packs.pack import (
    LONGEST_PROMPT,
    MOST_SENTENCES,
    TEMPLATE_PROMPTS,
    PackError,
    PromptPack,
    list_packs,
    load_pack,
    make_pack,
)
from core.packs.queries import as_defect, as_phrase, as_sentence, parse_list
from core.packs.text import dump_pack
from tests.fuzz import hostile
from tests.fuzz.tally import Outcome


class Packs:
    """A pack is read, or refused as one; what is read says only what can be printed, and not too much of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        packs = [load_pack(name) for name in list_packs()]
        self._tables: list[dict[str, Any]] = [pack.model_dump(mode="json", by_alias=True) for pack in packs]
        self._texts = [dump_pack(pack).encode() for pack in packs]

    def run(self, chance: random.Random) -> Outcome:
        kind = chance.randrange(10)
        try:
            if kind < 3:
                pack = self._read(self._changed_tables(chance))
            elif kind < 6:
                pack = self._read(hostile.damaged(chance, chance.choice(self._texts)))
            elif kind == 6:
                pack = self._read(self._bomb(chance))
            elif kind == 7:
                pack = load_pack(self._name(chance))
            elif kind == 8:
                pack = make_pack(_several(chance, chance.choice(self._tables)), "the answers make no pack")
            else:
                return self._answer(chance)
        except PackError as error:
            said = str(error)
        else:
            _check(pack)
            return Outcome(refused=False)
        assert said.replace("\n", "").isprintable(), f"an error that cannot be printed: {said!r}"
        assert len(said) < 20_000
        return Outcome(refused=True, said=said)

    def close(self) -> None:
        """It holds nothing."""

    def _read(self, data: bytes) -> PromptPack:
        path = self._folder / "mine.toml"
        path.write_bytes(data)
        return load_pack(str(path))

    def _changed_tables(self, chance: random.Random) -> bytes:
        tables = _several(chance, chance.choice(self._tables))
        return hostile.toml(tables, chance).encode("utf-8", chance.choice(("surrogatepass", "replace")))

    def _bomb(self, chance: random.Random) -> bytes:
        """Much of something: prompts by multiplication, depth, keys, digits, one long text."""
        kind = chance.randrange(6)
        many = chance.choice((50, 500, 3000, 20_000))
        if kind == 0:
            tables = json.loads(json.dumps(chance.choice(self._tables)))
            for name in ("domains", "normal_states", "abnormal_states", "normal_details", "abnormal_details"):
                tables["template"][name] = [f"{name[0]}{number}" for number in range(min(many, 4000))]
            return hostile.toml(tables).encode()
        if kind == 1:
            return hostile.nested(chance)
        if kind == 2:
            return "\n".join(f"k{number} = {number}" for number in range(many)).encode()
        if kind == 3:
            return (chance.choice(("a.", '"a".', "a .", "1.")) * many + "b = 1").encode()
        if kind == 4:
            return f"schema = {chance.choice('19-')}{'9' * many}".encode()
        quote = chance.choice(('"', "'", '"""', "'''"))
        return f"class = {quote}{chance.choice(('x', chr(92) + 'n', chr(92) + quote, quote)) * many}{quote}".encode()

    def _name(self, chance: random.Random) -> str:
        """What is given for a pack's name, or a path that is no regular file."""
        kind = chance.randrange(8)
        if kind < 4:
            return hostile.text(chance)
        path = self._folder / f"odd-{kind}{chance.choice(('', chr(27), chr(0x202E)))}.toml"
        if not os.path.lexists(path):
            if kind == 4:
                os.mkfifo(path)
            elif kind == 5:
                path.mkdir()
            elif kind == 6:
                path.symlink_to(chance.choice(("/dev/zero", "/dev/full", "/proc/self/mem", "/dev/tty", str(path))))
            else:
                path.write_bytes(chance.choice(self._texts))
        return str(path)

    def _answer(self, chance: random.Random) -> Outcome:
        """An answer of a language model: nothing of it but printable sentences and phrases is kept."""
        kind = chance.randrange(4)
        if kind == 0:
            said = json.dumps(hostile.value(chance, 4))
        elif kind == 1:
            said = "\n".join(
                f"{chance.choice(('-', '1.', '*', ''))} {hostile.text(chance)}" for _ in range(chance.randrange(30))
            )
        elif kind == 2:
            said = hostile.nested(chance).decode() + hostile.text(chance)
        else:
            said = hostile.damaged(chance, b'{"items": ["a crack in the rim", "dirt: a dark spot; a smear"]}').decode(
                "utf-8", "replace"
            )
        items = parse_list(said, complete=chance.random() < 0.5)[:200]
        kept = [as_sentence(item, "normal", "bottle") for item in items] + [as_phrase(item) for item in items]
        kept += [as_defect(item)[1][0] for item in items if as_defect(item)]
        assert all(text is None or (text.isprintable() and len(text) <= LONGEST_PROMPT) for text in kept)
        return Outcome(refused=not any(kept))


def _several(chance: random.Random, tables: Any) -> Any:
    """One change, or a few."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        tables = hostile.replaced(chance, tables) if isinstance(tables, dict) else hostile.value(chance)
    return tables if isinstance(tables, dict) else {"pack": tables}


def _check(pack: PromptPack) -> None:
    prompts = pack.prompts()
    texts = (*prompts.normal, *prompts.abnormal, *pack.descriptors, *pack.defects, pack.name, pack.class_name)
    assert all(text.isprintable() for text in texts), "something does not show"
    assert max(map(len, (*prompts.normal, *prompts.abnormal))) <= LONGEST_PROMPT
    assert max(len(prompts.normal), len(prompts.abnormal)) <= MOST_SENTENCES + TEMPLATE_PROMPTS
    dump_pack(pack)
