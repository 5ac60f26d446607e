"""PURE drawings: values in, SVG out, and beside each the same in words. Notebooks and files show the same picture."""
