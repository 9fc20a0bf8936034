"""The compiled lane, where it was built."""

import pytest

pytest.importorskip("resolver.lane.native", reason="the project was installed without a C compiler")
