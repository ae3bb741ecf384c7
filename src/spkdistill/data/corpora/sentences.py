"""Sentences of plain English words, drawn at random: text for synthetic speech, new in every utterance."""

import numpy as np

LEXICON = """
determiner: the a this that every another my your our their one some
adjective: quiet yellow ancient thick shiny gentle purple narrow huge vague joyful cheap rough icy young
adjective: strange wooden bright hollow frozen clumsy polite loyal muddy sharp famous golden lazy early warm
noun: river engine pillow judge shadow orange teacher window valley bottle kitchen thunder garage whistle
noun: doctor measure feather mountain zebra harbour bridge ladder cousin journey village hedgehog treasure
noun: boy chair museum ticket youth father pencil station yogurt machine lawyer church island
verb: follows carries watches breaks visits paints measures loses remembers pushes teaches buys forgets
verb: joins weighs catches moves answers thanks covers hears enjoys lifts chooses washes reaches throws wakes
adverb: slowly often never usually quickly gladly twice nearly always rarely suddenly again
preposition: under beside behind without above near around through before against with along
name: Joe Martha Victor Zoe Hugh Shirley Oscar Judith Felix Yvonne Thomas Agatha Dave Ruth Charles Lucy
number: two three four five six seven eight nine eleven twelve thirteen twenty forty sixty ninety
plural: apples voices engines judges measures shoes thieves rings horses clouds watches boats bees keys
"""
TEMPLATES = """
determiner adjective noun verb determiner noun
name adverb verb determiner adjective noun preposition determiner noun
preposition determiner noun name verb number adjective plural
name verb determiner noun
number adjective plural preposition determiner noun
determiner noun preposition name adverb verb number plural
"""


def read_lexicon(text: str) -> dict[str, list[str]]:
    """The words of each kind."""
    words: dict[str, list[str]] = {}
    for line in text.strip().split("\n"):
        kind, _, listed = line.partition(": ")
        words.setdefault(kind, []).extend(listed.split())
    return words


WORDS = read_lexicon(LEXICON)
PATTERNS = [line.split() for line in TEMPLATES.strip().split("\n")]


def sentences(rng: np.random.Generator, letters: int) -> str:
    """Sentences of `letters` letters or a few more, with a comma after each."""
    spoken: list[str] = []
    while sum(map(len, spoken)) < letters:
        kinds = PATTERNS[rng.integers(len(PATTERNS))]
        drawn = [WORDS[kind][rng.integers(len(WORDS[kind]))] for kind in kinds]
        spoken += [*drawn[:-1], f"{drawn[-1]},"]
    return " ".join(spoken)
