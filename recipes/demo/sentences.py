"""What the demo's subjects say: sentences of a small grammar, none in two splits.

Every sentence starts with a name, and the names are divided over the splits, so
a sentence of the test split can't occur in training. The words are rich in
sibilants and stops, where imprecise articulation shows.
"""

import numpy as np

NAMES = {
    "train": (
        *("Patrick", "Susan", "Doctor Baker", "the tax inspector", "Captain Stokes"),
        *("my sister", "the baker", "a sick passenger", "the postman", "Kate"),
        *("Professor Scott", "the best student", "our pastor", "the goat keeper"),
    ),
    "val": ("Stephen", "the sixth guest", "Betsy Parker", "a busy cook", "his aunt"),
    "test": (
        *("Oscar", "the dentist", "Jessica Stone", "a tired pilot", "my best pupil"),
        *("Mister Cooper", "the bus driver", "old Isabel", "the soccer coach"),
    ),
}
VERBS = (
    *("kept", "sent back", "passed", "took", "picked up", "bought", "sold"),
    *("guessed at", "put down", "asked about", "carried", "dropped", "tasted"),
)
OBJECTS = (
    *("six paper boats", "a silver spoon", "the basket", "two cups of soup"),
    *("a bag of sand", "seven books", "the spicy pasta", "a box of biscuits"),
    *("the dusty guitar", "some stale toast", "a pair of socks", "the best seats"),
    *("a small potato", "the secret code"),
)
PLACES = (
    *("beside the sea", "at the bus stop", "in Boston", "outside the castle"),
    *("across the street", "last Tuesday", "at a quarter past six", "in the park"),
    *("before the test", "on the staircase", "behind the desk", "near the gate"),
)


def draw_words(split: str, n_words: int, rng: np.random.Generator) -> list[str]:
    """Draw running text of at least so many words.

    split: train, val or test: whose names may begin a sentence.
    n_words: How many words are needed at least.
    rng: Where the draws come from.

    Returns: Words of whole sentences.

    >>> import numpy as np
    >>> len(draw_words("test", 12, np.random.default_rng(0))) >= 12
    True
    """
    words = []
    while len(words) < n_words:
        for part in (NAMES[split], VERBS, OBJECTS, PLACES):
            words += str(rng.choice(part)).split()
    return words
