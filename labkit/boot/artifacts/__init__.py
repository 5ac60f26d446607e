"""Pure builders of what a blade fetches on its way up: values in, bytes out."""
