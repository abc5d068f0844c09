"""Runs all tests of this folder, and then looks whether they left anything at the endpoint."""

import sys
import time
import unittest
from pathlib import Path

import harness


def main():
    began = time.monotonic()
    before = harness.belongings()
    folder = str(Path(__file__).parent)
    tests = unittest.TestProgram(
        module=None, argv=[sys.argv[0], "discover", "--start-directory", folder, *sys.argv[1:]], exit=False
    )
    left = {kind: sorted(names - before[kind]) for kind, names in harness.belongings().items() if names - before[kind]}
    replies = len(harness.SEEN)
    print(f"{replies} replies held against botocore's models in {time.monotonic() - began:.1f} s", file=sys.stderr)
    if left:
        print(f"left behind at the endpoint: {left}", file=sys.stderr)
    sys.exit(not tests.result.wasSuccessful() or bool(left))


if __name__ == "__main__":
    main()
