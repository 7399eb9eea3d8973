"""Events of a running operation, from its driver and from processes that follow its record. Pure."""

from lightragctl.core.result import Event
from lightragctl.operations.model import AT_WORK, Operation, Progress, StepRecord, StepState

_BRIEF_CHARS = 100


def progress_text(progress: Progress) -> str:
    """How far a step is, with its rate and the remaining time where they are known."""
    unit = f" {progress.unit}" if progress.unit else ""
    whole = f"{progress.done:g}" if progress.total is None else f"{progress.done:g} of {progress.total:g}"
    rate = "" if progress.rate_per_s is None else f", {progress.rate_per_s:.3g}{unit}/s"
    left = "" if progress.remaining_s is None else f", {progress.remaining_s:.0f} s left"
    more = f"; {progress.message}" if progress.message else ""
    return f"{whole}{unit}{rate}{left}{more}"


def progress_event(record: Operation, progress: Progress) -> Event:
    """The progress of a step."""
    figures = progress.model_dump(mode="json")
    data = {"operation": record.id, **figures, "rate_per_s": progress.rate_per_s, "remaining_s": progress.remaining_s}
    return Event(progress_text(progress), progress.step, passing=True, data=data)


def phase_event(record: Operation) -> Event:
    """The phase that an operation has entered; the text has the cause while steps are undone, before the result."""
    data = {"operation": record.id, "phase": str(record.phase), "cause": record.cause}
    is_news = record.cause and record.phase in AT_WORK
    return Event(f"{record.phase}: {_brief(record.cause)}" if is_news else str(record.phase), record.id, data=data)


def _brief(text: str) -> str:
    return text if len(text) <= _BRIEF_CHARS else text[: _BRIEF_CHARS - 1] + "…"


def step_event(record: Operation, step: StepRecord) -> Event:
    """The step that an operation has begun, or begun to undo."""
    data = {"operation": record.id, "step": step.name, "state": str(step.state)}
    undoing = "releasing" if step.hold_through else "undoing"
    text = f"{undoing}: {step.title}" if step.state in (StepState.UNDOING, StepState.UNDONE) else step.title
    return Event(text, step.name, data=data)
