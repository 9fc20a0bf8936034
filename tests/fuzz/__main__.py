"""python -m tests.fuzz TARGET [--seconds N] [--again FILE]; see the package."""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
WATCHED = ["feeds.message", "feeds.name", "resolver"]
MOST_BYTES = 4096
MOST_MB = 2048


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--again", type=Path, help="run this input once, without looking for others")
    arguments = parser.parse_args()
    if arguments.again is not None:
        from tests.fuzz.targets import TARGETS

        TARGETS[arguments.target](arguments.again.read_bytes())
        return
    import atheris

    with warnings.catch_warnings(), atheris.instrument_imports(include=WATCHED, enable_loader_override=False):
        warnings.simplefilter("ignore")
        from tests.fuzz.targets import TARGETS
    if arguments.target not in TARGETS:
        parser.error(f"no target {arguments.target}; there are {', '.join(TARGETS)}")
    found = tempfile.mkdtemp(prefix="blocker-fuzz-")
    print(f"a finding is written to {found}/", flush=True)
    options = [
        f"-max_total_time={arguments.seconds}", f"-max_len={MOST_BYTES}", f"-rss_limit_mb={MOST_MB}", "-timeout=10",
        f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, found, str(CORPUS / arguments.target)], TARGETS[arguments.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
