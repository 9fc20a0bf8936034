"""Which foreign zones are enforced, where they come from, and what the operator makes of their rules."""

from dataclasses import dataclass
from pathlib import Path

from feeds.message.building import encode_name

GIVEN = "given"
DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class ForeignZone:
    """A zone from the file `path` or, without one, as it was last transferred.

    `name` is text in lower case without the final dot. `policy` is `given`, `disabled` or what `meaning.override_of`
    reads.
    """

    name: str
    path: Path | None = None
    policy: str = GIVEN

    @property
    def wire(self) -> bytes:
        return encode_name(self.name)

    @property
    def part(self) -> str:
        """Its name among the parts of a load."""
        return f"zone {self.name}"

    @property
    def enforced(self) -> bool:
        """A disabled zone is read and told about, and matches nothing."""
        return self.policy != DISABLED

    def source(self, folder: Path | None) -> Path | None:
        """The file that its records stand in; None where nothing keeps them."""
        return self.path or (folder / f"{self.name}.records" if folder is not None else None)

    def kept(self, folder: Path | None) -> Path | None:
        """Where its image is kept, which says what this policy makes of it."""
        return folder / f"{self.name}-{self.policy.replace(' ', '-')}.image" if folder is not None else None

    def token(self, folder: Path | None) -> object:
        """Another one when the file is another; None where it is not there."""
        source = self.source(folder)
        try:
            found = source.stat() if source is not None else None
        except OSError:
            return None
        return (found.st_ino, found.st_size, found.st_mtime_ns) if found is not None else None
