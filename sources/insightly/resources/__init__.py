"""dlt resources: one module per way of reading an entity, and what commands use of them."""

from ..rows.arrow import round_number
from ..rows.shaper import RowShaper, ShapedTable

__all__ = ["RowShaper", "ShapedTable", "round_number"]
