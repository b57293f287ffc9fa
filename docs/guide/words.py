#!/usr/bin/env python3
"""Load a word list into a running Kontiki cluster with redis-py, one key a word.

Start a cluster (`kontiki up`), run this, and kill, pause and restart nodes meanwhile: every
word that was acknowledged is read back at the end, from every node. Needs `pip install redis`.

    python3 docs/guide/words.py [--ports 6379,6380,6381] [--count 20000]
"""

import argparse
import collections
import itertools
import pathlib
import random
import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

WORDS = pathlib.Path("/usr/share/dict/words")
# After these a client may send the same write again.
RETRYABLE = ("CLUSTERDOWN", "TRYAGAIN", "UNKNOWN", "LOADING")
# One command is tried so often, with pauses that double: half a minute in sum, and more where
# nobody answers. A cluster without a majority for so long is not coming back by itself.
ATTEMPTS = 48
PAUSE_MIN, PAUSE_MAX = 0.05, 1.0


def connect(port):
    # Retries are ours: they go to another node.
    return redis.Redis(port=port, socket_timeout=2, retry=Retry(NoBackoff(), 0))


def is_retryable(error):
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
        return True
    # redis-py takes the first word off the errors that it knows.
    known = (redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError)
    return isinstance(error, known) or str(error).startswith(RETRYABLE)


def persist(command, nodes, errors):
    """Tries a command at one node after another; returns its answer and who gave it."""
    pause = PAUSE_MIN
    for attempt, node in enumerate(nodes, 1):
        try:
            return command(node), node
        except redis.RedisError as error:
            if not is_retryable(error) or attempt == ATTEMPTS:
                raise
            errors[type(error).__name__] += 1
            # Clients that failed together must not come back together.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, PAUSE_MAX)


def load(words, ports):
    """Writes every word until it is acknowledged; returns the errors that were seen."""
    nodes = itertools.cycle([connect(port) for port in ports])
    node, errors = next(nodes), collections.Counter()
    for number, word in enumerate(words, 1):
        value = f"{number} {word}"
        # Whoever answered last is asked first.
        asked = itertools.chain([node], nodes)
        _, node = persist(lambda node: node.set(word, value), asked, errors)
        if number % 10_000 == 0:
            print(f"{number} words", flush=True)
    return errors


def check(words, port, errors):
    """Reads every word at one node."""
    node = itertools.repeat(connect(port))
    for start in range(0, len(words), 1000):
        part = words[start : start + 1000]
        values, _ = persist(lambda node: node.mget(part), node, errors)
        for offset, (word, value) in enumerate(zip(part, values)):
            expected = f"{start + offset + 1} {word}".encode()
            if value != expected:
                sys.exit(f"port {port}: {word!r} holds {value!r}, not {expected!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ports", default="6379,6380,6381")
    parser.add_argument("--count", type=int, default=20_000)
    args = parser.parse_args()
    ports = [int(port) for port in args.ports.split(",")]
    if WORDS.exists():
        words = WORDS.read_text().splitlines()[: args.count]
    else:
        print(f"{WORDS} is not there (Debian: wamerican): using generated words")
        words = [f"word-{number}" for number in range(args.count)]
    began = time.monotonic()
    errors = load(words, ports)
    print(f"acknowledged: {len(words)} words in {time.monotonic() - began:.1f} s")
    for port in ports:
        check(words, port, errors)
        print(f"port {port} has every word")
    print(f"seen, and tried again: {dict(errors)}")


main()
