"""The workbook: its chapters, their parameters, runs without a browser, and what is kept of a run.

::

    chapters    which notebooks there are, what each does to the world, and its sections
    kernels     how the notebooks' kernels are reached
    next_steps  what to do next, for the end of a command
    parameters  what may be given, checked before anything happens
    run         all chapters in order through papermill
    record      run.json: what was given, which bytes were served, how long everything took
    report      one HTML page of a run
    compare     what changed from one run to another
    systems     what blades would boot with another system, to look at
    replay      a run's timeline and topology again, without a lab
    watch       a lab, live, as a page on loopback or in a terminal
"""

from labkit.workbook.chapters import (
    BOOK,
    BRING_UP,
    CHAPTERS,
    Chapter,
    chapter,
    choose_chapters,
    find_file,
    folder_of,
    notebooks_folder,
)
from labkit.workbook.parameters import check_given, check_parameters, read_parameters
from labkit.workbook.run import run

__all__ = [
    "BOOK",
    "BRING_UP",
    "CHAPTERS",
    "Chapter",
    "chapter",
    "check_given",
    "check_parameters",
    "choose_chapters",
    "find_file",
    "folder_of",
    "notebooks_folder",
    "read_parameters",
    "run",
]
