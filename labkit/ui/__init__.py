"""What notebooks show: choosers and live views. The only importer of ipywidgets.

Each widget has a twin in text: a headless run, a terminal and a screen reader get the same words.
"""

from labkit.ui.choosers import BladeChoice, choose_blades
from labkit.ui.editor import ConfigEditor, edit_config, open_config
from labkit.ui.views import BootView, show_table

__all__ = ["BladeChoice", "BootView", "ConfigEditor", "choose_blades", "edit_config", "open_config", "show_table"]
