"""What an examination gives to those who learn from the data."""

from dirty_data import DIRTY, clean
from lstm_ad.data.rows import Rows
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.processes import ProcessGroup
from lstm_ad.quality.data_parts import Finding
from lstm_ad.quality.examination import examine

SETTINGS = Hyperparameters(sequence_length=10)


class Beside:
    """Collectives with another host, which has found something of its own."""

    def __init__(self, listings: list, found: tuple[Finding, ...]) -> None:
        self.listings, self.found = listings, list(found)

    def gather(self, item: object) -> list:
        """Return what both list, or find; of all else this host's own."""
        if isinstance(item, tuple):
            return self.listings
        return [item, self.found if isinstance(item, list) else {}]


def test_the_codes_of_all_hosts_are_known_to_each() -> None:
    """Each describes its own files, and all learn from all of them."""
    first, second = (
        Rows.of({name: DIRTY[dirt].files["train.csv"]})
        for name, dirt in (
            ("a", "0 in a hundred rows of 50s"),
            ("b", "-200 in every twentieth row"),
        )
    )
    other = examine(second, SETTINGS)
    listings = [(host, rows.files) for host, rows in enumerate((first, second))]
    group = ProcessGroup(size=2, collectives=Beside(listings, other.findings))  # type: ignore[arg-type]

    assert other.codes == {0: [-200.0]}
    assert examine(first, SETTINGS, group).codes == {0: [-200.0], 1: [0.0]}
    assert examine(Rows.of({"a": clean()}), SETTINGS).codes == {}
