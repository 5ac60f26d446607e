"""What builders of images share: Debian packages, programs with their libraries, trials, recipes."""
