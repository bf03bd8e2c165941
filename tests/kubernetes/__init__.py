import pytest

# They are imported by the modules that pytest collects, and a plain assert would not say what it found.
pytest.register_assert_rewrite("tests.kubernetes.server_scenarios", "tests.kubernetes.target_scenarios")
