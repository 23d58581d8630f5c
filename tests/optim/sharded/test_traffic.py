"""What is sent between processes: edges, in one exchange, however long the tensors are."""

import json


def test_a_step_sends_edges_once(run_processes, tmp_path):
    """Counted by hand for 3 tensors of 50 columns of 4 bytes over 3 processes."""
    run_processes("traffic.py", 3, tmp_path)
    of_rank = [json.loads((tmp_path / f"found{rank}.json").read_text()) for rank in range(3)]
    for rows in (12, 120):
        # A cut takes two rows of the velocity and one of the gradient, to either side.
        row = 50 * 4
        sent = [found[f"velocity, {rows} rows"] for found in of_rank]
        assert sent == [[3 * 3 * row, 1], [2 * 3 * 3 * row, 1], [3 * 3 * row, 1]]
        # One element per border: within each tensor two cuts, and the seams 1-2 and 2-3.
        sent = [found[f"chain, {rows} rows"] for found in of_rank]
        assert sent == [[(3 + 2) * 4, 1], [6 * 4, 1], [(3 + 2) * 4, 1]]
        # Along rows that are whole on each process nothing is asked of anyone.
        assert all(found[f"velocity along rows, {rows} rows"] == [0, 0] for found in of_rank)
