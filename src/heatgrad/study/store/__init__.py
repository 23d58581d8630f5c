"""The store of a study: finished trials and their final weights, in a folder or a database."""

from heatgrad.study.store.folder import STORE_FILE
from heatgrad.study.store.places import is_url, place_of, shown_place
from heatgrad.study.store.record import Measured, Record
from heatgrad.study.store.store import Store
from heatgrad.study.store.tables import SCHEMA_VERSION

__all__ = [
    "SCHEMA_VERSION",
    "STORE_FILE",
    "Measured",
    "Record",
    "Store",
    "is_url",
    "place_of",
    "shown_place",
]
