"""What all lanes counted together. A lane tells when it is asked: each second, and when somebody looks."""

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from resolver.endpoint import Respond
from resolver.metrics import Figures
from resolver.processes.channel import COUNT, packed
from resolver.processes.children import Child

ASK_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 1.0
MAX_OPEN: Final = 16  # questions to a lane that says nothing


class Counting:
    """`lanes` are those that live; `page` makes what is shown of the sum."""

    def __init__(self, lanes: Callable[[], Iterable[Child]], page: Callable[[Figures], bytes]) -> None:
        self._lanes = lanes
        self._page = page
        self._round = 0
        self._asked_at = 0.0
        self._gone = Figures()
        self._waiting: list[tuple[int, float, Respond]] = []

    def wanted(self, respond: Respond) -> None:
        """Somebody looks: answer when every lane has told, or after a second with what is known."""
        now = monotonic()
        self._ask(now)
        self._waiting.append((self._round, now + WAIT_SECONDS, respond))
        self.turn(now)

    def told(self, lane: Child, number: int, figures: Figures) -> None:
        """A lane's figures, for the question of that number."""
        lane.told, lane.figures, lane.open = number, figures, lane.open - 1
        lane.silent_since = monotonic() if lane.open else None

    def lost(self, lane: Child) -> None:
        """It has ended: what it counted stays, so that no counter goes backwards."""
        self._gone = Figures.total((self._gone, lane.figures.counted()))

    def turn(self, now: float) -> None:
        """Ask when it is time to; answer those who look."""
        if now - self._asked_at >= ASK_SECONDS:
            self._ask(now)
        lanes = list(self._lanes())
        ready = [one for one in self._waiting if now >= one[1] or all(lane.told >= one[0] for lane in lanes)]
        if ready:
            page = self._page(Figures.total((self._gone, *(lane.figures for lane in lanes))))
            self._waiting = [one for one in self._waiting if one not in ready]
            for _round, _until, respond in ready:
                respond(page)

    @property
    def due(self) -> float:
        """When `turn` should next be called."""
        return min((self._asked_at + ASK_SECONDS, *(until for _round, until, _respond in self._waiting)))

    def _ask(self, now: float) -> None:
        self._round += 1
        self._asked_at = now
        for lane in self._lanes():
            if lane.open < MAX_OPEN:
                lane.open += 1
                lane.silent_since = lane.silent_since or now
                lane.say(packed(COUNT, self._round))
