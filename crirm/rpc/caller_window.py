"""Output to the caller of a spliced connection, in a valid order and within its window.

The runtime assumes that it alone uses the caller's connection window. The replies of kept calls use it too, so as many
bytes of the caller's next updates are not passed on (the *debt*). Until they have come, the runtime believes in
more window than there is, and its DATA may have to wait: then everything behind it waits too, since header blocks have
to stay in their order. That is never more than the debt. A frame that fits in part is sent in part: a caller may grant
more only when it has read all that it has granted.

Source: RFC 9113 sections 4.3 and 6.9.
"""

from __future__ import annotations

from collections import deque

from crirm.rpc.frames import USUAL_WINDOW_BYTES, divided, is_divisible


class CallerWindow:
    """The caller's connection window, and the frames that wait for it.

    Args:
        out: frames to send to the caller now.
    """

    def __init__(self, out: list[bytes]) -> None:
        self._out = out
        self.window_bytes = USUAL_WINDOW_BYTES
        self._debt_bytes = 0
        self._waiting: deque[tuple[bytes, int, bool]] = deque()  # a frame, its flow-controlled size, whether it is ours
        self.busy = False  # frames of the runtime are on their way out, or a header block of it has not ended
        self._afterwards: list[tuple[bytes, int]] = []

    @property
    def waits(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting or self._afterwards)

    def passes(self, size_bytes: int) -> bool:
        """Tell whether a frame of the runtime with *size_bytes* of DATA may go out now; then they are counted."""
        if self._waiting or size_bytes > self.window_bytes:
            return False
        self.window_bytes -= size_bytes
        return True

    def wait(self, frame: bytes, size_bytes: int = 0) -> None:
        """Send *frame* of the runtime when its turn comes."""
        self._waiting.append((frame, size_bytes, False))

    def send(self, frame: bytes, size_bytes: int = 0) -> None:
        """Send *frame* of our own, with *size_bytes* of DATA, as soon as that may be."""
        if self.busy:
            self._afterwards.append((frame, size_bytes))
        else:
            self._waiting.append((frame, size_bytes, True))
            self._send_waiting()

    def send_at_once(self, frame: bytes) -> None:
        """Send *frame*, an update of a window, past what waits."""
        if self.busy:
            self._afterwards.append((frame, 0))
        else:
            self._out.append(frame)

    def free(self) -> None:
        """Send what had to wait until the runtime's frames were out."""
        self.busy = False
        self._send_waiting()
        afterwards, self._afterwards = self._afterwards, []
        for frame, size_bytes in afterwards:
            self.send(frame, size_bytes)

    def opened(self, size_bytes: int) -> int:
        """Take note that the caller takes *size_bytes* more, and return how many of these the runtime may hear of."""
        self.window_bytes += size_bytes
        paid_bytes = min(size_bytes, self._debt_bytes)
        self._debt_bytes -= paid_bytes
        self._send_waiting()
        return size_bytes - paid_bytes

    def _send_waiting(self) -> None:
        """Send what waits, as far as the window allows."""
        waiting = self._waiting
        while waiting:
            frame, size_bytes, ours = waiting[0]
            if size_bytes <= self.window_bytes:
                waiting.popleft()
            elif self.window_bytes > 0 and is_divisible(frame):
                frame, rest = divided(frame, self.window_bytes)
                waiting[0] = (rest, size_bytes - self.window_bytes, ours)
                size_bytes = self.window_bytes
            else:
                return
            self.window_bytes -= size_bytes
            self._debt_bytes += size_bytes if ours else 0
            self._out.append(frame)
