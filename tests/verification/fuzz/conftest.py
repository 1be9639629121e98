from __future__ import annotations

import tests.profiles  # noqa: F401 - it registers them
