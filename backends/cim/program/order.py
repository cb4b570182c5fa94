"""Runs a program without its values: tile after tile, each until it must wait, as the chip would.

What comes out is an order in which everything can be done one after the other. On the way it is held that every element is written
before it is read and only once, that weights are in their arrays when products need them (those of the next sample, too), that messages
are sent once and taken once, that tiles meet at a barrier once, and that no tile waits for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from netwright.backends.cim.program.access import Touch, reads, writes
from netwright.backends.cim.program.coverage import Coverage
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import HOST, ChipProgram, Instruction, Load, Mvm, Receive, Reload, Send, Sync, Write
from netwright.ir.errors import VerifyError

Place: TypeAlias = tuple[int, int]
"""A tile (or the host), and an instruction's index in its list."""


def order(chip: ChipProgram) -> tuple[Place, ...]:
    """Every instruction, in an order that can be followed.

    Linear in instructions, times the writes of a buffer.

    Raises:
        VerifyError: tiles wait for each other for ever, or an instruction finds its sources, weights or room not as they must be.
    """
    return _Walk(chip).run()


def name_of(chip: ChipProgram, place: Place) -> str:
    """An instruction in words: for errors."""
    tile, index = place
    one = (chip.host if tile == HOST else chip.tiles[tile])[index]
    layer = f" of {one.layer}" if one.layer else ""
    return f"{'host' if tile == HOST else f'tile {tile}'}, instruction {index} ({type(one).__name__.lower()}{layer})"


