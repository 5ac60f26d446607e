"""What notebooks show: choosers, live views, and errors that teach. The only importer of ipywidgets.

Each view has a twin in text: a headless run, a terminal and a screen reader get the same words. Importing this in a
notebook makes failing cells end in a box that says what happened, why, and what to do (`labkit.ui.error_box`).
"""

from labkit.ui.adoption import Adoption, adopt_machines
from labkit.ui.chapter_header import chapter
from labkit.ui.choosers import BladeChoice, RoleChoice, choose_blades, choose_roles
from labkit.ui.editor import ConfigEditor, edit_config, open_config
from labkit.ui.error_box import install
from labkit.ui.long_cell import waiting
from labkit.ui.own_config import OwnConfig, keep_config
from labkit.ui.service_page import show_page
from labkit.ui.start_page import show_chapters, show_lab, show_machine
from labkit.ui.system_chooser import SystemChoice, choose_system
from labkit.ui.views import (
    BootView,
    show_absence,
    show_console,
    show_ignition,
    show_join,
    show_requests,
    show_sequence,
    show_spread,
    show_table,
    show_tail,
    show_topology,
    show_versions,
    watch,
)

install()

__all__ = [
    "Adoption",
    "BladeChoice",
    "BootView",
    "ConfigEditor",
    "OwnConfig",
    "RoleChoice",
    "SystemChoice",
    "adopt_machines",
    "chapter",
    "choose_blades",
    "choose_roles",
    "choose_system",
    "edit_config",
    "keep_config",
    "open_config",
    "show_absence",
    "show_chapters",
    "show_console",
    "show_ignition",
    "show_join",
    "show_lab",
    "show_machine",
    "show_page",
    "show_requests",
    "show_sequence",
    "show_spread",
    "show_table",
    "show_tail",
    "show_topology",
    "show_versions",
    "waiting",
    "watch",
]
