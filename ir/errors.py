"""The one tree of errors that a user can cause.

Every error names its place (a node, a file, an option), says what was expected, and what to do about it.
"""


class NetwrightError(Exception):
    """Base of all errors that netwright raises on purpose.

    Args:
        message: What went wrong, in one sentence, with the numbers in it.
        place: The node, value, file or option at fault.
        remedy: What the user can do.
    """

    def __init__(self, message: str, *, place: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.remedy = remedy

    @property
    def kind(self) -> str:
        """The class name, as scripts see it in JSON."""
        return type(self).__name__

    def to_dict(self) -> dict[str, str | None]:
        """The JSON object `{"kind", "message", "place", "remedy"}`."""
        return {"kind": self.kind, "message": self.message, "place": self.place, "remedy": self.remedy}

    def __str__(self) -> str:
        place = f" (at {self.place})" if self.place else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.message}{place}{remedy}"


class ModelFileError(NetwrightError):
    """A model file is missing, damaged, hostile or of another format."""


class UnsupportedModelError(NetwrightError):
    """The model is sound but asks for something that netwright does not handle."""


class ExportError(NetwrightError):
    """torch could not export the module."""


class VerifyError(NetwrightError):
    """A program breaks a structural rule."""


class PipelineError(NetwrightError):
    """Pipeline text that does not parse, or names an unknown pass or option."""


class ContractError(NetwrightError):
    """Passes in an order that their contracts forbid, or one whose needs are not met."""


class DataError(NetwrightError):
    """Calibration, training or sample data that does not fit the program's signature."""


class PlanError(NetwrightError):
    """A plan that is malformed or was made for another program."""


class RunError(NetwrightError):
    """A backend refused to load or run a program."""


class CheckError(NetwrightError):
    """A rewritten program's outputs differ from the oracle's by more than the passes promise."""


class MissingExtraError(NetwrightError):
    """An optional dependency is not installed; the remedy names the extra."""


class PassCrash(NetwrightError):
    """A pass raised an unexpected error.

    Attributes:
        pass_index: position of the pass in the pipeline.
        reproducer: the folder that replays it, once written.
    """

    def __init__(self, message: str, *, pass_index: int, place: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.pass_index = pass_index
        self.reproducer: str | None = None
