"""Timings for people to read: `make bench`, `python -m tests.bench NAME`. Nothing is asserted: machines are noisy."""

import argparse

from tests.bench import backups, canary, copies, deploy, load, read_path, series, startup, tune, unread

BENCHES = {
    "startup": startup.main,
    "deploy": deploy.main,
    "read-path": read_path.main,
    "load": load.main,
    "series": series.main,
    "unread": unread.main,
    "copies": copies.main,
    "backups": backups.main,
    "canary": canary.main,
    "tune": tune.main,
}


def main() -> None:
    """Run the benches that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHES)} (default: all)")
    for name in parser.parse_args().names or BENCHES:
        if name not in BENCHES:
            parser.error(f"there is no {name}")
        print(f"## {name}")
        BENCHES[name]()


main()
