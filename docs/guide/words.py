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
import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

WORDS = pathlib.Path("/usr/share/dict/words")
# After these a client may send the same write again.
RETRYABLE = ("CLUSTERDOWN", "TRYAGAIN", "UNKNOWN", "LOADING")
# A cluster that has lost its majority for so long is not coming back by itself.
PATIENCE = 60


def connect(port):
    # Retries are ours: they go to another node.
    return redis.Redis(port=port, socket_timeout=2, retry=Retry(NoBackoff(), 0))


def is_retryable(error):
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
        return True
    # redis-py takes the first word off the errors that it knows.
    known = (redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError)
    return isinstance(error, known) or str(error).startswith(RETRYABLE)


def load(words, ports):
    """Writes every word until it is acknowledged; returns the errors that were seen."""
    nodes = itertools.cycle([connect(port) for port in ports])
    node, errors = next(nodes), collections.Counter()
    for number, word in enumerate(words, 1):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                node.set(word, f"{number} {word}")
                break
            except redis.RedisError as error:
                if not is_retryable(error) or time.monotonic() > deadline:
                    raise
                errors[type(error).__name__] += 1
                node = next(nodes)
                time.sleep(0.05)
        if number % 10_000 == 0:
            print(f"{number} words", flush=True)
    return errors


def check(words, port):
    """Reads every word at one node."""
    node = connect(port)
    for start in range(0, len(words), 1000):
        part = words[start : start + 1000]
        for offset, (word, value) in enumerate(zip(part, node.mget(part))):
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
    print(f"seen, and tried again: {dict(errors)}")
    for port in ports:
        check(words, port)
        print(f"port {port} has every word")


main()
