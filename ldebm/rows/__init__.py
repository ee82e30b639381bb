"""The rows of the table: every family, by the names its rows have there.

To add a row, write a `RowConfig` in a file of your own and name it in params.yaml as `row:
FILE.py:CLASS`; docs/adding-a-row.md has an example.
"""

from typing import Any

from ldebm.config import RowConfig
from ldebm.errors import UserError
from ldebm.outside import is_outside, load_object
from ldebm.rows.autoencoder import AeRow, VaeRow
from ldebm.rows.discrete import DaeRow, DiVaeRow, DvaeRow
from ldebm.rows.gm_vae import GmVaeRow
from ldebm.rows.language_model import RnnLmRow
from ldebm.rows.ldebm import LdebmRow
from ldebm.rows.semi_vae import SemiVaeRow
from ldebm.rows.svebm import SvebmRow

FAMILIES: tuple[type[RowConfig], ...] = (
    RnnLmRow, AeRow, VaeRow, DaeRow, DvaeRow, DiVaeRow, SemiVaeRow, GmVaeRow, SvebmRow, LdebmRow,
)  # fmt: skip
ROWS = {name: family for family in FAMILIES for name in family.names}


def find(name: Any) -> type[RowConfig]:
    """The configuration class that `row: name` asks for.

    Raises:
        UserError: there is none.
    """
    if isinstance(name, str) and is_outside(name):
        found = load_object(name)
        if isinstance(found, type) and issubclass(found, RowConfig):
            return found
        raise UserError(f"{name!r} is no subclass of ldebm.config.RowConfig")
    if not isinstance(name, str) or name not in ROWS:
        raise UserError(f"{name!r} is no row; known rows: {', '.join(ROWS)}, or FILE.py:CLASS")
    return ROWS[name]