@dataclass(slots=True)
class _Walk:
    chip: ChipProgram
    done: list[Place] = field(default_factory=list[Place])
    next: dict[int, int] = field(default_factory=dict[int, int])
    written: dict[int, Coverage] = field(default_factory=dict[int, Coverage])
    sent: dict[int, Place] = field(default_factory=dict[int, Place])
    taken: set[int] = field(default_factory=set[int])
    arrived: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    expected: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    held: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    places: dict[int, Box] = field(default_factory=dict[int, Box])

    def run(self) -> tuple[Place, ...]:
        """Follow all lists to their ends."""
        self._begin()
        waiting = True
        while waiting:
            before = len(self.done)
            unfinished = [tile for tile in self.next if self._advance(tile)]
            waiting = bool(unfinished)
            if waiting and len(self.done) == before:
                raise self._deadlock(unfinished)
        self._end()
        return tuple(self.done)

    def _begin(self) -> None:
        chip = self.chip
        self.next = {**dict.fromkeys(chip.tiles, 0), **({HOST: 0} if chip.host else {})}
        fed = {port.name for port in chip.inputs}
        for number, buffer in enumerate(chip.buffers):
            self.written[number] = Coverage()
            if buffer.tile == HOST and buffer.tensor in fed:
                self.written[number].add(buffer.box)
        for number, unit in enumerate(chip.units):
            if unit.phase == 0 and not self.chip.matrices[unit.matrix].source:
                self._hold(number)
        for tile, own in chip.tiles.items():
            for index, one in enumerate(own):
                if isinstance(one, Sync):
                    self._expect((tile, index), one.barrier)

    def _expect(self, place: Place, barrier: int) -> None:
        """A barrier is there once on each of its tiles: the second time, all would have come to it already."""
        tiles = self.expected.setdefault(barrier, set())
        if place[0] in tiles:
            raise _fault(name_of(self.chip, place), f"Tile {place[0]} has barrier {barrier} already: tiles meet at a barrier once.")
        tiles.add(place[0])

    def _end(self) -> None:
        unread = sorted(self.sent.keys() - self.taken)
        if unread:
            raise _fault(name_of(self.chip, self.sent[unread[0]]), f"Nobody receives channel {unread[0]}.")
        for port in self.chip.outputs:
            shape = self.chip.tensors[port.name].shape
            box: Box = tuple((0, extent) for extent in shape)
            if not any(b.tensor == port.name and b.tile == HOST and self.written[n].holds(box) for n, b in enumerate(self.chip.buffers)):
                raise _fault(f"output {port.name}", "No buffer of the host holds the whole of it at the end.")
        self._again()

    def _again(self) -> None:
        """The next sample finds the arrays as this one leaves them: what was there from the start may have to be written again."""
        for tile, own in self.chip.tiles.items():
            for index, one in enumerate(own):
                if isinstance(one, Reload | Write):
                    self._hold(one.unit)
                elif isinstance(one, Mvm) and not self._is_held(one.unit):
                    message = f"In the second sample the weights of unit {one.unit} are not in its arrays: others were written over them."
                    raise _fault(name_of(self.chip, (tile, index)), message)

    def _list(self, tile: int) -> tuple[Instruction, ...]:
        return self.chip.host if tile == HOST else self.chip.tiles[tile]

    def _advance(self, tile: int) -> bool:
        """Go on with a tile until it must wait; True where something remains."""
        own = self._list(tile)
        while self.next[tile] < len(own):
            place = (tile, self.next[tile])
            one = own[place[1]]
            touched = reads(self.chip, one)
            if not self._ready(place, one, touched):
                return True
            self._check(place, one, touched)
            self._carry_out(place, one)
            self.next[tile] += 1
            self.done.append(place)
        return False

    def _ready(self, place: Place, one: Instruction, touched: tuple[Touch, ...]) -> bool:
        if isinstance(one, Receive):
            return one.channel in self.sent
        if isinstance(one, Sync):
            arrived = self.arrived.setdefault(one.barrier, set())
            arrived.add(place[0])
            return arrived >= self.expected[one.barrier]
        if isinstance(one, Load) or place[0] == HOST:
            return all(self.written[buffer].holds(box) for buffer, box in touched)
        return True

    def _check(self, place: Place, one: Instruction, touched: tuple[Touch, ...]) -> None:
        for buffer, box in touched:
            if not self.written[buffer].holds(box):
                tensor = self.chip.buffers[buffer].tensor
                raise _fault(name_of(self.chip, place), f"It reads {_text(box)} of {tensor} in buffer {buffer} before that is written.")
        if isinstance(one, Mvm):
            self._check_arrays(place, one)
        if isinstance(one, Receive):
            self._check_message(place, one)

    def _check_arrays(self, place: Place, one: Mvm) -> None:
        if not self._is_held(one.unit):
            raise _fault(name_of(self.chip, place), f"The weights of unit {one.unit} are not in its arrays.")
        written = self.places.get(one.unit, ())
        if written and one.box[: len(written)] != written:
            raise _fault(name_of(self.chip, place), f"Unit {one.unit} holds the matrix at {_text(written)}, not that of {_text(one.box)}.")

    def _check_message(self, place: Place, one: Receive) -> None:
        sender = self.sent[one.channel]
        sent = self._list(sender[0])[sender[1]]
        assert isinstance(sent, Send)
        same = sent.box == one.box and self.chip.buffers[sent.source].tensor == self.chip.buffers[one.target].tensor
        if one.channel in self.taken or sent.to != place[0] or not same:
            raise _fault(name_of(self.chip, place), f"It is not what {name_of(self.chip, sender)} sends on channel {one.channel}.")

    def _carry_out(self, place: Place, one: Instruction) -> None:
        for buffer, box in writes(self.chip, one):
            before = self.written[buffer].add(box)
            if before is not None:
                text = f"It writes {_text(box)} of buffer {buffer} over {_text(before)}, which was written already."
                raise _fault(name_of(self.chip, place), text)
        if isinstance(one, Send):
            if one.channel in self.sent:
                raise _fault(name_of(self.chip, place), f"Channel {one.channel} was sent on already.")
            self.sent[one.channel] = place
        elif isinstance(one, Receive):
            self.taken.add(one.channel)
        elif isinstance(one, Reload):
            self._hold(one.unit)
        elif isinstance(one, Write):
            self._hold(one.unit)
            self.places[one.unit] = one.box[:-2]

    def _hold(self, number: int) -> None:
        unit = self.chip.units[number]
        for array in range(unit.first_array, unit.first_array + unit.arrays):
            self.held[unit.tile, array] = number

    def _is_held(self, number: int) -> bool:
        unit = self.chip.units[number]
        return all(self.held.get((unit.tile, array)) == number for array in range(unit.first_array, unit.first_array + unit.arrays))

    def _deadlock(self, tiles: list[int]) -> VerifyError:
        listed = "; ".join(name_of(self.chip, (tile, self.next[tile])) for tile in tiles[:6])
        more = f"; and {len(tiles) - 6} more" if len(tiles) > 6 else ""
        return _fault(listed + more, f"Deadlock: {len(tiles)} {'lists wait' if len(tiles) > 1 else 'list waits'} for ever.")


def _text(box: Box) -> str:
    return "[" + ", ".join(f"{start}:{stop}" for start, stop in box) + "]"


def _fault(place: str, message: str) -> VerifyError:
    return VerifyError(message, place=place, remedy="The program is damaged, or the mapping is wrong: compile the model again.")
