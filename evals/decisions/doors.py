"""Is it one decision, whichever door it is asked through, and does nobody at a door get more than is his?

`python -m evals.decisions.doors`: twenty-four cases of evidence asked through six doors over their real transports; approvals that are
replayed, altered, expired, self-made, of the wrong role or an agent's; twenty lying, broken or slow peers; each beside its honest twin.
"""

from collections.abc import Sequence

from evals.decisions import doors_approvals, doors_cases, doors_identity, doors_peers
from evals.report import arguments, publish

QUICK = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 when a target is missed."""
    asked = arguments(__doc__ or "").parse_args(argv)
    found = [*doors_identity.rows(doors_cases.CASES[:1] if asked.quick else doors_cases.CASES)]
    found += doors_approvals.rows(doors_approvals.KINDS[:1] if asked.quick else doors_approvals.KINDS)
    found += doors_peers.rows(doors_peers.LIES[:: len(doors_peers.LIES) // QUICK] if asked.quick else doors_peers.LIES)
    publish(found, asked.json, quick=asked.quick)
    return 0 if asked.quick or all(row.met is not False for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
