import pytest

pytest.register_assert_rewrite("tests.support")  # a failed assert there shows its values
